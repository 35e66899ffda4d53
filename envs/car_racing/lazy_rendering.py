"""Gymnasium's own CarRacing, drawn only where somebody looks."""

from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_racing import CarRacing


class SparseDrawing:
    """Steps Gymnasium's ``CarRacing-v3`` and draws no frame but the one that is looked at.

    It draws in every ``step``, which is nearly all that a step costs, and a decision of several
    frames shows one of them. Physics, rewards, endings and the frames that are looked at are those
    of plain stepping, bit for bit: drawing reads the game's state and changes none of it.

    Args:
        env: the game, between whose calls of :meth:`advance` and :meth:`observe` its own methods
            may be called as usual.
    """

    def __init__(self, env: CarRacing) -> None:
        self._env: Any = env
        self._shown_score = 0.0

    def advance(self, action: Any, frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        """Repeats an action for some frames or until the episode ends.

        Args:
            action: an element of the action space.
            frames: how many frames, at least 1.

        Returns:
            The sum of rewards, and terminated, truncated and info of the last frame.
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
            del self._env._render  # the class's own again
        return total, terminated, truncated, info

    def observe(self) -> np.ndarray:
        """The frame ``(96, 96, 3) uint8`` that the last step would have returned."""
        env = self._env
        now, env.reward = env.reward, self._shown_score
        try:
            env.state = env._render("state_pixels")
        finally:
            env.reward = now
        frame: np.ndarray = env.state
        return frame

    def _remember(self, mode: str) -> Any:
        """In place of the game's drawing, which comes before a frame's 0.1 is taken off."""
        if mode != "state_pixels":
            return CarRacing._render(self._env, mode)
        self._shown_score = self._env.reward
        return self._env.state
