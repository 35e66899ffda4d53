from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv

from wmrl.envs.single_env import SingleEnv, select_observation


class _Batch(VectorEnv[Any, Any, Any]):
    """Counts to two; an information of each kind."""

    metadata = {"render_fps": 7}  # noqa: RUF012
    single_observation_space = spaces.Dict({"count": spaces.Discrete(3)})
    single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    num_envs = 1

    def reset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
        self.count, self.given = 0, (seed, options)
        return self._observations(), {}

    def step(self, actions):  # type: ignore[no-untyped-def]
        self.count += 1
        ended = np.array([self.count == 2])
        infos = {"speed": np.array([0.5]), "place": np.array([[1, 2]]), "_speed": np.array([True])}
        return self._observations(), actions.sum(1), ended, np.zeros(1, bool), infos

    def render(self):  # type: ignore[no-untyped-def]
        return (np.full((2, 2, 3), self.count, np.uint8),)

    def _observations(self):  # type: ignore[no-untyped-def]
        return {"count": np.array([self.count])}


class _Single(SingleEnv[dict[str, Any]]):
    metadata = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(_Batch(), render_mode=render_mode, title="test")

    def check_action(self, action: np.ndarray) -> np.ndarray:
        if action.shape != (2,):
            raise ValueError("action: expected shape (2,)")
        return action


def test_it_is_the_only_entry_of_the_batch() -> None:
    env = _Single("rgb_array")
    assert isinstance(env.observation_space, spaces.Dict)
    assert env.action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)
    assert env.metadata["render_fps"] == 7
    assert env.reset(seed=3, options={"a": 1}) == ({"count": 0}, {})
    assert env._batch.given == (3, {"a": 1})  # type: ignore[attr-defined]
    observation, reward, terminated, truncated, info = env.step(np.array([0.5, 0.25]))
    assert (observation, reward, terminated, truncated) == ({"count": 1}, 0.75, False, False)
    assert type(reward) is float
    assert info["speed"] == 0.5
    assert type(info["speed"]) is float
    assert info["place"].tolist() == [1, 2]
    assert set(info) == {"speed", "place"}
    frame = env.render()
    assert frame is not None
    assert frame.max() == 1
    assert _Single().render() is None


def test_steps_outside_of_an_episode_are_refused() -> None:
    env = _Single()
    with pytest.raises(ResetNeeded, match=r"no episode is running; call reset\(\) first"):
        env.step(np.zeros(2))
    env.reset()
    with pytest.raises(ValueError, match="action: expected shape"):
        env.step(np.zeros(3))
    env.step(np.zeros(2))
    assert env.step(np.zeros(2))[2]
    with pytest.raises(ResetNeeded, match="no episode is running"):
        env.step(np.zeros(2))


def test_unknown_render_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="render_mode: expected"):
        _Single("ansi")
    assert isinstance(_Single(), gym.Env)


def test_one_observation_of_a_batch() -> None:
    assert select_observation(np.array([3, 4]), 1) == 4
    assert select_observation({"a": np.array([3, 4]), "b": np.array([5, 6])}, 0) == {"a": 3, "b": 5}
