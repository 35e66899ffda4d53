"""Adapter that makes Gymnasium's own CarRacing render only the frames that are observed."""

from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_racing import CarRacing


class LazyRendering:
    """Adapter that makes Gymnasium's ``CarRacing-v3`` render only the frames that are observed.

    Gymnasium's ``step`` always renders a frame, which takes most of its time. With a frame skip,
    only the last frame of each agent step is observed, so this adapter renders no others.
    Rendering only reads the game's state. Physics, rewards, episode ends and observed frames are
    therefore bit-identical to those of Gymnasium's ``step``.

    Args:
        env: environment without wrappers. The methods of ``env``, for example ``reset``, may still
            be called directly.
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
        """Renders the last frame ``(96, 96, 3) uint8`` of the last call of :meth:`advance`."""
        env = self._env
        now, env.reward = env.reward, self._shown_score
        try:
            env.state = env._render("state_pixels")
        finally:
            env.reward = now
        frame: np.ndarray = env.state
        return frame

    def _remember(self, mode: str) -> Any:
        """Replaces ``CarRacing._render`` during steps.

        In the mode ``"state_pixels"``, this method renders nothing, but records the score that
        :meth:`observe` will show. The score does not include the -0.1 of the current frame, because
        Gymnasium renders an observation before it subtracts 0.1 from the score. All other modes are
        rendered by Gymnasium.
        """
        if mode != "state_pixels":
            return CarRacing._render(self._env, mode)
        self._shown_score = self._env.reward
        return self._env.state
