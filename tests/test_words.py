"""One word for one thing: retired identifiers, options and spellings do not come back."""

import ast
import functools
import io
import json
import re
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pages import DOCS, NOTEBOOKS, ROOT

FOLDERS = ("wmrl", "envs", "agents", "scripts", "tests", "benchmarks", "docs")
CODE = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != Path(__file__)
]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *DOCS,
    *NOTEBOOKS,
    *sorted((ROOT / "results").glob("**/*.md")),
    ROOT / "results" / "commands.sh",
    *sorted((ROOT / "wmrl" / "artifacts").glob("*/README.md")),
    ROOT / "pyproject.toml",
    ROOT / "Makefile",
]
CONFIGS = sorted((ROOT / "wmrl" / "artifacts").glob("*/config.json"))


class Word(NamedTuple):
    """A retired word: its pattern, the present word, where it applies, and a use to find.

    It applies to ``"names"`` (whole identifiers in Python code), ``"text"`` (all of code and
    pages), ``"pages"`` (pages and settings), or ``"keys"`` (whole keys of shipped configurations).
    """

    pattern: str
    instead: str
    where: str
    example: str


WIDTHS = "action|code|feature|hidden|input|latent|observation|solution|token"
COUNTS = "classes|downsamplings|heads|joints|layers|mixtures|refinements|rollouts"

WORDS = [
    # World models and what follows them.
    Word(r"(\w*_)?eyes?(_\w*)?|\w*Eyes?([A-Z]\w*)?", "world_model, vision", "names", "eye_entry"),
    Word(r"\b[Ee]yes?\b", "world model, vision model", "text", "seen through a learned eye"),
    Word(r"\w*[Gg]aze\w*", "LatentTracker", "names", "Gaze"),
    Word(r"\.(see|forget|glance)\(", "observe, reset, peek", "text", "tracker.see(frame)"),
    Word(r"(Latent|Observation)?View", "ObservationFormat", "names", "LatentView"),
    Word(r"\.(many|one)\(", "format_batch, format", "text", "view.many(latents)"),
    Word(r"\w*[Pp]ilot\w*", "FrameAgent", "names", "Pilot"),
    Word(r"Learned|LearningMemory", "SavedModule, TrainableMemory", "names", "LearningMemory"),
    Word(r"DreamStarts\w*|dream_starts?|StartsConfig", "StartStates", "names", "dream_starts"),
    Word(r"\b[Ff]oret(ells?|elling|old)\b", "predict", "text", "the codes that it foretells"),
    Word(r"\bin symbols\b", "with discrete latents", "text", "a dream in symbols"),
    # Networks.
    Word(r"\w*Core|make_core", "SequenceModel", "names", "LSTMCore"),
    Word(r"(?<!wmrl)(?<!gymnasium)\.core\b(?!\.)", "sequence_model", "text", "self.core(inputs)"),
    Word(r"row_linear", "linear", "names", "row_linear"),
    Word(r"(Frame|Image)Feed", "FrameSampler, ArraySampler", "names", "FrameFeed"),
    Word(r"FiniteWatch", "NonFiniteTracker", "names", "FiniteWatch"),
    Word(rf"({WIDTHS})_sizes?", "…_dim", "names", "latent_size"),
    Word(rf"\b({COUNTS})=(?!=)", "num_…=", "text", "VQVAEConfig(downsamplings=2)"),
    Word(r"residual_(width|blocks)", "residual_channels, num_…", "names", "residual_width"),
    # Learning and searching.
    Word(r"Held|Smoothed|Noisy", "RepeatedRandom and others", "names", "Smoothed"),
    Word(r"(['\"]|--policy )(held|smoothed)\b(?! |-)", "'repeated', …", "text", "--policy held"),
    Word(r"\w*[Jj]ournal\w*", "StageLog", "names", "Journal"),
    Word(r"KeptReport", "CachedResult", "names", "KeptReport"),
    Word(r"\bdraws=(?!=)", "samples", "text", "GradientConfig(draws=8)"),
    Word(r"\bTerm\([^)]*\brows=", "minibatched", "text", "Term(density, rows='data')"),
    Word(r"\bworst=(?!=)", "qd_score_offset", "text", "ArchiveConfig(worst=-5.0)"),
    Word(r"(max_)?falls", "max_lr_decays", "names", "falls"),
    Word(r"minibatch", "batch_size", "names", "minibatch"),
    Word(
        r"PPOConfig\([^)]*\b(entropy|value|epochs)=", "ent_coef, …", "text", "PPOConfig(epochs=4)"
    ),
    Word(r"final_temperature", "alpha_final", "names", "final_temperature"),
    # Games, videos, images.
    Word(r"(\w*_)?decisions?(_\w*)?", "agent_steps", "names", "dream_decisions"),
    Word(r"\bdecisions?\b", "agent steps", "pages", "a dream of 50 decisions"),
    Word(r"\w*[Ff]ilm\w*", "video", "names", "film_drivers"),
    Word(r"\b[Ff]ilm(s|ed|ing)?\b", "video, record", "text", "the film shows both"),
    Word(r"SparseDrawing", "LazyRendering", "names", "SparseDrawing"),
    Word(r"write_picture", "write_image", "names", "write_picture"),
    Word(r"(\.|def )figures\(", "metrics", "text", "vision.figures()"),
    # Options of commands.
    Word(r"--[a-z]+(-[a-z]+)*_", "a hyphen", "text", "--agent_steps 5"),
    Word(rf"--({WIDTHS})-sizes?\b", "--…-dim", "text", "--hidden-size 8"),
    Word(rf"--({COUNTS}|members)\b", "--num-…", "text", "--members 2"),
    Word(r"--codes\b", "--codebook-size", "text", "--codes 64"),
    Word(r"--core\b", "--sequence-model", "text", "--core lstm"),
    Word(r"--population\b(?!-)", "--population-size", "text", "--population 64"),
    Word(r"--symbols\b", "--latents discrete", "text", "--symbols"),
    Word(r"--([a-z]+-)?decisions\b", "--agent-steps", "text", "--decisions 5"),
    Word(r"--(draws|eye|fill|film|worst)\b", "the present option", "text", "--film 100"),
    # Keys of configurations.
    Word(rf"{COUNTS}|members|tokens|codes", "num_…, codebook_size", "keys", "mixtures"),
    Word(rf"({WIDTHS})_sizes?|size", "…_dim", "keys", "hidden_sizes"),
    Word(r"core|eye|quantiser", "sequence_model, world_model, quantizer", "keys", "core"),
    Word(r"width|residual_width|residual_blocks", "…_channels, num_…", "keys", "width"),
    # American spelling.
    Word(
        r"(?i)(behaviour|colour|favour|neighbour|honour|labour)\w*",
        "…or",
        "text",
        "the colours",
    ),
    Word(
        r"(?i)(quanti|optimi|normali|regulari|initiali|minimi|maximi|utili|visuali|vectori"
        r"|generali|organi|recogni|summari|seriali|reali|speciali|parametri|parameteri|discreti"
        r"|factori|finali|penali|memori|standardi|randomi|synchroni)(s(e[drs]?|ers?|ing|ations?))\b",
        "…ize, …ization",
        "text",
        "a quantiser",
    ),
    Word(r"(?i)\b(un)?(re)?centre[ds]?\b|\bcentring\b", "center", "text", "the centre of a cell"),
    Word(
        r"(?i)\b(grey\w*|metres?|artefacts?|catalogues?|programmes?|licences?|defences?|whilst)\b",
        "gray, …",
        "text",
        "grey",
    ),
    Word(r"(?i)(label|model|travel|signal)l(ed|ing)\b", "one l", "text", "labelled"),
    Word(r"(?i)\banalyse[drs]?\b|\banalysing\b", "analyze", "text", "it is analysed"),
]


class Exemption(NamedTuple):
    """Text that may stay: a pattern, the files (a glob below the root), and the reason."""

    pattern: str
    files: str
    reason: str


EXEMPTIONS = [
    Exemption(r"\b(np|numpy|torch)\.eye\b", "**/*.py", "identity matrices of NumPy and torch"),
    Exemption(
        r"\b(\w*_generator|integer_seed|training_seed|seed_sequence)\([^()]*\)",
        "**/*.py",
        "names of random streams, on which all results depend",
    ),
    Exemption(r"\"quantiser\"", "wmrl/storage/artifact.py", "names of tensors in weight files"),
]


def without_exemptions(path: Path, text: str) -> str:
    """A file's text, blanked where an exemption applies; lines keep their numbers."""
    for exemption in EXEMPTIONS:
        if path.relative_to(ROOT).match(exemption.files):
            text = re.sub(
                exemption.pattern, lambda found: re.sub(r"[^\n]", " ", found.group()), text
            )
    return text


def identifiers(text: str) -> Iterator[tuple[str, int]]:
    """Names in Python code, and their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.string, token.start[0]


def keys(config: Any) -> Iterator[str]:
    """All keys of a configuration outside of its provenance, at any depth."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key != "provenance":
                yield key
                yield from keys(value)


def uses_in_text(text: str, words: list[Word]) -> list[str]:
    """Lists the uses of words in a text, one line each."""
    lower = text.lower()  # several times faster than patterns that ignore the case
    return [
        f"line {text.count(chr(10), 0, found.start()) + 1}: {found.group()!r}, say {word.instead}"
        for word in words
        for found in re.finditer(
            word.pattern.removeprefix("(?i)"), lower if "(?i)" in word.pattern else text
        )
    ]


def uses_in_names(text: str) -> list[str]:
    """Lists the uses of retired words as identifiers of Python code, one line each."""
    if not any(map(retired, set(re.findall(r"\w+", text)))):  # neither in code nor in strings
        return []
    lines = defaultdict(list)
    for name, line in identifiers(text):
        lines[name].append(line)
    return [
        f"line {line}: {name!r}, say {word.instead}"
        for name in lines
        for word in retired(name)
        for line in lines[name]
    ]


def uses_in_files(paths: list[Path], find: Callable[[str], list[str]]) -> list[str]:
    """Lists the uses in files, one line each; exemptions are only applied where there are some."""
    return [
        f"{path.relative_to(ROOT)}, {use}"
        for path in paths
        if find(text := path.read_text())
        for use in find(without_exemptions(path, text))
    ]


@functools.cache  # most names are in many files
def retired(name: str) -> list[Word]:
    return [word for word in words_for("names") if re.fullmatch(word.pattern, name)]


def words_for(*places: str) -> list[Word]:
    return [word for word in WORDS if word.where in places]


@pytest.mark.parametrize("folder", FOLDERS)
def test_code_uses_the_present_words(folder: str) -> None:
    def uses_in_code(text: str) -> list[str]:
        return uses_in_text(text, words_for("text")) + uses_in_names(text)

    paths = [path for path in CODE if path.is_relative_to(ROOT / folder)]
    assert paths
    uses = uses_in_files(paths, uses_in_code)
    assert not uses, "\n".join(uses)


def test_pages_use_the_present_words() -> None:
    uses = uses_in_files(PAGES, lambda text: uses_in_text(text, words_for("text", "pages")))
    assert not uses, "\n".join(uses)


def test_shipped_configurations_use_the_present_words() -> None:
    assert CONFIGS
    uses = [
        f"{path.relative_to(ROOT)}: {key!r}, say {word.instead}"
        for path in CONFIGS
        for key in keys(json.loads(path.read_text()))
        for word in words_for("keys")
        if re.fullmatch(word.pattern, key)
    ]
    assert not uses, "\n".join(uses)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.example)
def test_patterns_find_their_examples(word: Word) -> None:
    if word.where in ("names", "keys"):
        assert re.fullmatch(word.pattern, word.example)
        assert not re.fullmatch(word.pattern, word.instead)
    else:
        assert re.search(word.pattern, word.example)
        assert not re.search(word.pattern, word.instead)


@pytest.mark.parametrize("exemption", EXEMPTIONS, ids=lambda exemption: exemption.reason)
def test_exemptions_are_needed(exemption: Exemption) -> None:
    """An exemption that no file needs any more is to be removed."""
    assert any(
        uses_in_text(found.group(), words_for("text"))
        for path in CODE + PAGES
        if path.relative_to(ROOT).match(exemption.files)
        for found in re.finditer(exemption.pattern, path.read_text())
    )


Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def docstrings() -> list[str]:
    return [
        docstring
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in documented(ast.parse(path.read_text()))
        if (docstring := ast.get_docstring(node))
    ]


def documented(node: ast.AST) -> Iterator[Documented]:
    """A module, and all classes and functions in it; expressions hold none."""
    if isinstance(node, Documented):
        yield node
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.stmt | ast.excepthandler | ast.match_case):
            yield from documented(inner)


def test_docstrings_begin_with_what_a_thing_is_or_does() -> None:
    questions = re.compile(r"(What|Where|How|Whether|That|Which)\b")
    found = docstrings()
    odd = [docstring.partition("\n")[0] for docstring in found if questions.match(docstring)]
    assert len(found) > 1000
    assert len(odd) < 0.01 * len(found), "\n".join(odd)
