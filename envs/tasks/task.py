"""Task descriptions: all that is particular to a game, in one place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from gymnasium import spaces


def observation_frame(env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
    """The frame of a game whose observation is a picture ``(H, W, 3) uint8``."""
    frame: np.ndarray = observation
    return frame


def rendered_frame(env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
    """The frame of a game that shows itself by ``render()`` (with ``render_mode="rgb_array"``)."""
    frame: np.ndarray = env.render()  # type: ignore[assignment]
    return frame


@dataclass(frozen=True, kw_only=True)
class Task:
    """A game, as the whole pipeline needs to know it.

    Functions are module-level ones, since a task travels to worker processes.

    Attributes:
        name: how artifacts, commands and seeds refer to it.
        env_id: the base environment's id.
        env_kwargs: keyword arguments for it.
        action_space: what a controller puts out, ``Box(A,) float32``.
        to_env_action: turns that ``(A,) float32`` into an action of the base environment.
        frame: from ``(env, observation)`` to the raw frame ``(H, W, 3) uint8``.
        crop_rows: rows of the raw frame to keep, ``(start, stop)``; all if None.
        frame_size: height and width that the crop is resized to.
        frame_skip: base frames that a decision lasts.
        warmup_frames: base frames at an episode's start in which no dream may start.
        max_frames: base frames after which an episode is truncated.
        fps: base frames a second at the game's own speed, for videos and windows.
        patience: while collecting, base frames without a positive reward after which an episode
            is cut short; None to never do so.
        explore_low, explore_high: bounds ``(A,)`` of an episode's mean action under the smoothed
            random policy; zeros if empty.
        completed_key: key of the base environment's info that is true where an episode ended
            because its goal was reached; learners don't take that for a death.
        solved_at: mean return at which the task counts as solved, if there is such a number.
        action_names: what the controller's numbers are, as films write it; none if empty.
    """

    name: str
    env_id: str
    action_space: spaces.Box
    to_env_action: Callable[[np.ndarray], Any]
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    frame: Callable[[gym.Env[Any, Any], Any], np.ndarray] = observation_frame
    crop_rows: tuple[int, int] | None = None
    frame_size: tuple[int, int] = (64, 64)
    frame_skip: int = 1
    warmup_frames: int = 0
    max_frames: int = 1000
    fps: float = 50.0
    patience: int | None = None
    explore_low: tuple[float, ...] = ()
    explore_high: tuple[float, ...] = ()
    solved_at: float | None = None
    completed_key: str | None = None
    action_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.action_space, spaces.Box) or len(self.action_space.shape) != 1:
            raise ValueError(f"action_space: expected a Box of one axis, got {self.action_space}")
        for name in ("frame_skip", "max_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("explore_low", "explore_high", "action_names"):
            if len(getattr(self, name)) not in (0, self.action_size):
                raise ValueError(
                    f"{name}: expected {self.action_size} items, got {getattr(self, name)}"
                )

    @property
    def action_size(self) -> int:
        """A, the number of action dimensions."""
        return int(self.action_space.shape[0])

    def observe(self, env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
        """The frame that vision sees: cropped and resized, ``(*frame_size, 3) uint8``."""
        frame = self.frame(env, observation)
        if self.crop_rows is not None:
            frame = frame[slice(*self.crop_rows)]
        height, width = self.frame_size
        if frame.shape[:2] != (height, width):
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        return frame


def completed_slots(info: Mapping[str, Any], key: str | None, num_envs: int) -> np.ndarray:
    """Which slots have reached their goal, ``(N,) bool``.

    Args:
        info: of a vector environment's step, or its ``final_info``.
        key: the task's ``completed_key``.
        num_envs: N.
    """
    if key is None or key not in info:
        return np.zeros(num_envs, np.bool_)
    reached: np.ndarray = np.asarray(info[key], np.bool_) & info[f"_{key}"]
    return reached
