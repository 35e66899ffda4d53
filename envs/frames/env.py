"""A task's base environment as decisions and frames, before any eye looks at it."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.box2d.car_racing import CarRacing
from gymnasium.error import ResetNeeded
from gymnasium.wrappers import OrderEnforcing

from wmrl.envs.car_racing.lazy_rendering import SparseDrawing
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task


class FrameEnv(gym.Env[np.ndarray, np.ndarray]):
    """The base environment of a :class:`~wmrl.envs.tasks.task.Task`, one step per decision.

    ## Action Space
    The task's ``action_space``, ``Box(A,) float32``; the task turns it into a base action, which
    is held for ``frame_skip`` base frames.

    ## Observation Space
    ``Box(0, 255, (H, W, 3), uint8)``: the task's cropped and resized frame.

    ## Rewards
    The base's rewards, summed over the frames of the decision.

    ## Episode End
    Terminated when the base is. Truncated when the base is, after ``max_frames`` base frames
    (a last decision may be shorter for that), and after ``patience`` base frames without a
    positive reward. The base's registered time limit has no say.

    ``info["frames"]`` counts the base frames since the reset; those of a decision in whose midst
    the episode terminates count in full.

    A base that offers ``advance(action, frames) -> (reward, terminated, truncated, info)`` and
    ``observe() -> frame`` is drawn only once a decision, and so is Gymnasium's own CarRacing (see
    :class:`~wmrl.envs.car_racing.lazy_rendering.SparseDrawing`).

    Args:
        task: a task, its name, or ``"module:ATTRIBUTE"``.
        base: id of another base environment than the task's.
        frame_skip: base frames that a decision lasts; the task's if None.
        max_frames: base frames of an episode; the task's if None.
        patience: base frames without a positive reward after which an episode is truncated;
            None to never do so.
        render_mode: what ``render()`` shows, as the base has it.

    Raises:
        ValueError: there is no such task, a number is below 1, or the task takes its frames from
            another render mode than the one asked for.
    """

    def __init__(
        self,
        task: Task | str = "car-racing",
        *,
        base: str | None = None,
        frame_skip: int | None = None,
        max_frames: int | None = None,
        patience: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.task = find_task(task)
        self.frame_skip = self.task.frame_skip if frame_skip is None else frame_skip
        self.max_frames = self.task.max_frames if max_frames is None else max_frames
        self.patience = patience
        for name in ("frame_skip", "max_frames", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.render_mode = render_mode
        self.base = self._make_base(base or self.task.env_id)
        self.action_space = self.task.action_space
        self.observation_space = frame_space(self.task)
        fps = self.base.metadata.get("render_fps") or 30
        self.metadata = {**self.base.metadata, "render_fps": fps / self.frame_skip}
        # A wrapper that does something of its own must see every frame, and so must a window.
        inner = self.base.env if isinstance(self.base, OrderEnforcing) else self.base
        self._advancing: Any = None
        if inner is self.base.unwrapped and render_mode != "human":
            if type(inner) is CarRacing:
                self._advancing = SparseDrawing(inner)
            elif hasattr(inner, "advance") and hasattr(inner, "observe"):
                self._advancing = inner
        self._frames = 0
        self._last_gain = 0
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; ``seed`` and ``options`` go to the base."""
        super().reset(seed=seed)
        observation, info = self.base.reset(seed=seed, options=options)
        self._frames = self._last_gain = 0
        self._running = True
        return self.task.observe(self.base, observation), {**info, "frames": 0}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Holds ``action``, ``(A,) float32``, for a decision.

        Raises:
            ResetNeeded: no episode is running.
            ValueError: ``action`` has another shape.
        """
        if not self._running:
            raise ResetNeeded("step: no episode is running; call reset() first")
        action = np.asarray(action, dtype=np.float32)
        if action.shape != self.action_space.shape:
            raise ValueError(
                f"action: expected shape {self.action_space.shape}, got {action.shape}"
            )
        count = min(self.frame_skip, self.max_frames - self._frames)
        advance = self._step_frames if self._advancing is None else self._advance
        observation, reward, terminated, truncated, info = advance(
            self.task.to_env_action(action), count
        )
        self._frames += count
        truncated = not terminated and (truncated or self._out_of_time(reward))
        self._running = not (terminated or truncated)
        frame = self.task.observe(self.base, observation)
        return frame, reward, terminated, truncated, {**info, "frames": self._frames}

    def render(self) -> Any:
        """What the base renders."""
        return self.base.render()

    def close(self) -> None:
        """Closes the base."""
        self.base.close()

    def _make_base(self, env_id: str) -> gym.Env[Any, Any]:
        kwargs = dict(self.task.env_kwargs)
        fixed = kwargs.get("render_mode")
        if self.render_mode is not None and fixed not in (None, self.render_mode):
            raise ValueError(
                f"render_mode: task {self.task.name!r} takes its frames from render_mode="
                f"{fixed!r}, so expected that or None, got {self.render_mode!r}"
            )
        kwargs["render_mode"] = fixed or self.render_mode
        return gym.make(env_id, max_episode_steps=-1, disable_env_checker=True, **kwargs)

    def _advance(self, action: Any, count: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward, terminated, truncated, info = self._advancing.advance(action, count)
        return self._advancing.observe(), float(reward), bool(terminated), bool(truncated), info

    def _step_frames(
        self, action: Any, count: int
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(count):
            observation, reward, terminated, truncated, info = self.base.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, bool(terminated), bool(truncated), info

    def _out_of_time(self, reward: float) -> bool:
        if reward > 0:
            self._last_gain = self._frames
        out_of_patience = (
            self.patience is not None and self._frames - self._last_gain >= self.patience
        )
        return self._frames >= self.max_frames or out_of_patience


def frame_space(task: Task) -> spaces.Box:
    """Space of the frames that a task shows."""
    return spaces.Box(0, 255, (*task.frame_size, 3), np.uint8)
