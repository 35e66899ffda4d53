"""The guides on callbacks and on configuration files: their blocks run, and say what is so."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, commands

from wmrl.scripts.cli import COMMANDS, run
from wmrl.scripts.config_file import options_text, read_options
from wmrl.storage.artifact import load_artifact
from wmrl.training.metrics import read_metrics

GUIDES = Path(__file__).parents[1] / "docs" / "guides"
CALLBACKS = (GUIDES / "callbacks.md").read_text()
FILES = (GUIDES / "configuration-files.md").read_text()


def test_the_guide_on_callbacks_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "guide"}  # of a reader who types one block after another
    for number, (language, block) in enumerate(blocks(CALLBACKS)):
        assert language == "python"
        if "WandbCallback" in block:
            pytest.importorskip("wandb")
        exec(compile(block, f"callbacks.md, block {number}", "exec"), scope)
    assert read_metrics("runs/patient/metrics.csv")
    assert load_artifact("runs/cma/best").provenance["best"]["measure"] == "fitness/mean"
    assert read_metrics("runs/mine/metrics.csv")[-1]["step"] == 4


def args_of(command: str) -> Any:
    return import_module(f"wmrl.scripts.{COMMANDS[command].module}").Args


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of the guide, in which commands only write down their options."""
    for language, block in blocks(FILES):
        if language == "toml":
            named = re.match(r"# (\w+\.toml)\n", block)
            assert named
            (tmp_path / named[1]).write_text(block)
    vision = args_of("train-vision")((Path("runs/data"),), Path("runs/vision"))
    controller = args_of("train-controller")(Path("runs/agent"), algorithm="cma-es")
    for name, args in (("train-vision", vision), ("train-controller", controller)):
        (tmp_path / args.out).mkdir(parents=True)
        (tmp_path / args.out / "run.toml").write_text(options_text(args, command=name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_files_and_commands_of_the_guide_are_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    for name in ("train_vision", "train_controller"):
        monkeypatch.setattr(import_module(f"wmrl.scripts.{name}"), "main", seen.append)
    (tmp_path / "stand-ins").mkdir()
    scripts = [block for language, block in blocks(FILES) if language == "bash"]
    for script in scripts:
        for program, *words in commands(script, tmp_path / "stand-ins"):
            assert program == "wmrl"
            assert run(words) == 0
        (tmp_path / "stand-ins" / "log").unlink()
    vision, other, again, controller = seen
    assert (vision.latent_dim, vision.steps, vision.pixel_variance) == (64, 20_000, "calibrated")
    assert (str(other.out), other.seed, other.latent_dim) == ("runs/vision-1", 1, 64)
    assert (str(again.out), again.stores) == ("runs/again", (Path("runs/data"),))
    assert (str(controller.out), controller.algorithm) == ("runs/agent-1", "cma-es")
    video = read_options("video.toml", args_of("record"), command="record").video
    assert (video.width, video.speed) == (600, 2.0)


def test_the_messages_of_the_guide_are_those_that_come(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (told,) = (block for language, block in blocks(FILES) if language == "text")
    path = folder / "vision.toml"
    given = path.read_text()
    for message, (right, wrong) in zip(
        told.splitlines(),
        [("latent_dim", "latent_dims"), ("20_000", '"many"')],
        strict=True,
    ):
        path.write_text(given.replace(right, wrong))
        assert run(["train-vision", "--config", "vision.toml"]) == 2
        assert capsys.readouterr().err.startswith(message)


def test_the_guide_names_all_arguments_without_a_name() -> None:
    found = {
        (name, command)
        for command in COMMANDS
        for name, hint in args_of(command).__annotations__.items()
        if "Positional" in str(hint)
    }
    told = re.findall(r"^  \| `(\w+)` \| (.*) \|$", FILES, re.M)
    assert {
        (name, command) for name, text in told for command in re.findall("`(.+?)`", text)
    } == found
