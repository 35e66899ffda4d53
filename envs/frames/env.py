"""Environment that plays a task with frame skip and returns frames as observations."""

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.box2d.car_racing import CarRacing
from gymnasium.error import ResetNeeded
from gymnasium.wrappers import OrderEnforcing

from wmrl.core.display import check_display
from wmrl.core.frames import FrameStacker
from wmrl.core.processes import follow_parent
from wmrl.core.validation import check_int, check_number, check_seed
from wmrl.envs.car_racing.lazy_rendering import LazyRendering
from wmrl.envs.tasks.packages import import_package_of
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task


class FrameEnv(gym.Env[np.ndarray, Any]):
    """Environment that plays a task with frame skip and returns frames as observations.

    ## Description
    The game itself is called the base environment, and its frames are called base frames. One step
    of this environment, called an agent step, repeats an action for ``frame_skip`` base frames.
    Observations are frames that no vision model has encoded.

    A base environment is rendered only once per agent step if it has the methods
    ``advance(action, frames) -> (reward, terminated, truncated, info)`` and ``observe() -> frame``.
    Gymnasium's own CarRacing is also rendered only once per agent step. There are two exceptions:
    every frame is rendered if the base environment has wrappers other than Gymnasium's
    ``OrderEnforcing``, or if ``render_mode`` is ``"human"``.

    ## Action Space
    The task's action space. The task converts each action to an action of the base environment.

    ## Observation Space
    ``Box(0, 255, (H, W, C), uint8)``: the task's cropped and resized frame, with C = 3 color
    channels, or 1 if the task's frames are gray. If the task's ``blank_final_frame`` is True, the
    game shows no picture after it has terminated. In this case, the final frame is a copy of the
    previous frame.

    If the task's ``frame_stack`` K is above 1, ``Box(0, 255, (H, W, C · K), uint8)``: the frames
    after the last K agent steps, with the channels of the newest frame last. At the start of an
    episode, copies of the first frame stand for the frames that are missing.

    ## Rewards
    The sum of the base environment's rewards over the frames of the agent step.

    ## Starting State
    The starting state of the base environment, to which the seed and the options are passed.

    ## Episode End
    Terminates when the base environment terminates. Truncates when the base environment truncates,
    after ``max_frames`` base frames, or after ``patience`` base frames without a positive reward.
    The limit ``max_frames`` may shorten the last agent step. If the base environment is created
    from its id, its registered time limit has no effect.

    ## Information
    The base environment's info and ``"frames"``, the number of base frames since the reset. If the
    episode ends in the middle of an agent step, ``"frames"`` still counts all frames of that step.

    ## Arguments
    - ``task``: a task, the name or location of a task, or the id of an environment (see
      :func:`~wmrl.envs.tasks.registry.find_task`).
    - ``base``: id of a base environment to use instead of the task's, or a base environment that
      exists already. An existing environment keeps its own render mode, and the argument
      ``render_mode`` is ignored.
    - ``frame_skip``: number of base frames per agent step; the task's if None.
    - ``max_frames``: maximum number of base frames per episode; the task's if None.
    - ``patience``: an episode is truncated after this number of successive base frames without a
      positive reward; no such limit if None.
    - ``render_mode``: a render mode of the base environment.

    Raises:
        ValueError: there is no such task, ``frame_skip``, ``max_frames`` or ``patience`` is less
            than 1, or the task needs another ``render_mode`` for its frames.
        DisplayError: ``render_mode`` is ``"human"``, and there is no display.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs import FrameEnv
        >>> env = FrameEnv("car-racing")
        >>> frame, info = env.reset(seed=0)
        >>> frame.shape, frame.dtype, info["frames"]
        ((64, 64, 3), dtype('uint8'), 0)
        >>> frame, reward, terminated, truncated, info = env.step(np.array([0.0, 1.0]))
        >>> info["frames"]
        4
    """

    def __init__(
        self,
        task: Task | str = "car-racing",
        *,
        base: str | gym.Env[Any, Any] | None = None,
        frame_skip: int | None = None,
        max_frames: int | None = None,
        patience: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        follow_parent()
        self.task = find_task(task)
        frame_skip = self.task.frame_skip if frame_skip is None else frame_skip
        max_frames = self.task.max_frames if max_frames is None else max_frames
        self.frame_skip = check_int("frame_skip", frame_skip, at_least=1)
        self.max_frames = check_int("max_frames", max_frames, at_least=1)
        self.patience = patience
        if patience is not None:
            self.patience = check_int("patience", patience, at_least=1)
        self.render_mode = base.render_mode if isinstance(base, gym.Env) else render_mode
        if self.render_mode == "human":
            check_display()
        self.base = base if isinstance(base, gym.Env) else self._make_base(base)
        self.action_space = self.task.actions.space
        self.observation_space = frame_space(self.task)
        fps = self.base.metadata.get("render_fps") or 30
        self.metadata = {**self.base.metadata, "render_fps": fps / self.frame_skip}
        # Rendering may skip frames only if neither a window nor a wrapper needs every frame.
        inner = self.base.env if isinstance(self.base, OrderEnforcing) else self.base
        self._advancing: Any = None
        if inner is self.base.unwrapped and self.render_mode != "human":
            if type(inner) is CarRacing:
                self._advancing = LazyRendering(inner)
            elif hasattr(inner, "advance") and hasattr(inner, "observe"):
                self._advancing = inner
        self._frames = 0
        self._last_gain = 0
        self._running = False
        self._last_frame: np.ndarray | None = None  # only if the task's final frames are blank
        stack = self.task.frame_stack
        self._stacker = FrameStacker(stack) if stack > 1 else None
        self._episode = 0
        self._seed: int | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; passes ``seed`` and ``options`` to the base environment.

        Raises:
            ValueError: ``seed`` is not an integer of at least 0, or the game returned a frame that
                is not an image or an info that is not a dictionary.
        """
        self._seed = seed = None if seed is None else check_seed("seed", seed)
        super().reset(seed=seed)
        observation, info = self.base.reset(seed=seed, options=options)
        self._check_info("reset", info)
        self._frames = self._last_gain = 0
        self._episode += 1
        self._running = True
        frame = self._observe(observation, terminated=False)
        if self._stacker is not None:
            frame = self._stacker.reset(frame)
        return frame, {**info, "frames": 0}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes one agent step, which repeats an action for ``frame_skip`` base frames.

        Args:
            action: action of the task's action space. Continuous actions are not clipped.

        Raises:
            ResetNeeded: no episode is running.
            ValueError: ``action`` has the wrong shape, contains NaN or infinity, or is a discrete
                action that does not exist; or the game returned a reward that is not finite, a
                frame that is not an image, or an info that is not a dictionary.
        """
        if not self._running:
            raise ResetNeeded("step: no episode is running; call reset() first")
        action = self.task.actions.check("action", action)[()]  # a choice as a scalar
        num_frames = min(self.frame_skip, self.max_frames - self._frames)
        advance = self._step_frames if self._advancing is None else self._advance
        convert = self.task.to_env_action
        observation, reward, terminated, truncated, info = advance(
            action if convert is None else convert(action), num_frames
        )
        self._frames += num_frames
        self._check_info("step", info)
        if not math.isfinite(reward):
            raise ValueError(
                f"reward: expected a finite number, got {reward}{self._moment()}; let "
                "the method step of the game return a finite reward"
            )
        frame = self._observe(observation, terminated=terminated)
        if self._stacker is not None:
            frame = self._stacker.push(frame)
        truncated = not terminated and (truncated or self._out_of_time(reward))
        self._running = not (terminated or truncated)
        return frame, reward, terminated, truncated, {**info, "frames": self._frames}

    def render(self) -> Any:
        """Renders the base environment."""
        return self.base.render()

    def close(self) -> None:
        """Closes the base environment."""
        self.base.close()

    def _make_base(self, env_id: str | None) -> gym.Env[Any, Any]:
        env_id = env_id or self.task.env_id
        kwargs = dict(self.task.env_kwargs)
        fixed = kwargs.get("render_mode")
        if self.render_mode is not None and fixed not in (None, self.render_mode):
            raise ValueError(
                f"render_mode: expected {fixed!r} or None, got {self.render_mode!r}; the task "
                f"{self.task.name!r} needs {fixed!r}, so leave render_mode out"
            )
        kwargs["render_mode"] = fixed or self.render_mode
        import_package_of(env_id)
        return gym.make(env_id, max_episode_steps=-1, disable_env_checker=True, **kwargs)

    def _advance(
        self, action: Any, num_frames: int
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward, terminated, truncated, info = self._advancing.advance(action, num_frames)
        observation = self._advancing.observe()
        return observation, self._reward(reward), bool(terminated), bool(truncated), info

    def _step_frames(
        self, action: Any, num_frames: int
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(num_frames):
            observation, reward, terminated, truncated, info = self.base.step(action)
            total += self._reward(reward)
            if terminated or truncated:
                break
        return observation, total, bool(terminated), bool(truncated), info

    def _check_info(self, method: str, info: Any) -> None:
        if not isinstance(info, Mapping):
            raise ValueError(
                f"info: expected a dictionary, got {info!r:.100}{self._moment()}; let the method "
                f"{method} of the game return a dictionary as info"
            )

    def _reward(self, reward: Any) -> float:
        if isinstance(reward, float):  # step checks that the sum is finite
            return float(reward)
        return check_number(f"reward{self._moment()}", reward)

    def _observe(self, observation: Any, *, terminated: bool) -> np.ndarray:
        if terminated and self._last_frame is not None:
            return self._last_frame.copy()
        try:
            frame = self.task.observe(self.base, observation)
        except ValueError as error:
            raise ValueError(f"{error}{self._moment()}") from error
        if self.task.blank_final_frame:
            self._last_frame = frame.copy()
        return frame

    def _moment(self) -> str:
        """Returns the current task, episode, seed and base frame as text for error messages."""
        seed = "" if self._seed is None else f", seed {self._seed}"
        return (
            f" (task {self.task.name!r}, episode {self._episode} of this environment{seed}, base "
            f"frame {self._frames})"
        )

    def _out_of_time(self, reward: float) -> bool:
        if reward > 0:
            self._last_gain = self._frames
        out_of_patience = (
            self.patience is not None and self._frames - self._last_gain >= self.patience
        )
        return self._frames >= self.max_frames or out_of_patience


def frame_space(task: Task) -> spaces.Box:
    """Returns the space of a task's frames or, if the task stacks frames, of its stacks."""
    height, width, channels = task.frame_shape
    return spaces.Box(0, 255, (height, width, channels * task.frame_stack), np.uint8)
