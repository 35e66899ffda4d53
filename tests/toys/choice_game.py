"""A tiny game of following a signal, with a known optimum in each kind of action space."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmrl.core.action_spec import ActionSpec
from wmrl.envs.tasks.task import Task

SPACES: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(np.float32([-1, 0]), np.float32([1, 2])),
    "discrete": spaces.Discrete(3, start=2),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
}
HORIZON = 12


def reward_of(spec: ActionSpec, action: np.ndarray, target: np.ndarray) -> float:
    """Returns 1 for the target action, and less for others."""
    if spec.is_continuous:
        return float(1.0 - np.abs(action - target).mean())
    return float(np.mean(np.asarray(action) == target))


class Choice(gym.Env[np.ndarray, Any]):
    """A game that shows which action pays: a column of gray for each number of its encoding."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = spaces.Box(0, 255, (12, 12, 3), np.uint8)

    def __init__(self, kind: str = "discrete", render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.action_space = SPACES[kind]
        self.spec_of_actions = ActionSpec.of(self.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self._show(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        reward = reward_of(self.spec_of_actions, action, self.target)
        self.time += 1
        return self._show(), reward, self.time >= HORIZON, False, {}

    def render(self) -> np.ndarray:
        return self.frame

    def _show(self) -> np.ndarray:
        self.target = self.spec_of_actions.sample(self.np_random)
        columns = 60 + 90 * self.spec_of_actions.encode(self.target)
        self.frame = np.zeros((12, 12, 3), np.uint8)
        self.frame[:, : len(columns)] = columns[:, None]
        return self.frame


gym.register("Choice-v0", entry_point=Choice)

CHOICES = {
    kind: Task(
        name=f"choice-{kind}",
        env_id="choice_game:Choice-v0",
        env_kwargs={"kind": kind},
        frame_size=(64, 64),
        frame_skip=1,
        max_frames=50,
    )
    for kind in SPACES
}
DISCRETE = CHOICES["discrete"]


class SignalVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """The same game, whose observation is the encoding of the action that pays."""

    def __init__(self, kind: str, num_envs: int = 8) -> None:
        self.num_envs = num_envs
        self.render_mode = None
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.spec_of_actions = ActionSpec.of(SPACES[kind])
        self.single_action_space = SPACES[kind]
        self.single_observation_space = spaces.Box(-2, 2, (self.spec_of_actions.dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.streams = [np.random.default_rng(slot) for slot in range(num_envs)]
        self.time = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None:
            self.streams = [np.random.default_rng(seed + slot) for slot in range(self.num_envs)]
        self.time = 0
        return self._show(), {}

    def step(self, actions: np.ndarray) -> Any:
        assert actions in self.action_space
        pairs = zip(actions, self.targets, strict=True)
        rewards = np.array([reward_of(self.spec_of_actions, a, b) for a, b in pairs])
        self.time += 1
        over = np.full(self.num_envs, self.time == HORIZON)
        seen, info = self._show(), {}
        if over.all():
            self.time = 0
            final = np.empty(self.num_envs, dtype=object)
            final[:] = list(seen.copy())
            info = {"final_obs": final, "_final_obs": over, "final_info": {}}
            seen = self._show()
        return seen, rewards, over, np.zeros_like(over), info

    def _show(self) -> np.ndarray:
        self.targets = np.stack([self.spec_of_actions.sample(stream) for stream in self.streams])
        return self.spec_of_actions.encode(self.targets)
