"""Task descriptions: all that is particular to a game, in one place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
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


def drive(action: np.ndarray) -> np.ndarray:
    """CarRacing's steer, gas and brake from steer and pedal in [−1, 1]² (pedal: + gas, − brake)."""
    steer, pedal = np.clip(action, -1.0, 1.0)
    return np.array([steer, max(pedal, 0.0), max(-pedal, 0.0)], dtype=np.float32)


CAR_RACING = Task(
    name="car-racing",
    env_id="vsg/CarRacing-v3",
    action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
    to_env_action=drive,
    crop_rows=(0, 84),
    frame_skip=4,
    warmup_frames=50,
    max_frames=1000,
    patience=100,
    explore_low=(0.0, -0.05),
    explore_high=(0.0, 0.5),
    solved_at=900.0,
    action_names=("steer", "pedal"),
    completed_key="lap_finished",
)

_TASKS = {CAR_RACING.name: CAR_RACING}


def register_task(task: Task) -> None:
    """Makes a task known by its name, so that agents and stores that name it can be opened.

    Raises:
        ValueError: another task has that name.
    """
    if _TASKS.setdefault(task.name, task) != task:
        raise ValueError(f"task: another one is called {task.name!r}; choose another name")


def registered_task(name: str) -> Task:
    """A registered task. Names that come from files are looked up here: nothing is imported.

    Raises:
        ValueError: there is no such task.
    """
    if name not in _TASKS:
        raise ValueError(
            f"task: expected one of {sorted(_TASKS)}, got {name!r}; if it is yours, call "
            "wmrl.envs.register_task first, or give the command its --task module:ATTRIBUTE"
        )
    return _TASKS[name]


def find_task(task: Task | str) -> Task:
    """A task by itself, by name, or by ``"module:ATTRIBUTE"``, which imports that module.

    Raises:
        ValueError: there is no such task.
    """
    if isinstance(task, Task):
        return task
    if task in _TASKS:
        return _TASKS[task]
    module, _, attribute = task.partition(":")
    if attribute:
        found = getattr(import_module(module), attribute, None)
        if isinstance(found, Task):
            return found
    raise ValueError(
        f"task: expected one of {sorted(_TASKS)}, or 'module:ATTRIBUTE' of a Task, got {task!r}"
    )
