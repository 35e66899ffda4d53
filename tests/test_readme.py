"""The README's Python runs as it stands, and the commands of pages have valid options."""

from importlib import import_module
from pathlib import Path

import pytest
import tyro
from pages import blocks, commands

from wmrl.scripts.cli import COMMANDS, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

PYTHON = [block for language, block in blocks(README) if language == "python"]
BASH = [block for language, block in blocks(README) if language == "bash"]
SCRIPTS = {f"block {number}": block for number, block in enumerate(BASH)}
SCRIPTS["commands.sh"] = (ROOT / "results" / "commands.sh").read_text()


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_block_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": f"readme_{number}"}
    exec(compile(PYTHON[number], f"README.md, block {number}", "exec"), scope)
    assert len(scope) > 3


def test_there_are_blocks() -> None:
    assert len(PYTHON) >= 5
    assert len(SCRIPTS) >= 4


@pytest.mark.parametrize("name", SCRIPTS)
def test_options_are_valid(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands(SCRIPTS[name], tmp_path)
    assert found
    for command in COMMANDS.values():
        module = f"wmrl.scripts.{command.module}"
        monkeypatch.setattr(import_module(module), "main", lambda args: 0)
    for program, *words in found:
        if program == "python":
            assert words[0] == "-m"
            tyro.cli(import_module(words[1]).Args, args=words[2:])
        elif program == "wmrl" and "--help" in words:
            with pytest.raises(SystemExit, match="0"):
                run(words)
        elif program == "wmrl":
            assert run(words) == 0, words
