"""Adapter of Gymnasium's own CarRacing that renders only observed frames."""

from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_racing import CarRacing


class LazyRendering:
    """Adapter of Gymnasium's ``CarRacing-v3`` that renders only observed frames.

    Gymnasium's ``step`` spends most of its time on rendering, although only the last frame of an
    agent step is observed. Physics, rewards, episode ends and observed frames are identical, bit
    for bit, to those of Gymnasium's ``step``, because rendering only reads the game's state.

    Args:
        env: the environment. Its own methods may still be called between calls of :meth:`advance`
            and :meth:`observe`.
    """

    def __init__(self, env: CarRacing) -> None:
        self._env: Any = env
        self._shown_score = 0.0

    def advance(self, action: Any, frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        """Repeats an action for several frames, or until the episode ends, without rendering.

        Args:
            action: an element of the action space.
            frames: number of frames, at least 1.

        Returns:
            Sum of the rewards, and ``terminated``, ``truncated`` and ``info`` of the last frame.
        """
        total = 0.0
        self._env._render = self._remember
        try:
            for _ in range(frames):
                _, reward, terminated, truncated, info = self._env.step(action)
                total += float(reward)
                if terminated or truncated:
                    break
        finally:
            del self._env._render  # restores the method of the class
        return total, terminated, truncated, info

    def observe(self) -> np.ndarray:
        """Renders the frame ``(96, 96, 3) uint8`` that the last step would have returned."""
        env = self._env
        now, env.reward = env.reward, self._shown_score
        try:
            env.state = env._render("state_pixels")
        finally:
            env.reward = now
        frame: np.ndarray = env.state
        return frame

    def _remember(self, mode: str) -> Any:
        """Records the score instead of rendering the frame.

        Gymnasium renders a frame before it subtracts that frame's 0.1 from the score.
        """
        if mode != "state_pixels":
            return CarRacing._render(self._env, mode)
        self._shown_score = self._env.reward
        return self._env.state
