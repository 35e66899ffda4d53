"""Environments' ids as ``--task``: what is stored, and what an agent's file alone can't do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.evaluation.scoring import original_id
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.data.store import RolloutStore
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.scripts.cli import run

GAME = "choice_game:Choice-v0"


@pytest.fixture(scope="module")
def derived_agent(make_tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saves a controller of a task that is derived from an environment."""
    task = find_task(GAME)
    tiny = make_tiny(task)
    world_model = WorldModel.open(task, tiny.vision, tiny.memory, device="cpu")
    config = ControllerConfig(observation_dim=24, action_space=task.actions)
    weights = np.random.default_rng(0).normal(size=config.parameter_count)
    ref = WorldModelRef.of(world_model, vision=tiny.vision, memory=tiny.memory)
    path = tmp_path_factory.mktemp("derived") / "agent"
    ControllerAgent(config, weights, world_model=ref).save(path)
    return path


def test_a_game_is_collected_by_its_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "data"
    words = f"collect {store} --task {GAME} --episodes 2 --num-envs 2 --workers 1"
    assert run(words.split()) == 0
    metadata = RolloutStore(store).metadata
    assert (metadata.task, metadata.frame_skip) == ("Choice-v0", 1)
    assert metadata.action_space == find_task(GAME).actions
    assert metadata.policy["name"] == "repeated"
    err = capsys.readouterr().err
    assert "Choice-v0: Frames are its observations, 12 × 12 pixels." in err
    assert "Choice-v0: frame_skip is 1, because it shows 20 frames per second." in err


@pytest.mark.parametrize("command", ["evaluate", "record", "collect"])
def test_agents_of_derived_tasks_need_the_users_word(
    command: str,
    derived_agent: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = ["--episodes", "2", "--num-envs", "2", "--workers", "0"]
    words = {
        "evaluate": ["evaluate", str(derived_agent), "--out", str(tmp_path / "s.json"), *short],
        "record": ["record", str(derived_agent), "--out", str(tmp_path / "video.gif")],
        "collect": ["collect", str(tmp_path / "data"), "--policy", str(derived_agent), *short],
    }[command]
    with monkeypatch.context() as patch:
        if command != "collect":  # which makes the game that it has to play
            patch.setattr(gym, "make", lambda *_, **__: pytest.fail("made from a name in a file"))
        assert run(words) == 2
    err = capsys.readouterr().err
    assert "Choice-v0" in err
    if command != "collect":  # where car-racing is the default
        assert "or --task Choice-v0 if it is the id of an environment" in err
    assert run([*words, "--task", GAME]) == 0


def test_the_name_is_kept_in_the_agents_files(derived_agent: Path) -> None:
    config = json.loads((derived_agent / "config.json").read_text())["config"]
    assert config["world_model"]["task"] == "Choice-v0"
    with pytest.raises(ValueError, match="task: expected the task 'Choice-v0' that the agent"):
        WorldModelRef(**config["world_model"]).open(task="car-racing")


def test_scores_are_of_the_original_game_if_there_is_one() -> None:
    assert original_id(CAR_RACING) == "CarRacing-v3"
    for env_id in ("vsg/PlanarArm-v0", GAME, "CartPole-v1"):
        assert original_id(Task(name="x", env_id=env_id)) == env_id
