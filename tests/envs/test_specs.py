"""Specs survive JSON, also where models, tasks and paths are arguments."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from toy_game import STEERED

from wmrl.encodings.base import load_encoding
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.registry import find_task, register_task
from wmrl.memory.base import load_memory
from wmrl.vision.base import load_vision
from wmrl.vision.vae import VAE, VAEConfig

DREAM, LATENT = "vsg/CarRacingDream-v0", "vsg/CarRacingLatent-v0"
ARM, ARM_LATENT = "vsg/PlanarArm-v0", "vsg/PlanarArmLatent-v0"


def first_steps(env: Any) -> list[Any]:
    """The observation of the first reset, and observation and reward of the step after it."""
    observation, _ = env.reset(seed=3)
    env.action_space.seed(3)
    following, reward, *_ = env.step(env.action_space.sample())
    env.close()
    return [observation, following, reward]


def through_json(spec: EnvSpec) -> EnvSpec:
    return EnvSpec.from_json(spec.to_json())


GAME = "choice_game:Choice-v0"  # an environment, from which a task is derived


def arguments(kind: str, tiny: Any, steered: Any) -> dict[str, Any]:
    """Arguments that JSON doesn't have."""
    models = {
        "vision": load_vision(tiny.vision, device="cpu"),
        "memory": load_memory(tiny.memory, device="cpu"),
        "device": torch.device("cpu"),
    }
    return {
        "objects": {**models, "task": CAR_RACING},
        "paths": {"vision": tiny.vision, "memory": tiny.memory, "device": "cpu"},
        "own task": {"task": STEERED, "vision": steered.vision, "memory": steered.memory},
        "location": {"task": "toy_game:STEERED", **steered.kwargs},
    }[kind]


@pytest.mark.parametrize("kind", ["objects", "paths", "own task", "location"])
@pytest.mark.parametrize("env_id", [DREAM, LATENT])
def test_world_models(env_id: str, kind: str, make_tiny: Any) -> None:
    given = arguments(kind, make_tiny(), make_tiny(STEERED))
    env = gym.make(env_id, **given)
    spec = through_json(env.spec)
    for one, other in zip(first_steps(env), first_steps(gym.make(spec)), strict=True):
        np.testing.assert_array_equal(one, other)
    values = json.loads(env.spec.to_json())["kwargs"]
    own = kind in ("own task", "location")
    assert values["task"] == ("toy_game:STEERED" if own else "car-racing")
    assert Path(values["vision"]).is_absolute()


@pytest.mark.parametrize(
    "task", ["car-racing", "car-racing@64x64x1x3", "toy_game:STEERED", GAME, "derived"]
)
@pytest.mark.parametrize("env_id", ["vsg/Dream-v0", "vsg/Latent-v0"])
def test_ids_for_any_task(env_id: str, task: str, make_tiny: Any) -> None:
    given = find_task(GAME) if task == "derived" else task
    tiny = make_tiny(find_task(given))
    env = gym.make(env_id, task=given, **tiny.kwargs)
    assert json.loads(env.spec.to_json())["kwargs"]["task"] == (GAME if given != task else task)
    again = gym.make(through_json(env.spec))
    for one, other in zip(first_steps(env), first_steps(again), strict=True):
        np.testing.assert_array_equal(one, other)
    envs = gym.make_vec(env_id, num_envs=2, task=given, **tiny.kwargs)
    assert envs.observation_space.shape == (2, 24)
    envs.close()


@pytest.mark.parametrize("env_id", ["vsg/Dream-v0", "vsg/Latent-v0"])
def test_the_task_and_the_models_are_required(env_id: str) -> None:
    with pytest.raises(ValueError, match=r"task: expected a Task, the name .* got None"):
        gym.make(env_id, vision="car-racing-vae")
    with pytest.raises(ValueError, match="vision: expected a vision model of the task 'car-racing"):
        gym.make(env_id, task="car-racing")


def test_registered_tasks_have_environments(
    make_tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmrl.envs.tasks.registry._TASKS", {CAR_RACING.name: CAR_RACING})
    task = replace(STEERED, name="my/steered_toy-2", solved_at=3.0)
    register_task(task)
    tiny = make_tiny(task)
    for kind in ("Latent", "Dream"):
        env = gym.make(f"vsg/MySteeredToy2{kind}-v0", **tiny.kwargs)
        assert env.unwrapped.world_model.task == task
        again = gym.make(through_json(env.spec))
        assert json.loads(env.spec.to_json())["kwargs"]["task"] == task.name
        for one, other in zip(first_steps(env), first_steps(again), strict=True):
            np.testing.assert_array_equal(one, other)
    assert gym.spec("vsg/MySteeredToy2Latent-v0").reward_threshold == 3.0
    assert gym.spec("vsg/MySteeredToy2Dream-v0").max_episode_steps == 17  # 50 frames
    with pytest.raises(ValueError, match=r"toy/2', which gives the id 'vsg/MySteeredToy2Lat"):
        register_task(replace(task, name="my-steered-toy/2"))
    with pytest.raises(ValueError, match=r"new environment ids.* the id 'vsg/PlanarArmLatent-v0'"):
        register_task(replace(task, name="planar-arm"))


@pytest.mark.parametrize(
    ("name", "task"), [("CarRacing", "car-racing"), ("TakeCover", "take-cover")]
)
def test_every_task_of_this_package_has_environments(name: str, task: str) -> None:
    found = find_task(task)
    for kind in ("Latent", "Dream"):
        assert gym.spec(f"vsg/{name}{kind}-v0").kwargs["task"] == task
    assert gym.spec(f"vsg/{name}Latent-v0").reward_threshold == found.solved_at
    steps = found.max_frames // found.frame_skip
    assert gym.spec(f"vsg/{name}Dream-v0").max_episode_steps == steps


@pytest.mark.parametrize(
    ("env_id", "given"),
    [
        (ARM, {"num_joints": np.int64(3), "locks": {1: 0.2}, "target": np.array([0.2, 0.3])}),
        (ARM, {"num_joints": 3, "obstacles": ((0.6, 0.0, 0.1),), "target": "random"}),
        (ARM_LATENT, {"encoding": "planar-arm-vqvae", "device": torch.device("cpu")}),
        ("vsg/CarRacing-v3", {"frame_skip": np.int64(2), "domain_randomize": np.bool_(False)}),
    ],
)
def test_other_arguments(env_id: str, given: dict[str, Any]) -> None:
    env = gym.make(env_id, **given)
    assert (
        env.unwrapped.spec.kwargs.items()
        >= {k: v for k, v in given.items() if k != "target"}.items()
    )
    again = gym.make(through_json(env.spec))
    for one, other in zip(first_steps(env), first_steps(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_shipped_models_keep_their_names() -> None:
    env = gym.make(ARM_LATENT, encoding=load_encoding("planar-arm-vae", device="cpu"), device="cpu")
    assert json.loads(env.spec.to_json())["kwargs"]["encoding"] == "planar-arm-vae"
    assert env.spec.kwargs["encoding"] is not None
    assert not isinstance(env.spec.kwargs["encoding"], str)  # without JSON, it stays an object


def test_vector_environments(make_tiny: Any) -> None:
    tiny = make_tiny()
    env = gym.make_vec(
        DREAM,
        num_envs=2,
        vectorization_mode="vector_entry_point",
        vision=load_vision(tiny.vision, device="cpu"),
        memory=tiny.memory,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    again = gym.make_vec(through_json(env.spec))
    assert again.num_envs == 2
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    for one, other in zip(first_steps(env), first_steps(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrappers_are_part_of_the_spec(make_tiny: Any) -> None:
    tiny = make_tiny()
    vision = load_vision(tiny.vision, device="cpu")
    env = gym.make(DREAM, vision=vision, memory=tiny.memory, max_episode_steps=2)
    wrapped = gym.wrappers.TransformReward(gym.wrappers.ClipAction(env), np.negative)
    with pytest.raises(ValueError, match="spec: func: expected a task, a saved model or a value"):
        wrapped.spec.to_json()
    again = gym.make(through_json(gym.wrappers.ClipAction(env).spec))
    assert isinstance(again, gym.wrappers.ClipAction)


def test_what_cannot_be_named_is_a_clear_error(make_tiny: Any, tmp_path: Path) -> None:
    tiny = make_tiny()
    task = replace(CAR_RACING, fps=25.0)  # neither registered nor an attribute
    env = gym.make(DREAM, task=task, **tiny.kwargs)
    with pytest.raises(ValueError, match=r"spec: task: expected a registered task or a task that"):
        env.spec.to_json()
    new = VAE(VAEConfig(base_channels=4, latent_dim=8))
    env = gym.make(LATENT, vision=new, memory=None, device="cpu")
    with pytest.raises(ValueError, match=r"spec: vision: .* got an unsaved VAE; save it with"):
        env.spec.to_json()
    new.save(tmp_path / "vision")
    assert json.loads(env.spec.to_json())["kwargs"]["vision"] == str(tmp_path / "vision")
    VAE(VAEConfig(base_channels=2, latent_dim=8)).save(tmp_path / "vision")
    with pytest.raises(ValueError, match=r"spec: vision: .* that now contains another model"):
        env.spec.to_json()
