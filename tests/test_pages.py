"""Pages of the documentation: their Python runs, and their commands, names and links exist."""

import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tyro
from pages import (
    DOCS,
    NOTEBOOKS,
    ROOT,
    anchors,
    blocks,
    commands,
    links,
    markdown,
    python_blocks,
    shortened_python,
)

from wmrl.agents.agent import AGENTS
from wmrl.agents.sb3.features import FEATURES_EXTRACTORS
from wmrl.data.store import RolloutStore
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.registry import _TASKS
from wmrl.memory.base import MEMORIES
from wmrl.scripts.cli import COMMANDS, run
from wmrl.vision.base import VISIONS

FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
LINKED = [*FRONT, *DOCS, *NOTEBOOKS, *sorted((ROOT / "results").rglob("*.md"))]
# The blocks of these pages run in tests of their own, together with their commands.
APART = ("your-own-game.md", "minari.md", "onnx.md", "callbacks.md", "configuration-files.md")
RUN = [page for page in DOCS if page.name not in APART and "```python" in page.read_text()]
NO_MODULE = {"wmrl.plugins"}  # the group of entry points


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


SCRIPTS = {
    f"{page_name(page)}, block {number}": block
    for page in [*FRONT, *DOCS]
    if page.name != "configuration-files.md"  # whose commands read the files that it shows
    for number, (language, block) in enumerate(blocks(page.read_text()))
    if language == "bash"
}
SCRIPTS["commands.sh"] = (ROOT / "results" / "commands.sh").read_text()


@pytest.fixture
def folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_rollouts: Callable[..., RolloutStore],
) -> Iterator[Path]:
    """The folder of a reader, with recorded rollouts in ``runs/data``.

    Episodes of CarRacing are short. Games are played without worker processes, which changes no
    result.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wmrl.envs.frames.vector._worker_count", lambda workers, num_envs: 0)
    monkeypatch.setitem(_TASKS, "car-racing", replace(CAR_RACING, max_frames=80))
    for registry in (VISIONS, MEMORIES, AGENTS, FEATURES_EXTRACTORS):
        monkeypatch.setattr(registry, "_registered", {})
    recorded = make_rollouts((24, 9), task="car-racing")
    shutil.copytree(recorded.path, tmp_path / "runs" / "data")
    return tmp_path


def test_there_are_pages() -> None:
    assert len(DOCS) > 30
    assert len(RUN) > 12
    assert len(SCRIPTS) > 30


@pytest.mark.parametrize("page", RUN, ids=page_name)
@pytest.mark.usefixtures("folder")
def test_python_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks of a page run in order, as a reader types them, and print what stands below."""
    scope: dict[str, Any] = {"__name__": "page"}
    for number, (code, printed) in enumerate(python_blocks(page.read_text())):
        capsys.readouterr()
        name = f"{page_name(page)}, Python block {number}"
        exec(compile(shortened_python(code), name, "exec"), scope)
        assert printed in (None, capsys.readouterr().out)


@pytest.mark.parametrize("name", SCRIPTS)
def test_options_are_valid(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands(SCRIPTS[name], tmp_path)
    assert found
    for command in COMMANDS.values():
        monkeypatch.setattr(import_module(f"wmrl.scripts.{command.module}"), "main", lambda args: 0)
    monkeypatch.setattr("wmrl.storage.registry.load_plugins", lambda names: None)
    for program, *words in found:
        if program == "python":
            assert words[0] == "-m"
            tyro.cli(import_module(words[1]).Args, args=words[2:])
        elif program == "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.M), words
        elif program == "wmrl" and "--help" in words:
            with pytest.raises(SystemExit, match="0"):
                run(words)
        elif program == "wmrl":
            assert run(words) == 0, words


@pytest.mark.parametrize("page", LINKED, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        generated = target.suffix == ".rst" and target.parent.name == "api"
        assert target.exists() or generated, f"{page_name(page)} links to {target}"
        if anchor:
            assert anchor in anchors(target), f"{page_name(page)} links to {target}#{anchor}"


def test_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "# A page: of mine\n[a](b.md#c) ![d](../e.png) [f](https://g.h) `[i](j)` [k](#l)\n"
        "```python\n[m](n)\n# o\n```\n"
    )
    page = tmp_path / "page.md"
    assert links(page) == [(tmp_path / "b.md", "c"), (tmp_path / "../e.png", ""), (page, "l")]
    assert anchors(page) == {"a-page-of-mine"}


@pytest.mark.parametrize("page", [*FRONT, *DOCS, *NOTEBOOKS], ids=page_name)
def test_names_exist(page: Path) -> None:
    """Paths in backticks can be imported from packages, and extras can be installed."""
    text = markdown(page)
    for path in set(re.findall(r"`(wmrl(?:\.\w+)+)`", text)) - NO_MODULE:
        value: Any = import_module("wmrl")
        for place, part in enumerate(parts := path.split(".")[1:], start=1):
            if isinstance(value, ModuleType) and not hasattr(value, part):
                value = import_module(".".join(("wmrl", *parts[:place])))
            else:
                value = getattr(value, part)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for named in re.findall(r"wmrl\[([\w,]+)\]", text):
        assert set(named.split(",")) <= {*extras["optional-dependencies"]}, named
