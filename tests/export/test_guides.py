"""The guides to Minari and ONNX: their Python runs in order, and their commands are valid."""

import warnings
from importlib import import_module
from pathlib import Path

import pytest
from pages import blocks, commands

from wmrl.export import MinariWarning
from wmrl.scripts.cli import COMMANDS, run

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


@pytest.mark.usefixtures("datasets", "one_registry")
@pytest.mark.parametrize("name", ["minari", "onnx"])
def test_every_block_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (GUIDES / f"{name}.md").read_text()
    (tmp_path / "stand-ins").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for command in COMMANDS.values():
        module = import_module(f"wmrl.scripts.{command.module}")
        monkeypatch.setattr(module, "main", lambda args: 0)
    scope: dict[str, object] = {"__name__": name}
    for number, (language, block) in enumerate(blocks(page)):
        if language == "python":
            with warnings.catch_warnings():
                # Minari recommends to name an author and the like.
                warnings.filterwarnings("ignore", module="minari")
                warnings.filterwarnings("ignore", category=MinariWarning)
                exec(compile(block, f"{name}.md, block {number}", "exec"), scope)
        else:
            assert language == "bash"
            found = commands(block, tmp_path / "stand-ins")
            assert found
            for program, *words in found:
                assert program == "pip" or run(words) == 0, words
            (tmp_path / "stand-ins" / "log").unlink()
