"""Derivation of tasks from environments, whose settings become the attributes of the tasks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import fields, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from wmrl.core.action_spec import ActionSpec
from wmrl.envs.tasks.packages import import_package_of
from wmrl.envs.tasks.task import ObservationKey, Task, observation_frame, rendered_frame

# Smaller images of the observation are taken for maps of symbols, such as MiniGrid's 7 × 7.
_LEAST_SIZE = 8
# From this frame rate on, single frames differ too little for one action each.
_FAST, _SKIP = 30.0, 4
# Frames of the longest of several episodes of random actions, below which no frames are skipped:
# such an episode would be over after a few actions.
_LONG, _TRIES = 160, 3
_AGENT_STEPS = 1000
_SKIP_NAMES = ("frameskip", "frame_skip", "_frameskip", "_frame_skip", "_skip")


def derive_task(env_id: str, options: Mapping[str, Any]) -> Task:
    """Derives a task from an environment; see :meth:`~wmrl.envs.tasks.task.Task.from_env`.

    Args:
        env_id: id of the environment, or ``"module:id"``.
        options: attributes of the task and keyword arguments of the environment, by name.
    """
    names = {item.name for item in fields(Task)} - {"env_id"}
    if "notes" in options:
        raise ValueError(
            "notes: expected no notes, because they are written for a derived task, got "
            f"{options['notes']!r:.100}; remove the argument, or use dataclasses.replace afterwards"
        )
    given = {name: value for name, value in options.items() if name in names}
    others = {name: value for name, value in options.items() if name not in names}
    kwargs = {**given.pop("env_kwargs", {}), **others}
    limit = kwargs.pop("max_episode_steps", None)
    if limit is not None:
        given.setdefault("max_frames", limit)
    import_package_of(env_id)
    with closing(_make(env_id, kwargs)) as env:
        frame = given.get("frame") or _frame_function(env)
        if frame is rendered_frame:
            _check_rendering(env, kwargs)
            kwargs = {"render_mode": "rgb_array", **kwargs}
        derived = _Derivation(env, given)
    module, colon, _ = env_id.rpartition(":")
    attributes = {**derived.attributes, "frame": frame, **given}
    task = Task(env_id=f"{module}{colon}{derived.env_id}", env_kwargs=kwargs, **attributes)
    height, width, *channels = _raw_shape(task)
    gray = "grayscale" not in given and channels in ([], [1])
    image = f"{height} × {width} pixels{', gray' if gray else ''}"
    notes = (f"Frames are {_source_of(frame)}, {image}.", *derived.notes)
    return replace(task, notes=notes, grayscale=True) if gray else replace(task, notes=notes)


class _Derivation:
    """Attributes of a task that are derived from an environment, and notes about them.

    A note is a sentence that explains the value of an attribute to the user.

    Args:
        env: the environment.
        given: attributes that the user has chosen, by name. The notes omit these attributes.
    """

    def __init__(self, env: gym.Env[Any, Any], given: Mapping[str, Any]) -> None:
        assert env.spec is not None  # Gymnasium made it
        self._env, self._spec, self._given = env, env.spec, given
        self.env_id = env.spec.id
        self.notes: list[str] = []
        self.attributes: dict[str, Any] = {"name": self.env_id}
        self._find_actions()
        self._find_speed()
        self._find_sticky_actions()
        self._find_limit()
        if type(env.unwrapped).__module__.partition(".")[0] == "vizdoom":
            self.attributes["blank_final_frame"] = True
            self._note(
                "blank_final_frame", "Its final frames are black; previous frames replace them."
            )
        if self._spec.reward_threshold is not None:
            self.attributes["solved_at"] = float(self._spec.reward_threshold)
            self._note("solved_at", f"It counts as solved from {self._spec.reward_threshold:g}.")

    def _note(self, name: str, sentence: str) -> None:
        """Adds a sentence to the notes, unless the user has chosen the attribute's value.

        Args:
            name: name of the attribute that the sentence explains.
            sentence: the sentence.
        """
        if name not in self._given:
            self.notes.append(sentence)

    def _find_actions(self) -> None:
        space = self._given.get("action_space")
        if space is None:
            space = self._env.action_space
        spec = ActionSpec.of(space, name=f"action space of {self.env_id}")
        self.attributes["action_space"] = space
        self._note("action_space", f"Actions are those of {space}.")
        if spec.is_continuous and spec.is_bounded:
            # The mean action of an exploration episode is in the middle half of the range.
            low, high = spec.bounds
            quarter = (high - low) / 4
            self.attributes["explore_low"] = tuple((low + quarter).tolist())
            self.attributes["explore_high"] = tuple((high - quarter).tolist())
        names = tuple(_action_names(self._env))
        if spec.kind == "discrete" and len(names) == spec.dim:
            self.attributes["action_names"] = names

    def _find_speed(self) -> None:
        fps = self._env.metadata.get("render_fps")
        known = isinstance(fps, int | float) and fps > 0
        self.attributes["fps"] = fps = float(fps or 0) if known else _FAST
        if "frame_skip" in self._given:
            return
        own = _own_skip(self._env)
        if own is not None:
            reason = f"the environment skips frames itself ({own})"
            self.attributes["frame_skip"] = 1
        elif known and fps >= _FAST and (length := _random_length(self._env)) < _LONG:
            reason = f"episodes of random actions have at most {length} frames"
            self.attributes["frame_skip"] = 1
        elif known and fps >= _FAST:
            reason = f"its {fps:g} frames per second differ little from one to the next"
            self.attributes["frame_skip"] = _SKIP
        else:
            rate = f"it shows {fps:g} frames per second" if known else "its frame rate is unknown"
            reason = rate
            self.attributes["frame_skip"] = 1
        self.notes.append(f"frame_skip is {self.attributes['frame_skip']}, because {reason}.")

    def _find_sticky_actions(self) -> None:
        probability = self._spec.kwargs.get("repeat_action_probability")
        if isinstance(probability, int | float) and probability > 0:
            self.notes.append(
                f"Sticky actions are kept: with probability {probability:g}, the game repeats its "
                "last action; repeat_action_probability=0 turns them off."
            )

    def _find_limit(self) -> None:
        limit, reason = _own_limit(self._env)
        if limit is None:
            limit = _AGENT_STEPS * int({**self.attributes, **self._given}["frame_skip"])
            reason = "the environment names no limit of its own"
        self.attributes["max_frames"] = limit
        self._note("max_frames", f"Episodes have at most {limit} frames: {reason}.")


def _make(env_id: str, kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    return gym.make(env_id, disable_env_checker=True, **kwargs)


def _is_image(space: spaces.Space[Any]) -> bool:
    """Returns True if the observations in a space are images of at least 8 × 8 pixels.

    Images are ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W) uint8``.
    """
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and (len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[2] in (1, 3)))
        and min(space.shape[:2]) >= _LEAST_SIZE
    )


def _frame_function(env: gym.Env[Any, Any]) -> Callable[[gym.Env[Any, Any], Any], np.ndarray]:
    """Chooses the function that returns the frames of an environment.

    The function is :func:`observation_frame` if the observations are images, an
    :class:`ObservationKey` if they are dictionaries with one image, and :func:`rendered_frame`
    otherwise.

    Raises:
        ValueError: the observation is a dictionary with several images.
    """
    space = env.observation_space
    if _is_image(space):
        return observation_frame
    images = []
    if isinstance(space, spaces.Dict):
        images = [key for key, part in space.items() if _is_image(part)]
    if len(images) > 1:
        sizes = ", ".join(f"{key!r} {space[key].shape}" for key in images)  # type: ignore[index]
        raise ValueError(
            f"frame: expected one image in the observations of {_id_of(env)!r}, got several: "
            f"{sizes}; choose one with frame=ObservationKey({images[0]!r})"
        )
    return ObservationKey(images[0]) if images else rendered_frame


def _source_of(frame: Callable[..., np.ndarray]) -> str:
    """Describes the source of the frames, in words that complete a sentence "Frames are …".

    Args:
        frame: function that returns the frames.
    """
    if isinstance(frame, ObservationKey):
        return f"the images {frame.key!r} of its observations"
    known = {observation_frame: "its observations", rendered_frame: "what it renders"}
    return known.get(frame) or f"those of {getattr(frame, '__name__', frame)}"


def _id_of(env: gym.Env[Any, Any]) -> str:
    assert env.spec is not None  # Gymnasium made it
    return env.spec.id


def _check_rendering(env: gym.Env[Any, Any], kwargs: Mapping[str, Any]) -> None:
    """Checks that an environment whose observations are not images can be rendered.

    Args:
        env: the environment.
        kwargs: keyword arguments of the environment, which may contain the render mode.

    Raises:
        ValueError: the environment lacks the render mode ``"rgb_array"``, or ``kwargs`` contains
            another render mode.
    """
    modes = env.metadata.get("render_modes", [])
    if "rgb_array" not in modes or kwargs.get("render_mode", "rgb_array") != "rgb_array":
        chosen = (
            f", of which {kwargs['render_mode']!r} was chosen" if "render_mode" in kwargs else ""
        )
        raise ValueError(
            f"env_id: expected an environment whose observations are images (H, W, 3) uint8 or "
            f"whose render mode is 'rgb_array', got {_id_of(env)!r} with the observations "
            f"{env.observation_space} and the render modes {modes}{chosen}; pass a function "
            "(env, observation) -> image as the argument 'frame'"
        )


def _raw_shape(task: Task) -> tuple[int, ...]:
    """Returns the shape of a game's first raw frame, which is neither cropped nor resized.

    Raises:
        ValueError: the raw frame is not an image that the task can crop and resize.
    """
    with closing(_make(task.env_id, task.env_kwargs)) as env:
        observation, _ = env.reset(seed=0)
        task.observe(env, observation)
        return np.shape(task.frame(env, observation))


def _own_skip(env: gym.Env[Any, Any]) -> str | None:
    """Describes the setting with which an environment itself skips frames.

    Returns:
        A text such as ``"frameskip=4"``; None if the environment skips no frames.
    """
    assert env.spec is not None
    for name in _SKIP_NAMES:
        value = env.spec.kwargs.get(name)
        if value is None and env.has_wrapper_attr(name):
            value = env.get_wrapper_attr(name)
        most = max(value, default=1) if isinstance(value, tuple | list) else value
        if isinstance(most, int | np.integer) and not isinstance(most, bool) and most > 1:
            return f"{name.lstrip('_')}={value}"
    return None


def _random_length(env: gym.Env[Any, Any]) -> int:
    """Plays a few episodes of random actions; returns the length of the longest, at most 160."""
    longest = 0
    env.action_space.seed(0)
    for seed in range(_TRIES):
        env.reset(seed=seed)
        length, over = 0, False
        while not over and length < _LONG:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            length, over = length + 1, bool(terminated or truncated)
        longest = max(longest, length)
        if longest == _LONG:
            break
    return longest


def _own_limit(env: gym.Env[Any, Any]) -> tuple[int | None, str]:
    """Returns the number of steps after which an environment truncates an episode.

    Returns:
        The number, and a clause that says where it was found; None and an empty text if no number
        was found.
    """
    assert env.spec is not None
    if env.spec.max_episode_steps is not None:
        return env.spec.max_episode_steps, "this is the limit with which it is registered"
    frames = env.spec.kwargs.get("max_num_frames_per_episode")
    if isinstance(frames, int) and frames > 0:
        skip = env.spec.kwargs.get("frameskip", 1)
        least = min(skip) if isinstance(skip, tuple | list) else skip
        return -(-frames // least), f"this is its max_num_frames_per_episode={frames}"
    steps = getattr(env.unwrapped, "max_steps", None)
    if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0:
        return steps, f"this is its max_steps={steps}"
    return None, ""


def _action_names(env: gym.Env[Any, Any]) -> Iterator[str]:
    """Yields the names of an Atari game's actions; yields nothing for other environments."""
    if env.has_wrapper_attr("get_action_meanings"):
        yield from (str(name).lower() for name in env.get_wrapper_attr("get_action_meanings")())
