"""A tiny game that tests play, also in worker processes."""

import os
import signal
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from wmrl.envs.tasks.task import ObservationKey, Task


class Toy(gym.Env[np.ndarray, np.ndarray]):
    """A dot on a line that drifts; reward for moving right; over when it leaves.

    The first action number moves the dot. The second does nothing inside the action space; beyond
    0.9 it makes the game fail, and beyond −0.9 it kills the game's process.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012
    action_space = spaces.Box(np.float32([-1, -0.5]), np.float32([1, 0.5]))
    observation_space = spaces.Box(0, 255, (12, 10, 3), np.uint8)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.draws = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        print("toy: a new game")  # games print; nothing may mistake that for an answer
        self.x = float(self.np_random.uniform(-0.3, 0.3))
        self.start = (options or {}).get("start", 0.0)
        self.x += self.start
        return self.observe(), {"x": self.x}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward, terminated, info = self._move(action)
        return self.observe(), reward, terminated, False, info

    def observe(self) -> np.ndarray:
        self.draws += 1
        frame = np.zeros((12, 10, 3), np.uint8)
        frame[:, :, 0] = np.arange(10) * 20
        frame[6, int(np.clip((self.x + 1) * 5, 0, 9)), 1] = 255
        frame[:, :, 2] = int(abs(self.x) * 1000) % 256
        return frame

    def render(self) -> np.ndarray:
        return np.repeat(np.repeat(self.observe(), 2, axis=0), 2, axis=1)

    def _move(self, action: np.ndarray) -> tuple[float, bool, dict[str, Any]]:
        if action[1] > 0.9:
            raise ValueError("the toy broke")
        if action[1] < -0.9:
            os.kill(os.getpid(), signal.SIGKILL)
        step = 0.1 * float(action[0]) + float(self.np_random.normal(0, 0.02))
        self.x += step
        return step, abs(self.x) > 1, {"x": self.x}


class FastToy(Toy):
    """The same game, which can pass over frames without drawing them."""

    def advance(
        self, action: np.ndarray, frames: int = 1
    ) -> tuple[float, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(frames):
            reward, terminated, info = self._move(action)
            total += reward
            if terminated:
                break
        return total, terminated, False, info


def same(action: np.ndarray) -> np.ndarray:
    return action


def break_at_once(action: np.ndarray) -> np.ndarray:
    return np.array([0.0, 1.0], np.float32)


# The registered limit is there to be overruled by the task's.
gym.register("Toy-v0", entry_point=Toy, max_episode_steps=2)
gym.register("FastToy-v0", entry_point=FastToy, max_episode_steps=2)

TOY = Task(
    name="toy",
    env_id="toy_game:Toy-v0",
    action_space=Toy.action_space,
    to_env_action=same,
    frame_size=(16, 16),
    frame_skip=3,
    max_frames=50,
    patience=30,
    explore_low=(0.0, 0.0),
    explore_high=(0.5, 0.0),
)

# The same with numbers that have names, and frames of the size that tiny vision models take.
STEERED = replace(TOY, name="steered-toy", frame_size=(64, 64), action_names=("steer", "pedal"))


class ScreenToy(Toy):
    """The same game, with its image in a dictionary, which is black when the game has ended."""

    observation_space = spaces.Dict(
        {"screen": Toy.observation_space, "x": spaces.Box(-9.0, 9.0, (1,), np.float64)}
    )

    def observe(self) -> Any:
        image = super().observe() if abs(self.x) <= 1 else np.zeros((12, 10, 3), np.uint8)
        return {"screen": image, "x": np.array([self.x])}

    def render(self) -> np.ndarray:
        return np.repeat(np.repeat(self.observe()["screen"], 2, axis=0), 2, axis=1)


class UnseenToy(ScreenToy):
    """The same game, which renders nothing."""

    def render(self) -> Any:
        return None


gym.register("ScreenToy-v0", entry_point=ScreenToy, max_episode_steps=2)
gym.register("UnseenToy-v0", entry_point=UnseenToy, max_episode_steps=2)

SCREEN = replace(
    TOY, name="screen-toy", env_id="toy_game:ScreenToy-v0", frame=ObservationKey("screen")
)
