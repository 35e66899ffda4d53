"""A toy game with a known optimum, batched, for learners and adapters."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv


class MatchVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Say what you see: reward 1 − |a − o|², where o is drawn anew each step.

    An episode is truncated after ``horizon`` steps, so the best return is ``horizon``. Where
    ``o[0] > deadly`` the next step also terminates. Every slot has a stream of its own.
    """

    def __init__(
        self,
        num_envs: int = 8,
        *,
        horizon: int = 10,
        deadly: float = 2.0,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        self.num_envs = num_envs
        self.render_mode = None
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.single_observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gym.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)
        self.horizon, self.deadly = horizon, deadly
        self.streams = [np.random.default_rng(slot) for slot in range(num_envs)]
        self.time = np.zeros(num_envs, np.int64)
        self.seen = np.zeros((num_envs, 2), np.float32)
        self.idle = np.ones(num_envs, np.bool_)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + slot for slot in range(self.num_envs)]
        for slot in np.flatnonzero(mask):
            if seed[slot] is not None:
                self.streams[slot] = np.random.default_rng(seed[slot])
            self._look(slot)
        self.time[mask] = 0
        self.idle[mask] = False
        return self.seen, {}

    def step(self, actions: np.ndarray) -> Any:
        assert actions.shape == (self.num_envs, 2)
        assert np.abs(actions).max() <= 1
        rewards = 1.0 - ((actions - self.seen) ** 2).sum(1)
        rewards[self.idle] = 0.0
        terminated = (self.seen[:, 0] > self.deadly) & ~self.idle
        self.time += 1
        for slot in range(self.num_envs):
            self._look(slot)
        truncated = (self.time >= self.horizon) & ~self.idle
        ended = terminated | truncated
        info: dict[str, Any] = {}
        if self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for slot in np.flatnonzero(ended):
                final[slot] = self.seen[slot].copy()
            info = {
                "final_obs": final,
                "_final_obs": ended,
                "final_info": {"time": self.time.copy(), "_time": ended},
            }
            self.reset(options={"reset_mask": ended})
        else:
            self.idle = self.idle | ended
        return self.seen, rewards, terminated, truncated, info

    def _look(self, slot: int) -> None:
        self.seen[slot] = self.streams[slot].uniform(-1.0, 1.0, 2)


@pytest.fixture
def match_env() -> type[MatchVectorEnv]:
    """The class of the toy game."""
    return MatchVectorEnv
