"""The guide to sharing: its blocks run, against a stand-in for the Hugging Face hub."""

from importlib import import_module
from pathlib import Path

import pytest
from pages import blocks, commands
from toy_hub import ToyHub

from wmrl.scripts.cli import run

PAGE = (Path(__file__).parents[1] / "docs" / "guides" / "sharing.md").read_text()


def test_every_block_runs(
    hub: ToyHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "stand-ins").mkdir()
    (tmp_path / "home" / "runs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home")
    for name in ("evaluate", "record", "train_controller"):  # which are tested elsewhere
        monkeypatch.setattr(import_module(f"wmrl.scripts.{name}"), "main", lambda args: None)
    for number, (language, block) in enumerate(blocks(PAGE)):
        if language == "bash":
            for program, *words in commands(block, tmp_path / "stand-ins"):
                assert program == "pip" or run(words) == 0, words
            (tmp_path / "stand-ins" / "log").unlink()
        elif language == "python":
            capsys.readouterr()
            exec(compile(block, f"sharing.md, block {number}", "exec"), {})
    printed = capsys.readouterr().out
    assert "Made by `my-training.py` (seed 0)." in printed
    names = {name.partition("/")[0] for name in hub.files("ada/car-racing")}
    for place in ("pulled", "shared"):
        assert {path.name for path in Path(place).iterdir()} == names


def test_the_page_and_the_hub_agree(hub: ToyHub) -> None:
    (text,) = (block for language, block in blocks(PAGE) if language == "text")
    run(["artifacts", "push", "planar-arm-vae", "ada/arm"])
    files = hub.files("ada/arm")
    assert "README.md" in text
    for name in ("config.json", "model.safetensors", "SHA256SUMS"):
        assert f"encoding/{name}" in files
        assert name in text
