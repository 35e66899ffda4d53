"""Conversion of the episodes of a Minari dataset to those of a rollout store."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gymnasium import spaces

from wmrl.core.action_spec import ActionSpec
from wmrl.core.strict_json import jsonable
from wmrl.core.validation import check_frame, check_reals
from wmrl.data.episode import Episode, StoreMetadata
from wmrl.export._minari_format import KEY, parse_episode

if TYPE_CHECKING:
    from minari import EpisodeData, MinariDataset

_OWN_METADATA = ("id", "seed", "total_steps", KEY)  # of an episode


class StoreTask(Protocol):
    """Protocol for what a store takes from a task; :class:`~wmrl.envs.tasks.task.Task` has it."""

    @property
    def name(self) -> str:
        """Name of the task."""

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, C)`` of a single frame."""

    @property
    def frame_stack(self) -> int:
        """Number of successive frames that a vision model encodes together."""

    @property
    def actions(self) -> ActionSpec:
        """Description of the agent's actions."""

    @property
    def warmup_frames(self) -> int:
        """Number of base frames at the start of each episode in which no dream should start."""

    @property
    def start_window(self) -> int:
        """Number of agent steps; see :class:`~wmrl.data.episode.StoreMetadata`."""

    @property
    def blank_final_frame(self) -> bool:
        """True if the frame after the game has terminated is not a picture of the game."""

    @property
    def completed_key(self) -> str | None:
        """Key of the info that says that an episode ended because the goal was reached."""

    def fit_frame(self, frame: np.ndarray) -> np.ndarray:
        """Crops a raw frame, converts it to gray or color, and resizes it."""


class EpisodeReader:
    """Reader of a dataset's episodes, which also counts what a store can't hold of them.

    Args:
        dataset: the dataset.
        task: task whose game was played; None if it is unknown.
        frame_skip: number of base frames per step of the dataset.
        observation_key: key of the image, for observations that are dictionaries.
        frame: function that turns an observation into an image; None if it is one.

    Raises:
        ValueError: the observations are not images, or the actions are not supported or not those
            of the task.
    """

    def __init__(
        self,
        dataset: "MinariDataset",
        task: StoreTask | None,
        frame_skip: int,
        observation_key: str | None,
        frame: Callable[[Any], np.ndarray] | None,
    ) -> None:
        from minari.dataset.minari_storage import is_image_space

        self._dataset, self._task, self._frame_skip = dataset, task, frame_skip
        self._key, self._frame = observation_key, frame
        self._shape: tuple[int, ...] | None = None  # of the first frame, and so of all
        self._losses: Counter[str] = Counter()  # number of episodes, by what was lost
        image = _image_space(dataset.observation_space, observation_key, frame)
        if dataset.storage.jpeg_encoding and is_image_space(image):
            loss = "the frames are stored as JPEG, and so are not exactly those of the game"
            self._losses[loss] = len(dataset)
        self._actions = _action_spec(dataset.action_space, task)

    def metadata(self, first: Episode) -> StoreMetadata:
        """Returns the metadata of the store, given the first episode.

        Raises:
            ValueError: neither the task nor the environment of the dataset is known.
        """
        dataset, task, spec = self._dataset, self._task, self._dataset.env_spec
        if task is None and spec is None:
            raise ValueError(
                f"task: expected a task, because {dataset.id} does not say which environment was "
                "played, got None; give the task, or a Task of your own"
            )
        about = dataset.storage.metadata
        policy = {"name": "minari", "dataset": dataset.id}
        if isinstance(about.get("algorithm_name"), str):
            policy["algorithm_name"] = about["algorithm_name"]
        return StoreMetadata(
            task=spec.id if task is None else task.name,
            frame_shape=first.frames.shape[1:],
            action_space=self._actions,
            frame_skip=self._frame_skip,
            warmup_frames=0 if task is None else task.warmup_frames,
            start_window=0 if task is None else task.start_window,
            frame_stack=1 if task is None else task.frame_stack,
            policy=policy,
        )

    def episodes(self) -> Iterator[tuple[int, Episode]]:
        """Yields each episode with its index in the store, one at a time.

        Raises:
            ValueError: an episode can't be converted.
        """
        storage, following = self._dataset.storage, 0
        for data in self._dataset.iterate_episodes():
            about = next(iter(storage.get_episode_metadata([data.id])))
            index, info = following, None
            if KEY in about:
                index, info = parse_episode(about[KEY])
            try:
                episode = self._episode(data, about, info)
            except ValueError as error:
                raise ValueError(f"{error} (episode {data.id} of {self._dataset.id})") from error
            yield index, episode
            following = index + 1

    def notes(self) -> list[str]:
        """Returns a sentence about each kind of loss, once the episodes are read."""
        return [
            f"{self._dataset.id}: {what} (in {count} of {len(self._dataset)} episodes)"
            for what, count in self._losses.items()
        ]

    def _episode(
        self, data: "EpisodeData", about: Mapping[str, Any], info: dict[str, Any] | None
    ) -> Episode:
        """Converts an episode.

        Args:
            data: the episode's arrays.
            about: the episode's metadata.
            info: the ``info`` of the episode; None to make it from ``about``.
        """
        count = len(data.rewards)
        terminated, truncated = (
            bool(count and flags[-1]) for flags in (data.terminations, data.truncations)
        )
        frames = self._frames(data.observations, count)
        if self._task is not None:
            if terminated and self._task.blank_final_frame:
                frames[-1] = frames[-2]
            if _completed(data.infos, self._task.completed_key):
                terminated, truncated = False, True
        if info is None:
            info = self._info(about, count)
            if data.infos:
                keys = ", ".join(map(repr, data.infos))
                self._losses[f"the infos of steps are left out, with the keys {keys}"] += 1
        return Episode(
            frames=frames,
            actions=self._converted_actions(data.actions, count),
            rewards=self._float32("rewards", data.rewards),
            terminated=terminated,
            truncated=truncated,
            info=info,
        )

    def _frames(self, observations: Any, count: int) -> np.ndarray:
        """Returns the T + 1 frames of an episode with T = ``count`` steps."""
        images = [self._one_frame(observations, step) for step in range(count + 1)]
        self._shape = self._shape or images[0].shape
        for step, image in enumerate(images):
            if image.shape != self._shape:
                raise ValueError(
                    f"observations: expected frames of one shape, got {self._shape} at first, and "
                    f"{image.shape} at step {step}; give a task, which resizes them"
                )
        return np.stack(images)

    def _one_frame(self, observations: Any, step: int) -> np.ndarray:
        observation = _at(observations, step)
        if self._key is not None:
            observation = observation[self._key]
        if self._frame is not None:
            observation = self._frame(observation)
        image = check_frame("observations", observation, where="in the argument 'frame'")
        return image if self._task is None else self._task.fit_frame(image)

    def _converted_actions(self, actions: Any, count: int) -> np.ndarray:
        spec = self._actions
        if spec.is_continuous:
            actions = self._float32("actions", actions)
        return spec.check("actions", actions, (count,))

    def _float32(self, name: str, values: Any) -> np.ndarray:
        """Converts numbers to float32, and notes if that changes some of them."""
        numbers = check_reals(name, values)
        if not np.array_equal(numbers, np.asarray(values)):
            self._losses[f"the {name} are rounded to float32"] += 1
        return numbers

    def _info(self, about: Mapping[str, Any], count: int) -> dict[str, Any]:
        """Makes the ``info`` of an episode of ``count`` steps from the episode's metadata."""
        info: dict[str, Any] = {
            "seed": about.get("seed"),
            "frames": count * self._frame_skip,
        }
        if info["seed"] is None:
            self._losses["there are no seeds, with which to play the episodes again"] += 1
        for name, value in about.items():
            if name in _OWN_METADATA:
                continue
            try:
                info[name] = jsonable(value)
            except (TypeError, ValueError):
                self._losses[f"the metadata {name!r} of episodes are left out"] += 1
        return info


def _image_space(
    space: spaces.Space[Any], key: str | None, frame: Callable[[Any], np.ndarray] | None
) -> spaces.Space[Any]:
    """Returns the space of the part of an observation that becomes a frame.

    Raises:
        ValueError: observations of the space can't be converted to frames.
    """
    if isinstance(space, spaces.Dict):
        names = [name for name, part in space.items() if _may_be_image(part)] or list(space)
        known = " or ".join(map(repr, names))
        if key is None and frame is None:
            raise ValueError(
                f"observation_key: expected the key of an image, because the observations are "
                f"dictionaries, got None; give {known}"
            )
        if key is not None and key not in space.spaces:
            raise ValueError(
                f"observation_key: expected a key of the observations, got {key!r}; give {known}"
            )
    elif key is not None:
        raise ValueError(
            f"observation_key: expected None, because the observations are no dictionaries, got "
            f"{key!r}; leave it out"
        )
    part = space[key] if isinstance(space, spaces.Dict) and key is not None else space
    if frame is None and not _may_be_image(part):
        raise ValueError(
            f"observations: expected images, got {part}; give a function 'frame' that turns an "
            "observation into an image, or collect the frames that the game renders"
        )
    return part


def _may_be_image(space: spaces.Space[Any]) -> bool:
    """Returns True for a space of arrays with at least two axes."""
    return isinstance(space, spaces.Box) and len(space.shape) >= 2


def _action_spec(space: spaces.Space[Any], task: StoreTask | None) -> ActionSpec:
    """Returns the description of a dataset's actions.

    Raises:
        ValueError: the actions are not supported, or are not those of the task.
    """
    try:
        found = ActionSpec.of(space)
    except ValueError as error:
        raise ValueError(
            f"actions: expected a Box of real numbers with one axis, a Discrete, or a "
            f"MultiDiscrete or MultiBinary with one axis, got {space}; write a dataset with "
            "converted actions, using minari.create_dataset_from_buffers"
        ) from error
    if task is not None and found != task.actions:
        raise ValueError(
            f"task: expected a task with the actions {space} of the dataset, got the task "
            f"{task.name!r} with {task.actions.space}; give a Task with the dataset's action space"
        )
    return found


def _completed(infos: Mapping[str, Any] | None, key: str | None) -> bool:
    """Returns True if the info of the last step says that the goal was reached."""
    if key is None or not infos or key not in infos or len(infos[key]) == 0:
        return False
    return bool(infos[key][-1])


def _at(values: Any, step: int) -> Any:
    """Returns the observation at a step, from a dataset's arrays of all steps of an episode."""
    if isinstance(values, Mapping):
        return {key: _at(part, step) for key, part in values.items()}
    if isinstance(values, tuple):
        return tuple(_at(part, step) for part in values)
    if step >= len(values):
        raise ValueError(
            f"observations: expected one more than steps, got only {len(values)}; write the "
            "dataset with an observation after the last step"
        )
    return values[step]
