"""The file run.toml of each run, from which the run is repeated to the same bits."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from wmrl.agents.rollouts import collection
from wmrl.data.store import RolloutStore
from wmrl.scripts.cli import COMMANDS, run
from wmrl.scripts.config_file import read_options
from wmrl.storage.artifact import load_artifact
from wmrl.storage.run import Run

SMALL = ["--steps", "3", "--batch-size", "2", "--device", "cpu"]
TOY = ["--task", "toy_game:TOY", "--episodes", "3", "--num-envs", "2", "--workers", "0"]


@pytest.fixture
def words(
    request: pytest.FixtureRequest, make_rollouts: Any, make_tiny: Any, tmp_path: Path
) -> list[str]:
    """A command without its folder."""
    store = str(make_rollouts((20, 24)).path)
    tiny = make_tiny()
    models = ["--vision", str(tiny.vision), "--memory", str(tiny.memory), "--device", "cpu"]
    vision = str(tmp_path / "vision")
    if request.param.startswith("train-memory"):
        train = ["train-vision", store, "-o", vision, "--base-channels", "2", "--latent-dim", "4"]
        assert run([*train, *SMALL]) == 0
    memory = ["train-memory", store, "-v", vision, "--hidden-dim", "4", *SMALL]
    evolution = ["--algorithm", "cma-es", "--generations", "2", "--population-size", "4"]
    arm = ["--num-joints", "6", "--cells", "40", "--evaluations", "1500", "--no-progress"]
    given: dict[str, list[str]] = {
        "collect": ["collect", *TOY, "--seed", "5"],
        "train-vision": [
            *("train-vision", store, *SMALL, "--base-channels", "2", "--latent-dim", "4"),
            *("--learning-rate", "0.0123456789012345", "--pixel-variance", "calibrated"),
        ],
        "train-memory": [*memory, "--sequence-length", "8"],
        "train-memory, two members": [*memory, "--num-members", "2", "--burn-in", "4"],
        "train-controller": [
            *("train-controller", *models, *evolution, "--agent-steps", "3"),
            *("--num-rollouts", "2", "--dropout", "--hidden-dims", "4"),
        ],
        "search-elites": [
            *(
                "search-elites",
                *arm,
                "--algorithm",
                "dde",
                "--encoding",
                "none",
                "--locks",
                "1",
                "0.5",
            ),
            *("--obstacles", "0.4", "0.3", "0.1", "-0.5", "0.5", "0.05"),
        ],
    }
    return given[request.param]


def in_folder(words: list[str], folder: Path) -> list[str]:
    """The command with its folder, as a positional argument or an option."""
    positional = words[0] in ("collect", "train-controller", "search-elites")
    if positional:
        return [words[0], str(folder), *words[1:]]
    return [*words, "-o", str(folder)]


def digest(command: str, folder: Path) -> str:
    if command == "collect":
        return RolloutStore(folder).content_hash()
    return load_artifact(folder / ("elites" if command == "search-elites" else "artifact")).digest


each = pytest.mark.parametrize(
    "words",
    [
        *("collect", "train-vision", "train-memory", "train-memory, two members"),
        *("train-controller", "search-elites"),
    ],
    indirect=True,
)


@each
def test_a_run_is_repeated_from_its_file(words: list[str], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(in_folder(words, first)) == 0
    file = first / "run.toml"
    assert list(first.rglob("run.toml")) == [file]
    assert run(in_folder([words[0], "--config", str(file)], second)) == 0
    assert digest(words[0], second) == digest(words[0], first)
    again = (second / "run.toml").read_text()
    assert again == file.read_text().replace(str(first), str(second))
    # Without another folder, it is the same run, which is finished.
    before = digest(words[0], first)
    assert run([words[0], "--config", str(file)]) == 0
    assert digest(words[0], first) == before
    assert not list(first.rglob(".*.new*"))


@pytest.mark.parametrize("words", ["train-vision"], indirect=True)
def test_the_file_is_that_of_the_run_in_the_folder(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    command = in_folder(words, folder)
    assert run(command) == 0
    file = folder / "run.toml"
    before = file.read_text()
    assert run([*command, "--seed", "1"]) == 2
    assert "holds a run with another configuration" in capsys.readouterr().err
    assert file.read_text() == before
    with pytest.warns(UserWarning, match="continues from step 3 to step 4"):
        assert run([*command, "--steps", "4"]) == 0
    assert file.read_text() == before.replace("steps = 3\n", "steps = 4\n", 1)


@pytest.mark.parametrize("words", ["collect"], indirect=True)
def test_the_file_is_part_of_a_store(words: list[str], tmp_path: Path) -> None:
    command = in_folder(words, tmp_path / "store")
    assert run(command) == 0
    before = digest("collect", tmp_path / "store")
    (tmp_path / "store" / "zarr.json").unlink()  # a folder with foreign files would be refused
    assert run(command) == 0
    assert digest("collect", tmp_path / "store") == before


@pytest.mark.parametrize("words", ["train-vision", "collect"], indirect=True)
def test_a_command_that_is_refused_leaves_no_file(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no games today")

    monkeypatch.setattr(collection, "FrameVectorEnv", fail)
    refused = [*words, "--init", "nothing"] if words[0] == "train-vision" else words
    assert run(in_folder(refused, tmp_path / "run")) == 2
    assert not (tmp_path / "run").exists()


def test_the_whole_loop_keeps_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(task: object, path: Path, **_: object) -> Any:
        with Run(path, config={}):
            raise KeyboardInterrupt  # the file is written at the start

    monkeypatch.setattr("wmrl.agents.pipeline.loop.train", train)
    monkeypatch.chdir(tmp_path)
    assert run(["train", "--minutes", "30", "--frame-size", "84", "84"]) == 130
    (file,) = tmp_path.rglob("run.toml")
    assert file.parent.name == "car-racing@84x84x3"
    args_class = import_module("wmrl.scripts.train").Args
    found = read_options(file, args_class, command="train")
    assert found == args_class(minutes=30.0, frame_size=(84, 84))


EXPERIMENTS = {
    name: command.module for name, command in COMMANDS.items() if "reproduce" in command.module
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_keeps_its_options(name: str) -> None:
    source = Path(str(import_module(f"wmrl.scripts.{EXPERIMENTS[name]}").__file__)).read_text()
    start, end = source.index("def main("), source.index("finish(")
    assert source[start:end].count(f'    write_options(args, args.out, command="{name}")\n') == 1
