"""Description of a game, and functions that return its frames."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from gymnasium import spaces

from wmrl.core.action_spec import ActionSpec
from wmrl.core.validation import check_float, check_frame, check_int, check_lengths, check_name


def observation_frame(env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
    """Returns the observation unchanged, for games whose observations are images."""
    frame: np.ndarray = observation
    return frame


def rendered_frame(env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
    """Returns the image ``env.render()``; ``env`` needs ``render_mode="rgb_array"``."""
    frame: np.ndarray = env.render()  # type: ignore[assignment]
    return frame


@dataclass(frozen=True, kw_only=True)
class Task:
    """Description of a game, with all settings that environments and training need.

    The game itself is the base environment, a registered Gymnasium environment. Its frames are
    called base frames. Tasks are sent to worker processes, so cloudpickle must be able to pickle
    them.

    Attributes:
        name: name by which artifacts and commands refer to the task.
        env_id: id of the base environment.
        action_space: space of the agent's actions: a ``Box`` of real numbers with one axis, a
            ``Discrete``, or a ``MultiDiscrete`` or ``MultiBinary`` with one axis. If None, the
            action space of the base environment, which is created once to look it up.
        to_env_action: function that converts an agent's action to an action of the base
            environment; None if both are the same.
        env_kwargs: keyword arguments of the base environment.
        frame: function ``(env, observation) -> frame`` that returns the raw frame ``(H, W, 3)
            uint8``. For most games, use :func:`observation_frame` or :func:`rendered_frame`.
        crop_rows: rows ``(start, stop)`` of the raw frame to keep; all rows if None.
        frame_size: height and width to which frames are resized after the crop.
        frame_skip: number of base frames per agent step.
        warmup_frames: length of the warm-up at the start of each episode, in base frames. Dreams
            start from states after the warm-up. If no recorded episode is longer than the warm-up,
            they start from any recorded state.
        max_frames: number of base frames after which an episode is truncated.
        fps: base frames per second at the game's own speed, for videos and windows.
        patience: data collection truncates an episode after this number of successive base frames
            without a positive reward; no such limit if None.
        explore_low: lower bounds ``(A,)`` of the mean action in a random exploration episode, for
            continuous actions. For each episode, a mean action is drawn uniformly between the
            bounds, and autoregressive noise is added to it in each step. If empty, all lower bounds
            are 0.
        explore_high: upper bounds ``(A,)`` of the mean action. If empty, all upper bounds are 0.
        solved_at: mean return from which the task counts as solved; None if undefined.
        completed_key: key in the base environment's info. Its value is True if an episode ended
            because the goal was reached. Learners do not treat such an end as a failure. None if
            the base environment has no such key.
        action_names: names of the dimensions of an encoded action (see
            :class:`~wmrl.core.action_spec.ActionSpec`), shown in videos: of a continuous action's
            numbers, or of the options of a discrete one. None if empty.

    Raises:
        ValueError: a name is empty, an action space of this kind is not supported, a number is out
            of range, or a sequence does not have one finite number per action dimension.

    Example:
        >>> import numpy as np
        >>> from gymnasium import spaces
        >>> from wmrl.envs import Task, rendered_frame
        >>> task = Task(
        ...     name="mountain-car",
        ...     env_id="MountainCarContinuous-v0",
        ...     env_kwargs={"render_mode": "rgb_array"},
        ...     action_space=spaces.Box(-1.0, 1.0, (1,), np.float32),
        ...     to_env_action=np.copy,
        ...     frame=rendered_frame,
        ...     frame_skip=2,
        ... )
        >>> task.action_dim
        1
    """

    name: str
    env_id: str
    action_space: spaces.Space[Any] | None = None
    to_env_action: Callable[[np.ndarray], Any] | None = None
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
        if self.action_space is not None:
            ActionSpec.of(self.action_space)
        check_name("name", self.name)
        check_name("env_id", self.env_id)
        check_int("frame_skip", self.frame_skip, at_least=1)
        check_int("max_frames", self.max_frames, at_least=1)
        check_int("warmup_frames", self.warmup_frames, at_least=0)
        check_float("fps", self.fps, above=0)
        if self.patience is not None:
            check_int("patience", self.patience, at_least=1)
        if self.solved_at is not None:
            check_float("solved_at", self.solved_at)
        if len(check_lengths("frame_size", self.frame_size)) != 2:
            raise ValueError(f"frame_size: expected (height, width), got {self.frame_size}")
        self._check_crop()
        for name in ("explore_low", "explore_high", "action_names"):
            if getattr(self, name) and len(getattr(self, name)) != self.action_dim:
                raise ValueError(
                    f"{name}: expected {self.action_dim} items (one per action dimension) or an "
                    f"empty tuple, got {getattr(self, name)}"
                )
        for name in ("explore_low", "explore_high"):
            for number in getattr(self, name):
                check_float(name, number)
        none = (0.0,) * max(len(self.explore_low), len(self.explore_high))
        for low, high in zip(self.explore_low or none, self.explore_high or none, strict=True):
            if low > high:
                raise ValueError(
                    f"explore_low: expected at most explore_high = {self.explore_high}, got "
                    f"{self.explore_low}"
                )

    def _check_crop(self) -> None:
        if self.crop_rows is None:
            return
        start, stop = self.crop_rows
        check_int("crop_rows", start, at_least=0)
        check_int("crop_rows", stop, at_least=start + 1)

    @cached_property
    def actions(self) -> ActionSpec:
        """Description of the agent's actions.

        Raises:
            ValueError: the task has no ``action_space`` of its own, and that of the base
                environment is not supported.
        """
        if self.action_space is not None:
            return ActionSpec.of(self.action_space)
        env = gym.make(self.env_id, disable_env_checker=True, **self.env_kwargs)
        try:
            return ActionSpec.of(env.action_space, name=f"action space of {self.env_id}")
        finally:
            env.close()

    @property
    def action_dim(self) -> int:
        """Number A of dimensions of an encoded action."""
        return self.actions.dim

    def observe(self, env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
        """Returns the cropped and resized frame, which is the input of vision models.

        Args:
            env: the base environment.
            observation: the last observation of ``env``.

        Returns:
            ``(*frame_size, 3) uint8``.

        Raises:
            ValueError: the raw frame is not ``(H, W, 3) uint8``, or ``crop_rows`` ends after the
                last row of the raw frame.
        """
        frame = check_frame("frame", self.frame(env, observation))
        if self.crop_rows is not None:
            if self.crop_rows[1] > len(frame):
                raise ValueError(
                    f"crop_rows: expected a range within the {len(frame)} rows of the raw frame, "
                    f"got {self.crop_rows}; change crop_rows of the task"
                )
            frame = frame[slice(*self.crop_rows)]
        height, width = self.frame_size
        if frame.shape[:2] != (height, width):
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        return frame


def completed_slots(info: Mapping[str, Any], key: str | None, num_envs: int) -> np.ndarray:
    """Returns a mask ``(N,) bool`` that is True for environments whose goal was reached.

    Args:
        info: infos that ``step`` of a vector environment returned, or their ``"final_info"``.
        key: the task's ``completed_key``, which may be None.
        num_envs: number N of environments.
    """
    if key is None or key not in info:
        return np.zeros(num_envs, np.bool_)
    reached: np.ndarray = np.asarray(info[key], np.bool_) & info[f"_{key}"]
    return reached
