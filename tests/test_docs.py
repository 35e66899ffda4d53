"""Generated pages of the documentation: all environments, options and public names are there."""

import re
from collections import Counter
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import get_type_hints

import api_pages
import command_pages
import environment_pages
import gymnasium as gym
import pytest
import result_pages
from pages import DOCS

from wmrl.scripts.cli import COMMANDS

HEADINGS = [
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Arguments",
    "Version History",
    "Errors",
    "Example",
]


@pytest.fixture(scope="module")
def reference() -> api_pages.Reference:
    return api_pages.Reference()


@pytest.mark.parametrize("name", environment_pages.environments())
def test_every_environment_has_a_page(name: str) -> None:
    include = f"```{{include}} ../_generated/environments/{name.removeprefix('vsg/')}.md\n```\n"
    (page,) = [page for page in DOCS if page.read_text().endswith(include)]
    assert page.read_text().startswith(f"# {name}\n")
    text = environment_pages.sections(environment_pages.docstring(gym.spec(name)))
    headings = re.findall(r"^## (.*)", text, re.M)
    assert [heading for heading in headings if heading != "Information"] == HEADINGS
    assert not re.search(r"(^|[^`}]):\w+:`", text), "a role of reStructuredText is left"


def test_docstrings_become_markdown() -> None:
    docstring = (
        "A game.\n\n## Description\nSee :class:`~a.b.C` (https://d.e/f).\n\nRaises:\n"
        "    ValueError: an argument is\n        wrong.\n\nExample:\n    >>> 1\n    1"
    )
    assert environment_pages.sections(docstring) == (
        "## Description\nSee {py:class}`~a.b.C` (<https://d.e/f>).\n\n## Errors\n\n"
        "- `ValueError`: an argument is wrong.\n\n## Example\n\n```pycon\n>>> 1\n1\n```"
    )


def options_of(args: type) -> list[str]:
    """Names of the options that a dataclass stands for, with those of dataclasses in it."""
    found = []
    for item in fields(args):
        kind = get_type_hints(args)[item.name]
        found += options_of(kind) if is_dataclass(kind) else [item.name.replace("_", "-")]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described(name: str) -> None:
    args = import_module(f"wmrl.scripts.{COMMANDS[name].module}").Args
    described = command_pages.options(command_pages.help_of(name))
    assert len(described) == len(options_of(args))
    assert all(about for _, about in described)
    named = set(re.findall(r"--([a-z][\w-]*)", " ".join(option for option, _ in described)))
    assert named <= {each for option in options_of(args) for each in (option, f"no-{option}")}


def test_options_are_parsed() -> None:
    shown = (
        "╭─ options ──────╮\n"
        "│ -h, --help       show this │\n"
        "│ --size {None}|INT │\n"
        "│                  Size, or as in │\n"
        "│                  --other. (default: None) │\n"
        "╰────────────────╯\n"
        "╭─ more options ─╮\n"
        "│ More of them.  │\n"
        "│ ────────────── │\n"
        "│ --kind {None,a,b}  kind. (default: a) │\n"
        "╰────────────────╯\n"
    )
    assert command_pages.options(shown) == [
        ("--size INT", "Size, or as in --other."),
        ("--kind {a,b}", "Kind. (default: a)"),
    ]


def test_commands_are_on_one_page() -> None:
    text = command_pages.text()
    assert re.findall(r"^## wmrl (.*)", text, re.M) == list(COMMANDS)
    assert "`--real-frames INT`\n: " in text


def test_every_public_name_is_documented_once(reference: api_pages.Reference) -> None:
    documented = Counter(
        path
        for page in reference.pages
        for path in re.findall(r"^\.\. (?:auto|py:)\w+:: (.*)", reference.text(page), re.M)
        if path != page
    )
    assert len(documented) > 200
    assert set(documented.values()) == {1}
    for page in reference.pages:
        assert set(reference.names(page).values()) <= {*documented}
    assert "wmrl.agents.PPOLearner" in documented
    assert ".. autoclass:: wmrl.agents.PPOLearner" in reference.text("wmrl.agents.ppo")


def test_every_package_has_a_page(reference: api_pages.Reference) -> None:
    assert {"wmrl.core", "wmrl.envs", "wmrl.envs.tasks", "wmrl.agents"} <= {*reference.pages}
    assert "wmrl.scripts" not in reference.pages


@pytest.mark.parametrize(
    ("target", "cls", "found"),
    [
        ("wmrl.envs.latent.env.LatentEnv.state", None, "wmrl.envs.LatentEnv.state"),
        ("close", "wmrl.agents.CMAES", "wmrl.agents.CMAES.close"),
        ("wmrl.core.processes", None, ""),
        ("nothing_like_it", "wmrl.agents.CMAES", None),
    ],
)
def test_references_are_found(
    reference: api_pages.Reference, target: str, cls: str | None, found: str | None
) -> None:
    assert reference.find(target, package="wmrl.agents", cls=cls) == found


def test_tables_of_results_link_to_the_copy_of_the_results() -> None:
    tables = result_pages.tables()
    assert "](results:./commands.sh)" in tables["car-racing"]
    for text in tables.values():
        assert not text.startswith("# ")
        for path in re.findall(r"\]\(results:([^)]+)\)", text):
            assert (result_pages.FOLDER / path).exists()
    assert result_pages.with_unbroken_cells("1 ± 2\n| 3 ± 4 |") == "1 ± 2\n| 3\u00a0±\u00a04 |"
    assert result_pages.with_site_links("![a](../../results/b.png) [c](../../results/d/e.mp4)") == (
        "![a](../../results/b.png) [c](results:d/e.mp4)"
    )
