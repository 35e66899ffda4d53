"""Model cards of artifacts: what they are, how they were made and scored, and how to load them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmrl.storage.artifact import Artifact

HELD_OUT = " on seeds that were not used for training or selection"
"""Note for scores that were measured by the evaluation protocol."""

_KINDS = {
    "vision": "A vision model",
    "memory": "A memory model",
    "prior": "A prior over the codes of images",
    "encoding": "An encoding of solutions",
    "elites": "An archive of elites",
    "agent": "An agent",
}
_SCORE = {"mean": int | float, "std": int | float, "episodes": int, "base": str}
_USAGE = """## Usage

With wmrl, installed by `pip install "wmrl[hub]"`:

```python
from wmrl.export import from_pretrained

{kind} = from_pretrained("{repository}")
```
"""
_WORLD_MODEL = """
The folders `vision` and `memory`, if there are any, contain the world model that the agent was
trained with.
"""


def task_of(artifact: "Artifact") -> str | None:
    """Returns the name of the task that an artifact was trained on; None if it has none."""
    tasks = [part.get("task") for part in (*_configs(artifact), artifact.provenance)]
    return next((task for task in tasks if isinstance(task, str)), None)


def references(artifact: "Artifact") -> dict[str, str]:
    """Returns the digests of the models that an artifact was trained with, by kind."""
    found = {
        kind: config.get(f"{kind}_digest")
        for config in _configs(artifact)
        for kind in ("vision", "memory")
        if f"{kind}_digest" in config
    }
    return {kind: digest for kind, digest in found.items() if isinstance(digest, str)}


def score_of(artifact: "Artifact") -> dict[str, Any] | None:
    """Returns the score of an agent that its provenance contains.

    Returns:
        The ``"mean"`` and ``"std"`` of the returns, the number of ``"episodes"``, and the id of the
        environment, ``"base"``. None if there is no score, and for artifacts of other kinds.
    """
    score = artifact.provenance.get("score")
    if artifact.kind != "agent" or not isinstance(score, dict):
        return None
    if not all(isinstance(score.get(name), types) for name, types in _SCORE.items()):
        return None
    return {name: score[name] for name in _SCORE}


def score_text(score: Mapping[str, Any], note: str = "") -> str:
    """Returns a score as text, such as ``"867.4 ± 138.1 (100 episodes of `CarRacing-v3`)"``.

    Args:
        score: score with the entries ``mean``, ``std``, ``episodes`` and ``base``.
        note: addition at the end of the text in parentheses.
    """
    episodes = f"{score['episodes']} episodes of {_code(score['base'])}{note}"
    return f"{score['mean']:.1f} ± {score['std']:.1f} ({episodes})"


def origin_text(provenance: Mapping[str, Any]) -> str:
    """Returns a sentence with the command and the seed that made an artifact.

    The sentence is empty if the provenance contains no command.
    """
    command, seed = provenance.get("command"), _seed(provenance)
    if not isinstance(command, str):
        return ""
    return (
        f"Made by {_code(command)}." if seed is None else f"Made by {_code(command)} (seed {seed})."
    )


def model_card(
    artifact: "Artifact", repository: str, *, scores: Sequence[Mapping[str, Any]]
) -> str:
    """Returns the model card of a repository on the Hugging Face hub, without its metadata.

    The card begins with the artifact's own card, if it has one.

    Args:
        artifact: content of the repository's main artifact.
        repository: name of the repository, ``"user/name"``, or of a folder.
        scores: scores of the agent, each with the entries ``mean``, ``std``, ``episodes`` and
            ``base``; empty for other artifacts.
    """
    usage = _USAGE.format(kind=artifact.kind, repository=repository)
    return "\n".join(
        [
            (artifact.card or _introduction(artifact, repository)).strip() + "\n",
            usage + (_WORLD_MODEL if artifact.kind == "agent" else ""),
            _details(artifact, scores),
        ]
    )


def _introduction(artifact: "Artifact", repository: str) -> str:
    task = task_of(artifact)
    about = f"{_KINDS[artifact.kind]} ({_code(artifact.class_name)})"
    about += "." if task is None else f" for the task {_code(task)}."
    return f"# {repository.rpartition('/')[2]}\n\n{about} {origin_text(artifact.provenance)}"


def _details(artifact: "Artifact", scores: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table with what is known about an artifact."""
    provenance = artifact.provenance
    data, versions = provenance.get("data"), provenance.get("versions")
    rows = [
        ("class", artifact.class_name),
        ("task", task_of(artifact)),
        *(("score", score_text(score).replace("`", "")) for score in scores),
        ("command", provenance.get("command")),
        ("seed", _seed(provenance)),
        *(("data", digest) for digest in (data if isinstance(data, list) else [data])),
        *(versions.items() if isinstance(versions, dict) else ()),
        ("downloaded from", provenance.get("source")),
        ("weights", artifact.digest),
        *((f"{kind} model", digest) for kind, digest in references(artifact).items()),
    ]
    cells = [(name, _code(value).replace("|", "\\|")) for name, value in rows if value is not None]
    table = "\n".join(f"| {name} | {cell} |" for name, cell in cells)
    return f"## Details\n\nLong numbers are SHA-256 digests.\n\n| | |\n| --- | --- |\n{table}\n"


def _seed(provenance: Mapping[str, Any]) -> int | None:
    """Returns the root seed in a provenance; None if there is none."""
    training = provenance.get("training")
    inner = training.get("seed") if isinstance(training, dict) else None
    seeds = (provenance.get("seed"), provenance.get("root_seed"), inner)
    return next((seed for seed in seeds if isinstance(seed, int)), None)


def _code(value: Any) -> str:
    """Returns a value as code in Markdown, in one line of bounded length."""
    text = " ".join(str(value).split()).replace("`", "'")
    return f"`{text[:1000]}`"


def _configs(artifact: "Artifact") -> Iterator[Mapping[str, Any]]:
    """Yields a configuration, and the configurations of the world model or of members in it."""
    yield artifact.config
    for name in ("world_model", "member"):
        inner = artifact.config.get(name)
        if isinstance(inner, dict):
            yield inner
