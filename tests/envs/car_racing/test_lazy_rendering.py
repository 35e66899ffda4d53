"""Gymnasium's own CarRacing, of which only observed frames are drawn."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.box2d.car_racing import FPS, PLAYFIELD

from wmrl.envs.car_racing.env import CarRacing
from wmrl.envs.car_racing.lazy_rendering import LazyRendering
from wmrl.envs.frames.env import FrameEnv

FULL_GAS, AWAY = np.array([0.0, 1.0, 0.0], np.float32), np.array([0.1, 0.6, 0.0], np.float32)


def plain(env: Any, action: np.ndarray, frames: int) -> tuple[Any, float, bool, bool, Any]:
    """The oracle: every frame drawn."""
    total = 0.0
    for _ in range(frames):
        frame, reward, terminated, truncated, info = env.step(action)
        total += float(reward)
        if terminated or truncated:
            break
    return frame, total, terminated, truncated, info


def throw_out(env: Any) -> None:
    """Puts the car near the field's edge, and so fast that it is over it within an agent step."""
    x, y = env.car.hull.position
    for body in (env.car.hull, *env.car.wheels):
        body.position = (body.position[0] - x + PLAYFIELD - 1.5, body.position[1] - y)
        body.linearVelocity = (50.0, 0.0)


@pytest.mark.parametrize("render_mode", [pytest.param(None, marks=pytest.mark.slow), "rgb_array"])
def test_it_is_plain_stepping_to_the_bit(render_mode: str | None) -> None:
    """Also where an episode ends within an agent step."""
    games: list[Any] = [
        gym.make("CarRacing-v3", render_mode=render_mode).unwrapped for _ in range(2)
    ]
    fast, slow = games
    stepper = LazyRendering(fast)
    generator = np.random.default_rng(0)
    for seed, frames in ((3, 4), (4, 7)):
        for env in games:
            env.reset(seed=seed)
        for agent_step in range(30):
            noise = generator.uniform(-0.3, 0.3, 3)
            action = np.clip(AWAY + noise, [-1, 0, 0], 1).astype(np.float32)
            if agent_step == 12:
                for env in games:
                    throw_out(env)
            began = slow.t
            found = stepper.advance(action, frames)
            frame, *expected = plain(slow, action, frames)
            np.testing.assert_array_equal(stepper.observe(), frame)
            assert list(found) == expected
            assert fast.t == slow.t
            if render_mode:
                np.testing.assert_array_equal(fast.render(), slow.render())
            if expected[1]:
                break
        assert expected[1]
        assert agent_step == 12
        assert 1 < round((slow.t - began) * FPS) < frames
    for env in games:
        env.close()


def test_the_game_draws_as_usual_in_between() -> None:
    env: Any = gym.make("CarRacing-v3").unwrapped
    stepper = LazyRendering(env)
    env.reset(seed=1)
    stepper.advance(FULL_GAS, 5)
    before = env.state
    after = env.step(FULL_GAS)[0]
    assert (after != before).any()
    assert "_render" not in vars(env)
    env.close()


def test_an_error_leaves_the_game_as_it_was() -> None:
    env: Any = gym.make("CarRacing-v3").unwrapped
    env.reset(seed=1)
    with pytest.raises(IndexError):
        LazyRendering(env).advance(np.zeros(1, np.float32), 2)
    assert "_render" not in vars(env)
    env.close()


@pytest.mark.parametrize(("base", "lazy"), [("CarRacing-v3", True), ("vsg/CarRacing-v3", False)])
def test_frame_env_uses_it_for_gymnasium_s_own(base: str, lazy: bool) -> None:
    env = FrameEnv("car-racing", base=base)
    assert isinstance(env._advancing, LazyRendering) == lazy
    assert isinstance(env.base.unwrapped, CarRacing) != lazy
    env.close()
