"""Environment wrapper that records the episodes that are played in the environment."""

from pathlib import Path
from typing import Any, Generic

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.core import ActType, ObsType
from gymnasium.utils import RecordConstructorArgs

from wmrl.core.action_spec import ActionSpec
from wmrl.core.frames import newest_frames
from wmrl.core.strict_json import jsonable
from wmrl.core.validation import check_frame, check_int
from wmrl.data.store import Episode, RolloutStore, StoreMetadata
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task


class RecordRollouts(
    gym.Wrapper[ObsType, ActType, ObsType, ActType],
    RecordConstructorArgs,
    Generic[ObsType, ActType],
):
    """Environment wrapper that records all episodes of an environment in a rollout store.

    Observations, rewards and infos pass unchanged. Each episode is written when it ends. An episode
    that :meth:`reset` or :meth:`close` cuts off is written as truncated, unless it has no steps. If
    a ``FrameEnv`` returns stacks of frames, only the newest frame of each stack is written.

    The ``info`` of a stored episode has these entries:

    - ``"seed"``: the argument ``seed`` of :meth:`reset`.
    - ``"frames"``: the number of base frames.
    - ``"reset"`` and ``"last"``: the numbers, strings and booleans in the info of the reset and in
      the info of the last step.
    - ``"unfinished"``: True if the episode was cut off; otherwise, this entry is missing.

    Args:
        env: :class:`~wmrl.envs.frames.env.FrameEnv`, or another environment. A ``FrameEnv`` may
            have wrappers that change neither frames nor actions.
        store: store to which episodes are appended, or its path. A store that does not exist is
            created. Several environments, also in several processes, may use the same store.
        task: for a ``FrameEnv``, None or the task of the ``FrameEnv``. For another environment, a
            task, or a value that :func:`~wmrl.envs.tasks.registry.find_task` accepts. With a task,
            the recorded frames are those of the task, cropped and resized. With None, the
            recorded frames are the observations, which must be images ``(H, W, C) uint8``. The
            store then names the id of the environment as its task.
        frame_skip: number of base frames per step of ``env``. If None, the frame skip of
            ``FrameEnv``, or 1 for another environment.

    Raises:
        StoreError: there is something other than a store at the path, or the frame shape, the
            action space or another setting of the store is not that of the environment.
        ValueError: the environment's action space is not that of the task; or the task is not that
            of the ``FrameEnv``; or, with ``task=None``, the environment's observations are not
            images, or the environment has no id.

    Example:
        >>> import numpy as np
        >>> from wmrl.agents import RecordRollouts
        >>> from wmrl.data import RolloutStore
        >>> from wmrl.envs import FrameEnv
        >>> env = RecordRollouts(FrameEnv("car-racing", max_frames=20), "runs/recorded")
        >>> frame, info = env.reset(seed=0)
        >>> over = False
        >>> while not over:
        ...     frame, reward, terminated, truncated, info = env.step(np.array([0.0, 0.5]))
        ...     over = terminated or truncated
        >>> env.close()
        >>> store = RolloutStore("runs/recorded")
        >>> store.summary(0).length, store.info(0)["seed"]
        (5, 0)
    """

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        store: RolloutStore | str | Path,
        *,
        task: Task | str | None = None,
        frame_skip: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, _disable_deepcopy=True, store=store, task=task, frame_skip=frame_skip
        )
        gym.Wrapper.__init__(self, env)
        game = env.unwrapped if isinstance(env.unwrapped, FrameEnv) else None
        self._task = _task_of(game, task)
        self._observes = game is None and self._task is not None  # as the task does
        self._seen_stack = game.task.frame_stack if game else 1  # frames in an observation
        self._actions = ActionSpec.of(env.action_space, name="env: action space")
        if self._task is not None and self._actions != self._task.actions:
            raise ValueError(
                f"env: expected the action space {self._task.actions.space} of the task "
                f"{self._task.name!r}, got {env.action_space}; wrap FrameEnv(task) instead"
            )
        if frame_skip is None:
            frame_skip = game.frame_skip if game else 1
        self._frame_skip = check_int("frame_skip", frame_skip, at_least=1)
        self._store = self._opened(store)
        self._frames: list[np.ndarray] = []
        self._taken: list[np.ndarray] = []
        self._rewards: list[float] = []
        self._info: dict[str, Any] = {}

    def _opened(self, store: RolloutStore | str | Path) -> RolloutStore:
        shape = self._frame_shape()
        frame_stack = self._task.frame_stack if self._task else 1
        if isinstance(store, RolloutStore):
            return store.check(
                frame_shape=shape,
                action_space=self._actions,
                frame_skip=self._frame_skip,
                frame_stack=frame_stack,
            )
        spec = self.env.spec
        if self._task is None and spec is None:
            raise ValueError(
                "task: expected a task because the environment has no id, got None; pass a task, "
                "or create the environment with gymnasium.make"
            )
        metadata = StoreMetadata(
            task=self._task.name if self._task else spec.id,  # type: ignore[union-attr]
            frame_shape=shape,
            action_space=self._actions,
            frame_skip=self._frame_skip,
            warmup_frames=self._task.warmup_frames if self._task else 0,
            start_window=self._task.start_window if self._task else 0,
            frame_stack=frame_stack,
            policy={"name": "recorded"},
        )
        return RolloutStore(store, "a", metadata=metadata)

    def _frame_shape(self) -> tuple[int, int, int]:
        if self._observes and self._task is not None:
            return self._task.frame_shape
        space = self.env.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 3 or space.dtype != np.uint8:
            raise ValueError(
                f"env: expected observations that are images (H, W, C) uint8, got {space}; pass a "
                "task with its attribute 'frame' set to a function that returns an image"
            )
        height, width, channels = space.shape
        return height, width, channels // self._seen_stack

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Starts an episode.

        If the previous episode has not ended, it is first written as truncated.
        """
        self._write_unfinished()
        observation, info = self.env.reset(seed=seed, options=options)
        self._frames = [self._frame(observation, terminated=False)]
        self._info = {"seed": seed, "reset": _plain(info)}
        return observation, info

    def step(self, action: ActType) -> tuple[ObsType, Any, bool, bool, dict[str, Any]]:
        """Takes a step, and writes the episode to the store if it ends with this step."""
        taken = self._actions.check("action", action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._frames:  # an episode is running
            self._frames.append(self._frame(observation, terminated=bool(terminated)))
            self._taken.append(np.array(taken))
            self._rewards.append(float(reward))
            self._info["last"] = _plain(info)
            if terminated or truncated:
                completed = self._completed(info)
                self._write(
                    terminated=bool(terminated) and not completed,
                    truncated=bool(truncated) or completed,
                )
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Closes the environment.

        If the current episode has not ended, it is first written as truncated.
        """
        try:
            self._write_unfinished()
        finally:
            self.env.close()

    def _frame(self, observation: Any, *, terminated: bool) -> np.ndarray:
        if self._observes and self._task is not None:
            if terminated and self._task.blank_final_frame:
                return self._frames[-1]
            observation = self._task.observe(self.env, observation)
        elif self._seen_stack > 1:
            observation = newest_frames(observation, self._seen_stack)
        return check_frame("observation", observation).copy()  # games may reuse their arrays

    def _completed(self, info: dict[str, Any]) -> bool:
        """Returns True if the game ended because its goal was reached.

        The result is the flag in ``info`` under the task's ``completed_key``. If the task has no
        ``completed_key``, or ``info`` has no such flag, the result is False.
        """
        key = None if self._task is None else self._task.completed_key
        return key is not None and bool(info.get(key, False))

    def _write_unfinished(self) -> None:
        if self._taken:
            self._info["unfinished"] = True
            self._write(terminated=False, truncated=True)
        self._frames = []

    def _write(self, *, terminated: bool, truncated: bool) -> None:
        steps = len(self._taken)
        frames = self._info["last"].get("frames", steps * self._frame_skip)
        with np.errstate(over="ignore"):  # the episode refuses rewards beyond float32
            rewards = np.array(self._rewards, np.float32)
        episode = Episode(
            frames=np.stack(self._frames),
            actions=np.stack(self._taken),
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            info={**self._info, "frames": frames},
        )
        self._frames, self._taken, self._rewards = [], [], []
        self._store.append(episode)


def _task_of(game: FrameEnv | None, task: Task | str | None) -> Task | None:
    """Returns the task whose frames are recorded, or None if the observations are recorded.

    Args:
        game: the innermost environment if it is a ``FrameEnv``, otherwise None.
        task: the argument ``task`` of :class:`RecordRollouts`.

    Raises:
        ValueError: the task is not that of ``game``.
    """
    if task is None:
        return None if game is None else game.task
    task = find_task(task)
    if game is not None and task != game.task:
        kind = "a task with other settings" if task.name == game.task.name else "the task"
        raise ValueError(
            f"task: expected None or the task {game.task.name!r} of the FrameEnv, got {kind} "
            f"{task.name!r}; leave task out, or wrap FrameEnv(task)"
        )
    return task


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    """Returns the entries of an info that are numbers, strings or booleans.

    Dictionaries in the info are reduced in the same way. Values that JSON can't store, such as NaN,
    are left out.
    """
    plain: dict[str, Any] = {}
    for key, value in info.items():
        if isinstance(value, dict):
            plain[str(key)] = _plain(value)
        elif isinstance(value, str | bool | int | float | np.generic):
            try:
                plain[str(key)] = jsonable(value)
            except (TypeError, ValueError):
                continue  # not finite, or without a form in JSON
    return plain
