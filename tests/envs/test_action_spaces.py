"""Every kind of action space through frames, latents, dreams and their vector environments."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import choice_game
import numpy as np
import pytest
import torch
from choice_game import CHOICES, SPACES
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import ArtifactError

KINDS = list(SPACES)
# The spaces are odd on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*symmetric and normalized"),
    pytest.mark.filterwarnings("ignore:Discrete action space"),
]


def sampled(space: spaces.Space[Any], seed: int = 0) -> Any:
    space.seed(seed)
    return space.sample()


@pytest.mark.parametrize("kind", KINDS)
def test_the_space_of_a_task_is_by_default_that_of_the_game(kind: str) -> None:
    task = CHOICES[kind]
    assert task.action_space is None
    assert task.actions.space == SPACES[kind]
    assert FrameEnv(task).action_space == SPACES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_both_checkers_pass_on_frames(kind: str) -> None:
    check_env(FrameEnv(CHOICES[kind]), skip_render_check=True)
    check_env_for_sb3(FrameEnv(CHOICES[kind]), skip_render_check=True)


@pytest.mark.parametrize(
    ("kind", "discrete_latents"),
    [
        *((kind, False) for kind in KINDS),
        *(
            pytest.param(kind, True, marks=() if kind == "discrete" else pytest.mark.slow)
            for kind in KINDS
        ),
    ],
    ids=[f"{kind}-{latents}" for latents in ("gaussian", "codes") for kind in KINDS],
)
def test_latents_and_dreams_have_the_actions_of_the_game(
    kind: str, discrete_latents: bool, make_tiny: Callable[..., Any]
) -> None:
    task, tiny = CHOICES[kind], make_tiny(CHOICES[kind], discrete=discrete_latents)
    for env in (LatentEnv(task=task, **tiny.kwargs), DreamEnv(task=task, **tiny.kwargs)):
        assert env.action_space == SPACES[kind]
        check_env(env, skip_render_check=True)
        check_env_for_sb3(env)
    for vector in (
        LatentVectorEnv(3, task=task, workers=2, **tiny.kwargs),
        DreamVectorEnv(3, task=task, **tiny.kwargs),
    ):
        assert vector.single_action_space == SPACES[kind]
        vector.reset(seed=0)
        observations, rewards, *_ = vector.step(sampled(vector.action_space))
        assert observations in vector.observation_space
        assert np.isfinite(rewards).all()
        vector.close()


@pytest.mark.parametrize("kind", KINDS)
def test_vector_env_equals_single_envs(kind: str) -> None:
    task = CHOICES[kind]
    vector = FrameVectorEnv(3, task=task, workers=2)
    singles = [FrameEnv(task) for _ in range(3)]
    frames, _ = vector.reset(seed=5)
    for slot, env in enumerate(singles):
        np.testing.assert_array_equal(frames[slot], env.reset(seed=5 + slot)[0])
    for t in range(choice_game.HORIZON - 1):
        actions = sampled(vector.action_space, t)
        frames, rewards, *_ = vector.step(actions)
        for slot, env in enumerate(singles):
            frame, reward, *_ = env.step(actions[slot])
            np.testing.assert_array_equal(frames[slot], frame)
            assert rewards[slot] == reward
    vector.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_action_has_the_best_reward(kind: str) -> None:
    env = FrameEnv(CHOICES[kind])
    env.reset(seed=0)
    for _ in range(choice_game.HORIZON):
        best = env.base.unwrapped.target  # type: ignore[attr-defined]
        assert env.step(best)[1] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_memories_see_the_action(kind: str, make_tiny: Callable[..., Any]) -> None:
    task = CHOICES[kind]
    tiny = make_tiny(task)
    env = DreamVectorEnv(2, task=task, **tiny.kwargs)
    other, same = sampled(SPACES[kind], 1), sampled(SPACES[kind], 2)
    assert not np.array_equal(other, same)

    def features(first: Any) -> np.ndarray:
        env.reset(seed=3, options={"start": 0})
        return env.step(np.stack([first, same]))[0][:, 8:]

    before, after = features(same), features(other)
    assert not np.allclose(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


@pytest.mark.parametrize("kind", KINDS)
def test_latent_env_feeds_the_memory_encoded_actions(
    kind: str, make_tiny: Callable[..., Any]
) -> None:
    task = CHOICES[kind]
    tiny = make_tiny(task)
    env = LatentEnv(task=task, **tiny.kwargs)
    env.reset(seed=0)
    memory = env.world_model.memory
    assert memory is not None
    before, action = env.state, sampled(SPACES[kind], 4)
    env.step(action)
    code = torch.from_numpy(task.actions.encode(np.asarray(action)))[None]
    with torch.inference_mode():
        _, expected = memory.step(before.latent, code, before.memory)
    torch.testing.assert_close(env.state.memory, expected)


@pytest.mark.parametrize("make", [FrameEnv, LatentEnv, DreamEnv])
def test_an_action_outside_of_the_space_is_named(
    make: type[Any], make_tiny: Callable[..., Any]
) -> None:
    task = CHOICES["discrete"]
    kwargs = {} if make is FrameEnv else make_tiny(task).kwargs
    env = make(task=task, **kwargs)
    env.reset(seed=0)
    for bad in (1, 5, 2.0, [2], None):
        with pytest.raises(ValueError, match="action: expected"):
            env.step(bad)
    env.step(2)


def test_a_memory_of_another_action_space_is_refused(make_tiny: Callable[..., Any]) -> None:
    tiny = make_tiny(CHOICES["discrete"])
    box = replace(
        CHOICES["discrete"], action_space=spaces.Box(-1, 1, (3,)), to_env_action=np.argmax
    )
    with pytest.raises(ArtifactError, match=r"memory: expected num_options \(\), got \(3,\)"):
        WorldModel.open(box, **{**tiny.kwargs, "device": "cpu"})


def test_a_game_whose_actions_are_not_supported_is_named() -> None:
    task = Task(name="tuple", env_id="Tuple-v0", frame=lambda env, seen: seen)

    class Pair(choice_game.Choice):
        def __init__(self, render_mode: str | None = None) -> None:
            super().__init__(render_mode=render_mode)
            self.action_space = spaces.Tuple([spaces.Discrete(2)])

    import gymnasium as gym

    gym.register("Tuple-v0", entry_point=Pair)
    try:
        with pytest.raises(ValueError, match=r"action space of Tuple-v0: expected a Box .*Tuple"):
            FrameEnv(task)
    finally:
        gym.registry.pop("Tuple-v0")
