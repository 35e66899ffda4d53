"""Description of a game, and functions that return its frames."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from gymnasium import spaces

from wmrl.core.action_spec import ActionSpec
from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_frame, check_int, check_lengths, check_name
from wmrl.envs.tasks.packages import import_package_of

# Shape of the frames at the end of a variant's name, such as "@84x84x1"; followed by the number of
# frames in a stack if there are several, such as "@84x84x1x4".
_SHAPE_SUFFIX = re.compile(
    r"@([1-9][0-9]{0,3})x([1-9][0-9]{0,3})x([13])(?:x([2-9]|[1-9][0-9]{1,3}))?$"
)


def observation_frame(env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
    """Returns the observation unchanged, for games whose observations are images.

    Raises:
        ValueError: the observation is a dictionary; use :class:`ObservationKey`.
    """
    if isinstance(observation, Mapping):
        raise ValueError(
            f"observation: expected an image, got a dictionary with the keys "
            f"{_keys_of(observation)}; choose an image with frame=ObservationKey(key) in the task"
        )
    frame: np.ndarray = observation
    return frame


def rendered_frame(env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
    """Returns the image that ``env.render()`` returns with the render mode ``"rgb_array"``.

    Raises:
        ValueError: ``env.render()`` returns None or a list.
    """
    frame: Any = env.render()
    if frame is None or isinstance(frame, list):
        got = "None" if frame is None else "a list"
        raise ValueError(
            f"render(): expected an image of the game, got {got} with render_mode "
            f"{env.render_mode!r}; set env_kwargs={{'render_mode': 'rgb_array'}} in the task"
        )
    image: np.ndarray = frame
    return image


@dataclass(frozen=True)
class ObservationKey:
    """Function that takes the image out of an observation, for observations that are dictionaries.

    Attributes:
        key: key of the image in the dictionary.

    Raises:
        ValueError: the key is empty.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs import ObservationKey
        >>> frame_of = ObservationKey("screen")
        >>> frame_of(None, {"screen": np.zeros((4, 4, 3), np.uint8), "health": 100}).shape
        (4, 4, 3)
        >>> frame_of(None, {"health": 100})
        Traceback (most recent call last):
        ValueError: observation: expected the key 'screen', got the keys 'health'; change ...
    """

    key: str

    def __post_init__(self) -> None:
        check_name("key", self.key)

    def __call__(self, env: gym.Env[Any, Any] | None, observation: Any) -> np.ndarray:
        """Returns the image in an observation; the argument ``env`` is ignored.

        Raises:
            ValueError: the observation is not a dictionary, or the dictionary lacks the key.
        """
        if not isinstance(observation, Mapping):
            raise ValueError(
                f"observation: expected a dictionary with the key {self.key!r}, got a "
                f"{type(observation).__name__}; use frame=observation_frame in the task for "
                "observations that are images"
            )
        if self.key not in observation:
            raise ValueError(
                f"observation: expected the key {self.key!r}, got the keys "
                f"{_keys_of(observation)}; change the key of the ObservationKey in the task"
            )
        frame: np.ndarray = observation[self.key]
        return frame


def _keys_of(observation: Mapping[Any, Any]) -> str:
    return ", ".join(map(repr, observation)) or "(none)"


@dataclass(frozen=True, kw_only=True)
class Task:
    """Description of a game, with all settings that environments and training need.

    The game itself is a registered Gymnasium environment, the base environment. The frames of the
    base environment are called base frames. A task is sent to worker processes, so cloudpickle must
    be able to pickle the task.

    Attributes:
        name: name by which artifacts and commands refer to the task.
        env_id: id of the base environment.
        action_space: space of the agent's actions: a ``Box`` of real numbers with one axis, a
            ``Discrete``, or a ``MultiDiscrete`` or ``MultiBinary`` with one axis. None means
            the action space of the base environment. To look up this space, the base environment is
            created once.
        to_env_action: function that converts an agent's action to an action of the base
            environment; None if both are the same.
        env_kwargs: keyword arguments of the base environment.
        frame: function ``(env, observation) -> frame`` that returns the raw frame, ``(H, W, 3)
            uint8`` or, if gray, ``(H, W, 1)`` or ``(H, W) uint8``. For most games, use
            :func:`observation_frame`, :class:`ObservationKey` or :func:`rendered_frame`.
        crop_rows: rows of the raw frame to keep, from ``start`` to ``stop - 1``, as a pair
            ``(start, stop)``; None to keep all rows.
        frame_size: height and width to which frames are resized after the crop. Vision models may
            limit the size. For example, the VAE requires heights and widths from 32 to 128.
        grayscale: True to convert the frames to gray, ``(H, W, 1) uint8``. If False, frames are
            ``(H, W, 3) uint8``, and gray raw frames are converted by repeating their channel.
        frame_stack: K, number of successive frames, one per agent step, that an agent or a vision
            model observes together. With K above 1, environments show stacks ``(H, W, C · K)
            uint8``, in which the channels of the newest frame come last. At the start of an
            episode, the stack is filled with copies of the first frame. Rollout stores hold single
            frames, and vision models decode only the newest frame of a stack.
        blank_final_frame: True if the frame after the game has terminated is not a picture of the
            game. For example, this frame is black in VizDoom. If True, environments replace this
            frame by the previous frame, so that no model learns what blank frames mean.
        frame_skip: number of base frames per agent step.
        warmup_frames: number of base frames at the start of each episode that count as warm-up.
            Dreams start from recorded states after the warm-up. If no recorded episode is longer
            than the warm-up, dreams start from any recorded state.
        start_window: number of agent steps before a recorded state. Dreams start only from states
            for which at least one of these steps had a positive reward. If there is no such state,
            or if ``start_window`` is 0, dreams start from any recorded state after the warm-up.
        max_frames: number of base frames after which an episode is truncated.
        fps: base frames per second at the game's own speed, for videos and windows.
        patience: number of successive base frames without a positive reward after which data
            collection truncates an episode; None for no such limit.
        explore_low: lower bounds for random exploration with continuous actions, one per action
            dimension. For each episode, a mean action is drawn uniformly between ``explore_low``
            and ``explore_high``. In each step, autoregressive noise is added to the mean action. If
            empty, all lower bounds are 0.
        explore_high: upper bounds for random exploration with continuous actions, one per action
            dimension. If empty, all upper bounds are 0.
        solved_at: smallest mean return with which the task counts as solved; None if no return
            counts as a solution.
        completed_key: key in the base environment's info whose value is True if an episode ended
            because the goal was reached. Learners do not treat such an end as a failure. None if
            the base environment has no such key.
        action_names: names of the dimensions of an encoded action (see
            :class:`~wmrl.core.action_spec.ActionSpec`), shown in videos. For continuous actions,
            these are the names of the numbers of an action. For discrete actions, these are the
            names of the options. If empty, the dimensions have no names.
        notes: sentences that explain the choices of :meth:`from_env`. Commands show these sentences
            to the user. Two tasks that differ only in their notes are equal.

    Raises:
        ValueError: an attribute has the wrong type, a name is empty, the action space is not
            supported, a number is out of range or not finite, or a sequence that needs one item per
            action dimension has another length.

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
    grayscale: bool = False
    frame_stack: int = 1
    blank_final_frame: bool = False
    frame_skip: int = 1
    warmup_frames: int = 0
    start_window: int = 0
    max_frames: int = 1000
    fps: float = 50.0
    patience: int | None = None
    explore_low: tuple[float, ...] = ()
    explore_high: tuple[float, ...] = ()
    solved_at: float | None = None
    completed_key: str | None = None
    action_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.action_space is not None:
            ActionSpec.of(self.action_space)
        check_int("frame_stack", self.frame_stack, at_least=1)
        check_int("frame_skip", self.frame_skip, at_least=1)
        check_int("max_frames", self.max_frames, at_least=1)
        check_int("warmup_frames", self.warmup_frames, at_least=0)
        check_int("start_window", self.start_window, at_least=0)
        check_float("fps", self.fps, above=0)
        if self.patience is not None:
            check_int("patience", self.patience, at_least=1)
        check_lengths("frame_size", self.frame_size)
        self._check_crop()
        for name in ("explore_low", "explore_high", "action_names"):
            if getattr(self, name) and len(getattr(self, name)) != self.action_dim:
                raise ValueError(
                    f"{name}: expected {self.action_dim} items (one per action dimension) or an "
                    f"empty tuple, got {getattr(self, name)}"
                )
        none = (0.0,) * max(len(self.explore_low), len(self.explore_high))
        for low, high in zip(self.explore_low or none, self.explore_high or none, strict=True):
            if low > high:
                raise ValueError(
                    f"explore_low: expected at most explore_high = {self.explore_high} in each "
                    f"dimension, got {self.explore_low}; an empty tuple stands for zeros"
                )

    def _check_crop(self) -> None:
        if self.crop_rows is None:
            return
        start, stop = self.crop_rows
        check_int("crop_rows", start, at_least=0)
        check_int("crop_rows", stop, at_least=start + 1)

    @classmethod
    def from_env(cls, env_id: str, **options: Any) -> "Task":
        """Derives a task from an environment.

        The environment is created to read its settings and its first frame. The attributes of the
        task are chosen as follows:

        - ``name`` is the id of the environment.
        - Frames are the observations if these are images ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)
          uint8`` of at least 8 × 8 pixels. If the observations are dictionaries with one such
          image, frames are these images. In all other cases, frames are the images that the
          environment renders with the render mode ``"rgb_array"``. Gray images give gray frames.
        - ``frame_skip`` is 1 if the environment itself skips frames (by settings such as
          ``frameskip`` or ``frame_skip``), if its frame rate is unknown or below 30 frames per
          second, or if each of three episodes of random actions lasts fewer than 160 frames. In all
          other cases, ``frame_skip`` is 4.
        - ``max_frames`` is the environment's own limit on the steps of an episode. Without such a
          limit, it is the number of base frames in 1000 agent steps.
        - The frame rate, the action space, the names of Atari's actions and the return from which
          the game counts as solved are those of the environment. If the frame rate is unknown,
          ``fps`` is 30.
        - ``explore_low`` and ``explore_high`` enclose the middle half of the range of a continuous
          action.

        :attr:`notes` explains these choices. The packages that register well-known ids (``ALE/…``,
        ``MiniGrid-…``, ``Vizdoom…``) are imported if necessary.

        Args:
            env_id: id of the environment; or ``"module:id"``, where importing the module registers
                the environment.
            options: keyword arguments. An argument with the name of a task's attribute sets this
                attribute. The argument ``max_episode_steps`` sets the attribute ``max_frames``. All
                other arguments, and the items of the dictionary ``env_kwargs``, are passed to the
                environment.

        Raises:
            gymnasium.error.Error: there is no such environment.
            ImportError: a package that the environment needs is not installed.
            ValueError: the environment's observations contain several images; or they contain no
                image, and the render mode ``"rgb_array"`` is missing; or the action space is not
                supported; or an attribute is invalid, or is ``notes``.

        Example:
            >>> from wmrl.envs import Task
            >>> task = Task.from_env("CartPole-v1", frame_skip=2)
            >>> task.name, task.action_space, task.max_frames, task.solved_at
            ('CartPole-v1', Discrete(2), 500, 475.0)
            >>> print(task.notes[0])
            Frames are what it renders, 400 × 600 pixels.
        """
        from wmrl.envs.tasks.derived import derive_task

        return derive_task(env_id, options)

    @cached_property
    def actions(self) -> ActionSpec:
        """Description of the agent's actions.

        Raises:
            ValueError: the attribute ``action_space`` is None, and the action space of the base
                environment is not supported.
        """
        if self.action_space is not None:
            return ActionSpec.of(self.action_space)
        import_package_of(self.env_id)
        env = gym.make(self.env_id, disable_env_checker=True, **self.env_kwargs)
        try:
            return ActionSpec.of(env.action_space, name=f"action space of {self.env_id}")
        finally:
            env.close()

    @property
    def action_dim(self) -> int:
        """Length A of the vector that encodes an action for networks."""
        return self.actions.dim

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, C)`` of a single frame; C is 1 if the frames are gray, otherwise 3."""
        return (*self.frame_size, 1 if self.grayscale else 3)

    def with_frames(
        self,
        *,
        frame_size: tuple[int, int] | None = None,
        grayscale: bool | None = None,
        frame_stack: int | None = None,
    ) -> "Task":
        """Returns a variant of the task with frames of another shape, or with stacks of frames.

        The name of a variant is the name of the task, followed by the shape of the frames and, if
        frames are stacked, by the number of frames in a stack. Stores, models and agents that are
        made with the variant refer to this name. If the task is registered,
        :func:`~wmrl.envs.tasks.registry.find_task` finds the variant by this name.

        Args:
            frame_size: height and width of the frames in pixels; as in the task if None.
            grayscale: True for gray frames, False for color frames; as in the task if None.
            frame_stack: number of frames in a stack, 1 for single frames; as in the task if None.

        Returns:
            The variant. If the arguments change nothing, the task itself is returned.

        Raises:
            ValueError: a number is below 1.

        Example:
            >>> from wmrl.envs import CAR_RACING, find_task
            >>> variant = CAR_RACING.with_frames(frame_size=(84, 84), grayscale=True)
            >>> variant.name, variant.frame_shape
            ('car-racing@84x84x1', (84, 84, 1))
            >>> find_task("car-racing@84x84x1") == variant
            True
            >>> variant.with_frames(frame_stack=4).name
            'car-racing@84x84x1x4'
        """
        variant = replace(
            self,
            frame_size=self.frame_size if frame_size is None else frame_size,
            grayscale=self.grayscale if grayscale is None else grayscale,
            frame_stack=self.frame_stack if frame_stack is None else frame_stack,
        )
        if (variant.frame_shape, variant.frame_stack) == (self.frame_shape, self.frame_stack):
            return self
        suffix = variant_suffix(variant.frame_shape, variant.frame_stack)
        return replace(variant, name=f"{split_variant(self.name)[0]}{suffix}")

    def observe(self, env: gym.Env[Any, Any], observation: Any) -> np.ndarray:
        """Returns the current frame as vision models observe it.

        Args:
            env: the base environment.
            observation: the last observation of ``env``.

        Returns:
            The frame, an array of shape :attr:`frame_shape` and dtype uint8.

        Raises:
            ValueError: the raw frame is not an image of dtype uint8 with the channels last, or
                ``crop_rows`` ends after the last row of the raw frame.
        """
        raw = self.frame(env, observation)
        return self.fit_frame(
            check_frame("frame", raw, where="in the function 'frame' of the task")
        )

    def fit_frame(self, frame: np.ndarray) -> np.ndarray:
        """Crops a raw frame, converts it to gray or color, and resizes it.

        Args:
            frame: ``(H, W, 3) uint8`` or, if gray, ``(H, W, 1) uint8``.

        Returns:
            The frame, an array of shape :attr:`frame_shape` and dtype uint8.

        Raises:
            ValueError: ``crop_rows`` ends after the last row of the raw frame.
        """
        if self.crop_rows is not None:
            if self.crop_rows[1] > len(frame):
                raise ValueError(
                    f"crop_rows: expected a range within the {len(frame)} rows of the raw frame, "
                    f"got {self.crop_rows}; change crop_rows of the task"
                )
            frame = frame[slice(*self.crop_rows)]
        height, width, channels = self.frame_shape
        if frame.shape[2] != channels:
            code = cv2.COLOR_RGB2GRAY if channels == 1 else cv2.COLOR_GRAY2RGB
            frame = cv2.cvtColor(frame, code)
        if frame.shape[:2] != (height, width):
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        return frame if frame.ndim == 3 else frame[:, :, None]  # OpenCV drops a single channel


def variant_suffix(frame_shape: tuple[int, int, int], frame_stack: int) -> str:
    """Returns the end of a variant's name, such as ``"@84x84x1"``, or ``"@84x84x1x4"`` for stacks.

    Args:
        frame_shape: shape ``(H, W, C)`` of a single frame.
        frame_stack: number of frames in a stack.
    """
    numbers = frame_shape if frame_stack == 1 else (*frame_shape, frame_stack)
    return f"@{'x'.join(map(str, numbers))}"


def split_variant(name: str) -> tuple[str, str]:
    """Splits the name of a variant into the name of the task and the suffix of the variant.

    Args:
        name: name of a task, or of a variant that :meth:`Task.with_frames` returned.

    Returns:
        The name of the task without a suffix, and the suffix. The suffix is empty if the name is
        not that of a variant.

    Example:
        >>> split_variant("car-racing@84x84x1")
        ('car-racing', '@84x84x1')
        >>> split_variant("car-racing")
        ('car-racing', '')
    """
    found = _SHAPE_SUFFIX.search(name)
    return (name, "") if found is None else (name[: found.start()], found.group())


def variant_of(task: Task, suffix: str) -> Task:
    """Returns a variant of a task, given the suffix of the variant's name.

    If the suffix has only three numbers, the variant shows single frames, even if the frames of the
    task are stacked.

    Args:
        task: a task.
        suffix: suffix from :func:`split_variant`, such as ``"@84x84x1"`` or ``"@84x84x1x4"``. The
            numbers are the height, width and channels of a frame, and the frames in a stack.
    """
    height, width, channels, *stack = map(int, suffix.removeprefix("@").split("x"))
    return task.with_frames(
        frame_size=(height, width),
        grayscale=channels == 1,
        frame_stack=stack[0] if stack else 1,
    )


def completed_slots(info: Mapping[str, Any], key: str | None, num_envs: int) -> np.ndarray:
    """Returns a mask ``(N,) bool`` that is True for environments whose goal was reached.

    Args:
        info: infos that ``step`` of a vector environment returned, or their ``"final_info"``.
        key: attribute ``completed_key`` of the task. If None, the mask is False everywhere.
        num_envs: number N of environments.
    """
    if key is None or key not in info:
        return np.zeros(num_envs, np.bool_)
    reached: np.ndarray = np.asarray(info[key], np.bool_) & info[f"_{key}"]
    return reached
