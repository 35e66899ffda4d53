"""``wmrl collect``, from the command line to the store."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_game import STEERED
from toy_models import toy_agent

from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.exploration import NoisyAgent
from wmrl.data.store import RolloutStore
from wmrl.envs.world_model import WorldModel
from wmrl.scripts.cli import run
from wmrl.scripts.collect import Args, main
from wmrl.storage.artifact import find_artifact


def test_collects_and_prints_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"collect {tmp_path} --task toy_game:TOY --episodes 3 --num-envs 2 --workers 0 --seed 5"
    assert run(words.split()) == 0
    store = RolloutStore(tmp_path)
    assert len(store) == 3
    assert store.metadata.policy["seed"] == 5
    *_, last, following = capsys.readouterr().out.splitlines()
    assert following == f"next: wmrl train-vision {tmp_path} -o runs/vision"
    assert "3 episodes" in last
    assert store.content_hash() in last


def test_frames_are_the_budget_without_episodes(tmp_path: Path) -> None:
    main(Args(tmp_path, task="toy_game:TOY", frames=100, num_envs=1, workers=0, policy="repeated"))
    taken = 3 * sum(summary.length for summary in RolloutStore(tmp_path).summaries)
    assert 100 <= taken < 150


def test_an_agent_plays_a_task_of_ones_own(make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    agent = toy_agent(make_tiny, tmp_path)
    words = ["collect", str(tmp_path / "data"), "--policy", str(agent), "--episodes", "2"]
    sizes = ["--num-envs", "2", "--workers", "0", "--noise", "0.1"]
    assert run([*words, *sizes, "--task", "toy_game:STEERED"]) == 0
    store = RolloutStore(tmp_path / "data")
    assert (len(store), store.metadata.task) == (2, "steered-toy")
    again = collect(
        STEERED,
        tmp_path / "again",
        policy=str(agent),
        episodes=2,
        num_envs=2,
        workers=0,
        noise=NoisyAgent(max_scale=0.1),
        progress=False,
    )
    assert again.content_hash() == store.content_hash()  # the same by Python


def test_other_folders_stay_as_they_are(
    agent_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", "toy_game:TOY", "--episodes", "1", "--num-envs", "1", "--workers", "0"]
    before = sorted(file.name for file in agent_path.iterdir())
    assert run(["collect", str(agent_path), *words]) == 2
    assert "got an artifact of kind 'agent'; use another path" in capsys.readouterr().err
    assert sorted(file.name for file in agent_path.iterdir()) == before
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "data"):
        assert run(["collect", str(path), *words]) == 2
        assert "store: expected a folder" in capsys.readouterr().err


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["collect", str(tmp_path), "--policy", "nobody"]) == 2
    assert "no artifact 'nobody'" in capsys.readouterr().err
    assert run(["collect", str(tmp_path), "--episodes", "0"]) == 2
    assert "episodes: expected at least 1, got 0" in capsys.readouterr().err


def test_folders_of_other_things_are_named_before_any_game_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = tmp_path / "artifact"
    shutil.copytree(find_artifact("car-racing-dream"), artifact)
    (tmp_path / "file").write_text("mine")
    for path, found in ((artifact, "an artifact of kind 'agent'"), (tmp_path / "file", "a file")):
        before = sorted(path.rglob("*"))
        assert run(["collect", str(path), "--task", "toy_game:TOY", "--episodes", "1"]) == 2
        err = capsys.readouterr().err
        assert found in err
        assert "another path" in err
        assert run(["inspect", str(path)]) == 2
        assert f"expected a rollout store, got {found}" in capsys.readouterr().err
        assert sorted(path.rglob("*")) == before


SMALL = ["--episodes", "2", "--num-envs", "2", "--workers", "0"]


@pytest.mark.parametrize(
    ("options", "name", "shape"),
    [
        (["--grayscale"], "toy@16x16x1", (16, 16, 1)),
        (["--frame-size", "20"], "toy@20x20x3", (20, 20, 3)),
        (["--frame-size", "12", "20", "--grayscale"], "toy@12x20x1", (12, 20, 1)),
        (["--frame-size", "16", "16"], "toy", (16, 16, 3)),
    ],
)
def test_the_shape_of_frames_is_an_option(
    options: list[str], name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    words = ["collect", str(tmp_path), "--task", "toy_game:TOY", *SMALL]
    assert run([*words, *options]) == 0
    store = RolloutStore(tmp_path)
    assert (store.metadata.task, store.metadata.frame_shape) == (name, shape)
    assert store.frames(0).shape[1:] == shape
    # The name at the end of a location is another way to say it.
    words[3] += name.removeprefix("toy")
    assert run(words) == 0
    assert RolloutStore(tmp_path).content_hash() == store.content_hash()


def test_the_stack_of_frames_is_an_option(tmp_path: Path) -> None:
    words = ["collect", str(tmp_path), "--task", "toy_game:TOY", *SMALL]
    assert run([*words, "--frame-stack", "4"]) == 0
    store = RolloutStore(tmp_path)
    assert (store.metadata.task, store.metadata.frame_stack) == ("toy@16x16x3x4", 4)
    assert store.frames(0).shape[1:] == (16, 16, 3)  # single frames
    words[3] += "@16x16x3x4"
    assert run(words) == 0
    assert RolloutStore(tmp_path).content_hash() == store.content_hash()
    words[1] = str(tmp_path / "plain")
    assert run([*words, "--frame-stack", "1"]) == 0
    plain = RolloutStore(tmp_path / "plain")
    assert (plain.metadata.task, plain.metadata.frame_stack) == ("toy@16x16x3", 1)
    assert plain.content_hash() == store.content_hash()


def test_frames_of_two_shapes_do_not_mix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["collect", str(tmp_path), "--task", "toy_game:TOY", *SMALL]
    assert run(words) == 0
    assert run([*words, "--grayscale"]) == 2
    assert "expected a store with task 'toy@16x16x1', got 'toy'" in capsys.readouterr().err
    assert run([*words, "--frame-size", "1", "2", "3"]) == 2
    assert "frame_size: expected a height and a width, or one" in capsys.readouterr().err
    assert run([*words, "--frame-size", "0"]) == 2
    assert "frame_size: expected at least 1, got 0" in capsys.readouterr().err


def test_an_agent_needs_the_frames_that_it_knows(
    make_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    agent = toy_agent(make_tiny, tmp_path)
    gray = replace(STEERED, grayscale=True)
    tiny = make_tiny(STEERED)
    world_model = WorldModel.open(STEERED, tiny.vision, tiny.memory, device="cpu")
    with pytest.raises(ValueError, match=r"frames of shape \(64, 64, 3\), .* got \(64, 64, 1\) in"):
        collect(gray, tmp_path / "data", policy=str(agent), world_model=world_model, episodes=1)
    assert not (tmp_path / "data").exists()
