"""The wrapper of one's own environment equals the latent environment of the same task."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from choice_game import CHOICES, SPACES, Choice
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from toy_game import TOY, Toy

from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.latent.wrapper import LatentObservation
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel

SIZED = replace(TOY, frame_size=(64, 64), max_frames=8)  # in steps of 3


def opened(make_tiny: Any, task: Task, **options: Any) -> WorldModel:
    tiny = make_tiny(task)
    return WorldModel.open(task, tiny.vision, tiny.memory, device="cpu", **options)


def assert_equal_play(env: Any, other: Any, *, steps: int = 12) -> None:
    """Plays both environments alike, through the ends of episodes, and compares all they return."""
    for each in (env, other):
        each.action_space.seed(1)
    over = True
    for step in range(steps):
        if over:
            seen, found = (each.reset(seed=step) for each in (env, other))
        else:
            action = env.action_space.sample()
            np.testing.assert_array_equal(action, other.action_space.sample())
            seen, found = (each.step(action) for each in (env, other))
        np.testing.assert_array_equal(seen[0], found[0])
        assert seen[1:] == found[1:]
        over = len(seen) == 5 and (seen[2] or seen[3])
        np.testing.assert_array_equal(env.frame, other.frame)


def test_it_equals_the_latent_environment(make_tiny: Any) -> None:
    world_model = opened(make_tiny, SIZED)
    env = LatentObservation(Toy(), world_model)
    other = LatentEnv(task=SIZED, vision=world_model.vision, memory=world_model.memory)
    assert (env.observation_space, env.action_space) == (
        other.observation_space,
        other.action_space,
    )
    assert env.metadata["render_fps"] == other.metadata["render_fps"] == 10
    assert_equal_play(env, other)
    env.reset(seed=0)
    frames, over = [], False
    while not over:
        *_, terminated, truncated, info = env.step(np.zeros(2, np.float32))
        frames.append(info["frames"])
        over = terminated or truncated
    assert frames == [3, 6, 8]
    assert truncated
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize("kind", list(SPACES))
def test_every_kind_of_action(make_tiny: Any, kind: str) -> None:
    world_model = opened(make_tiny, CHOICES[kind])
    env = LatentObservation(Choice(kind), world_model)
    other = LatentEnv(task=CHOICES[kind], vision=world_model.vision, memory=world_model.memory)
    assert_equal_play(env, other, steps=16)


def test_limits_of_the_environment_stay(make_tiny: Any) -> None:
    env = LatentObservation(gym.make("Toy-v0", max_episode_steps=4), opened(make_tiny, SIZED))
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    _, _, _, truncated, _ = env.step(np.zeros(2, np.float32))
    assert truncated


def test_games_that_skip_frames_themselves(make_tiny: Any) -> None:
    world_model = opened(make_tiny, SIZED)
    env = LatentObservation(gym.wrappers.MaxAndSkipObservation(Toy(), 3), world_model, frame_skip=1)
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[3] for _ in range(3)]
    assert ends == [False, False, True]  # 9 frames of the game
    with pytest.raises(ValueError, match="frame_skip: expected at least 1, got 0"):
        LatentObservation(Toy(), world_model, frame_skip=0)


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version:UserWarning")
def test_both_checkers_pass(make_tiny: Any) -> None:
    tiny = make_tiny()
    world_model = WorldModel.open("car-racing", tiny.vision, tiny.memory, device="cpu")
    env = LatentObservation(gym.make("vsg/CarRacing-v3", render_mode="rgb_array"), world_model)
    check_env(env)
    check_env_for_sb3(env, skip_render_check=False)
    assert env.render().ndim == 3
    assert env.state.latent.shape == (1, 8)


def test_codes(make_tiny: Any) -> None:
    tiny = make_tiny(discrete=True)
    world_model = WorldModel.open(CAR_RACING, tiny.vision, tiny.memory, device="cpu")
    env = LatentObservation(gym.make("vsg/CarRacing-v3"), world_model, observation="codes")
    assert env.reset(seed=0)[0] in env.observation_space


def test_its_spec_makes_it_again_with_the_same_models(make_tiny: Any) -> None:
    world_model = opened(make_tiny, SIZED)
    env = LatentObservation(gym.make("Toy-v0"), world_model)
    again = gym.make(gym.wrappers.ClipAction(env).spec)
    assert again.env.world_model is world_model
    with pytest.raises(ValueError, match="spec: world_model: expected a task, a saved model or"):
        env.spec.to_json()
    assert LatentObservation(Toy(), world_model).spec is None


def test_a_game_of_another_task_is_refused(make_tiny: Any) -> None:
    world_model = opened(make_tiny, CHOICES["discrete"])
    with pytest.raises(ValueError, match=r"env: expected the action space Discrete\(3, start=2\)"):
        LatentObservation(Choice("multi_binary"), world_model)
