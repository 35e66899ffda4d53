"""Import of Minari datasets as rollout stores."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wmrl.core.validation import check_int
from wmrl.core.warning import WMRLWarning
from wmrl.data.episode import StoreMetadata
from wmrl.data.store import RolloutStore
from wmrl.export._minari_format import dataset_folder, read_store_metadata
from wmrl.export._minari_reader import EpisodeReader, StoreTask
from wmrl.export._packages import import_packages
from wmrl.storage.files import atomic_path
from wmrl.storage.recognition import recognize
from wmrl.training.progress import progress_bar

if TYPE_CHECKING:
    from minari import MinariDataset


class MinariWarning(WMRLWarning):
    """Warning about what a rollout store can't hold of a Minari dataset."""


def from_minari(
    dataset: "MinariDataset | str | Path",
    path: str | Path,
    *,
    task: StoreTask | None = None,
    frame_skip: int = 1,
    observation_key: str | None = None,
    frame: Callable[[Any], np.ndarray] | None = None,
    progress: bool = True,
) -> RolloutStore:
    """Imports a Minari dataset as a rollout store.

    From a dataset that :func:`~wmrl.export.minari_export.to_minari` wrote, an equal store is
    restored. Only ``dataset`` and ``path`` are then needed.

    Any other dataset needs observations that are images, or that a function ``frame`` turns into
    images. The ``info`` of a stored episode has its ``"seed"`` (None if the dataset has none), the
    number ``"frames"`` of base frames, and the episode's other metadata, such as ``"options"``.
    Rewards and continuous actions become float32. What a store can't hold is left out with a
    :class:`MinariWarning` that says what it is, for example the infos of single steps.

    With a task, frames are cropped and resized as in the task, and the ends of episodes are
    recorded as :func:`~wmrl.agents.rollouts.collection.collect` does: an episode that reached its
    goal counts as truncated, and a final frame that is not a picture of the game is replaced.

    RAM holds one episode at a time. The store appears as a whole: if the import fails, nothing
    remains.

    The extra ``minari`` is required: ``pip install "wmrl[minari]"``.

    Args:
        dataset: Minari dataset, its id in Minari's data folder, or the path of its folder. If the
            dataset is filtered, only its remaining episodes are imported.
        path: folder of the new store.
        task: task whose game was played, such as ``find_task("ALE/Boxing-v5")``. If None, frames
            stay as they are, and the store names the environment of the dataset as its task.
        frame_skip: number of base frames per step of the dataset. With the default, a step of the
            dataset counts as one base frame.
        observation_key: key of the image, for observations that are dictionaries.
        frame: function that turns the observation of a step, or its part ``observation_key``, into
            an image ``(H, W, 3) uint8`` or, if gray, ``(H, W, 1)`` or ``(H, W) uint8``. If None,
            the observation must be such an image.
        progress: True to show a progress bar.

    Returns:
        The store, which is open for reading. :func:`to_minari` has an example.

    Raises:
        ImportError: Minari is not installed.
        StoreError: an episode doesn't match the others, for example in the shape of its frames.
        ValueError: there is no such dataset, or there is something at ``path``; or the observations
            are not images, the actions are not supported or not those of the task, or the dataset
            does not say which game was played; or the dataset holds a store, and other arguments
            contradict it.
    """
    import_packages("minari", "minari", "h5py")
    check_int("frame_skip", frame_skip, at_least=1)
    path = Path(path)
    found = recognize(path)
    if found.kind not in ("nothing", "empty"):
        raise ValueError(
            f"path: expected a new or empty folder, got {found.description} at {path}; choose "
            "another path"
        )
    dataset = _open_dataset(dataset)
    restored = read_store_metadata(dataset)
    if restored is not None:
        _check_no_options(dataset, restored, task, frame_skip, observation_key, frame)
        task = None
    reader = EpisodeReader(dataset, task, frame_skip, observation_key, frame)
    with (
        atomic_path(path) as aside,
        progress_bar("import", total=len(dataset), show=progress, unit="episodes") as advance,
    ):
        store = None
        for number, (index, episode) in enumerate(reader.episodes()):
            if store is None:
                metadata = restored or reader.metadata(episode)
                store = RolloutStore(aside, "a", metadata=metadata)
            store.write(index, episode)
            advance(number + 1)
        if store is None:
            raise ValueError(
                f"dataset: expected episodes, got none in {dataset.id}; give another dataset"
            )
    for note in reader.notes():
        warnings.warn(note, MinariWarning, stacklevel=2)
    return RolloutStore(path)


def _open_dataset(dataset: "MinariDataset | str | Path") -> "MinariDataset":
    """Opens a dataset.

    Args:
        dataset: dataset, its id, or the path of its folder.

    Raises:
        ValueError: there is no such dataset, or the installed Minari can't read it.
    """
    from minari import MinariDataset

    if isinstance(dataset, MinariDataset):
        return dataset
    folder = Path(dataset)
    if not (folder / "data").is_dir():
        folder = dataset_folder(str(dataset), name="dataset")
    if not (folder / "data").is_dir():
        raise ValueError(
            f"dataset: expected the id of a Minari dataset, or the path of its folder, got "
            f"{str(dataset)!r}, and nothing in {folder}; 'minari list local' lists the ids, and "
            f"'minari download {dataset}' downloads a dataset"
        )
    try:
        return MinariDataset(folder / "data")
    except (AssertionError, KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"dataset: expected a dataset that the installed Minari can read, got {folder} "
            f"({error}); export or download it again"
        ) from error


def _check_no_options(
    dataset: "MinariDataset",
    metadata: StoreMetadata,
    task: StoreTask | None,
    frame_skip: int,
    observation_key: str | None,
    frame: Callable[[Any], np.ndarray] | None,
) -> None:
    """Raises ``ValueError`` if options contradict the store that a dataset holds."""
    for name, fits in (
        ("task", task is None or task.name == metadata.task),
        ("frame_skip", frame_skip in (1, metadata.frame_skip)),
        ("observation_key", observation_key is None),
        ("frame", frame is None),
    ):
        if not fits:
            raise ValueError(
                f"{name}: expected no value, because {dataset.id} holds a rollout store of the "
                f"task {metadata.task!r} with frame_skip {metadata.frame_skip}, which is restored "
                "as it is; leave the argument out"
            )
