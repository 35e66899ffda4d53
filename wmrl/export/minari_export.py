"""Export of rollout stores as Minari datasets."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wmrl.data.episode import Episode
from wmrl.data.store import RolloutStore, StoreError
from wmrl.export._minari_format import (
    KEY,
    dataset_folder,
    describe_episode,
    describe_store,
    frame_space,
)
from wmrl.storage.files import atomic_path
from wmrl.training.progress import progress_bar

if TYPE_CHECKING:
    from minari import MinariDataset
    from minari.dataset.minari_storage import MinariStorage

_LARGEST_SEED = 2**63 - 1  # of HDF5's integers
_CHUNK_BYTES = 2**19
_GZIP_LEVEL = 1  # higher levels take several times as long, and save a few percent
_FILE = "main_data.hdf5"  # as Minari names it


def to_minari(
    store: RolloutStore | str | Path, dataset_id: str, *, progress: bool = True
) -> "MinariDataset":
    """Exports a rollout store as a Minari dataset, without loss.

    Frames are the observations, losslessly compressed (gzip, not Minari's default JPEG). An episode
    of T agent steps has T + 1 of them; the last one is the frame after the end. Actions, rewards
    and seeds are Minari's own. The metadata of the store, and the index and the ``info`` of each
    episode, are kept in the dataset's metadata under the key ``"wmrl"``.
    :func:`~wmrl.export.minari_import.from_minari` thus restores an equal store.

    RAM holds one episode at a time. The dataset appears as a whole: if the export fails, nothing
    remains.

    The extra ``minari`` is required: ``pip install "wmrl[minari]"``.

    Args:
        store: rollout store, or its path.
        dataset_id: id of the new dataset, such as ``"car-racing/random-v0"``. The dataset is
            written below Minari's data folder: that of the environment variable
            ``MINARI_DATASETS_PATH``, or else ``~/.minari/datasets``.
        progress: True to show a progress bar.

    Returns:
        The dataset. ``dataset.storage.data_path`` is where its files are, and
        ``dataset.storage.update_metadata`` adds metadata, such as its author.

    Raises:
        ImportError: Minari is not installed.
        StoreError: the store can't be read, has no episodes, or has one without agent steps, which
            Minari can't hold.
        ValueError: the id is malformed, or there is a dataset with this id.

    Example:
        >>> from wmrl.agents import collect
        >>> from wmrl.export import from_minari, to_minari
        >>> store = collect(
        ...     "car-racing", "rollouts", episodes=1, num_envs=1, workers=0, progress=False
        ... )
        >>> dataset = to_minari(store, "car-racing/random-v0", progress=False)
        >>> dataset[0].observations.shape[1:], dataset.action_space
        ((64, 64, 3), Box(-1.0, 1.0, (2,), float32))
        >>> again = from_minari(dataset, "again", progress=False)
        >>> again.content_hash() == store.content_hash()
        True
    """
    folder = dataset_folder(dataset_id)
    from minari import MinariDataset

    store = store if isinstance(store, RolloutStore) else RolloutStore(store)
    _check_store(store)
    if folder.exists():
        raise ValueError(
            f"dataset_id: expected a new id, got {dataset_id!r}, which exists in {folder}; raise "
            "the version at its end, or delete it with minari.delete_dataset"
        )
    with (
        _new_folder(folder, dataset_id) as aside,
        progress_bar("export", total=len(store), show=progress, unit="episodes") as advance,
    ):
        storage = _create_storage(aside / "data", store, dataset_id)
        for number, index in enumerate(store.indices):
            _write_episode(storage, number, index, store.episode(index))
            advance(number + 1)
    return MinariDataset(folder / "data")


def _check_store(store: RolloutStore) -> None:
    """Raises ``StoreError`` if Minari can't hold the episodes of a store."""
    if len(store) == 0:
        raise StoreError(
            f"store: expected episodes in {store.path}, got none; record some with wmrl collect"
        )
    for summary in store.summaries:
        if summary.length == 0:
            raise StoreError(
                f"store: expected episodes of at least one agent step in {store.path}, got none in "
                f"episode {summary.index}, which Minari can't hold; delete that episode's folder"
            )


@contextmanager
def _new_folder(folder: Path, dataset_id: str) -> Iterator[Path]:
    """Yields a temporary folder, which gets the name ``folder`` at the end of the ``with`` block.

    The namespaces of the dataset, which are the folders between Minari's data folder and
    ``folder``, are registered as well. If the block fails, folders that were created and are empty
    are removed again.
    """
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import create_namespace, list_local_namespaces

    namespace = parse_dataset_id(dataset_id)[0]
    made = [each for each in folder.parents if not each.exists()]
    try:
        with atomic_path(folder) as aside:
            aside.mkdir()
            yield aside
            if namespace is not None and namespace not in list_local_namespaces():
                create_namespace(namespace)
    except BaseException:
        with suppress(OSError):  # others have written to it in the meantime
            for each in made:
                each.rmdir()
        raise


def _create_storage(path: Path, store: RolloutStore, dataset_id: str) -> "MinariStorage":
    """Creates the files of a dataset without episodes."""
    import minari
    from minari.dataset.minari_storage import MinariStorage

    metadata = store.metadata
    storage = MinariStorage.new(
        path,
        observation_space=frame_space(metadata.frame_shape),
        action_space=metadata.action_space.space,
        data_format="hdf5",
        jpeg_encoding=False,
    )
    about: dict[str, Any] = {
        "dataset_id": dataset_id,
        "minari_version": minari.__version__,
        "description": (
            f"Frames of the task {metadata.task}; a step lasts {metadata.frame_skip} frame(s) of "
            "the game."
        ),
        KEY: describe_store(metadata),
    }
    if isinstance(metadata.policy.get("name"), str):
        about["algorithm_name"] = metadata.policy["name"]
    storage.update_metadata(about)
    return storage


def _write_episode(storage: "MinariStorage", number: int, index: int, episode: Episode) -> None:
    """Writes an episode to the files of a dataset.

    Args:
        storage: files of the dataset.
        number: number of the episode in the dataset.
        index: index of the episode in the store.
        episode: content of the episode.
    """
    from minari.data_collector import EpisodeBuffer

    flags = np.zeros((2, len(episode)), np.bool_)  # terminations and truncations
    flags[:, -1] = episode.terminated, episode.truncated
    seed = episode.info.get("seed")
    _prepare_frames(storage, number, episode.frames)
    storage.update_episodes(
        [
            EpisodeBuffer(
                id=number,
                seed=seed if _is_seed(seed) else None,
                observations=episode.frames,
                actions=episode.actions,
                rewards=episode.rewards,
                terminations=flags[0],
                truncations=flags[1],
                infos={},
            )
        ]
    )
    storage.update_episode_metadata([{KEY: describe_episode(index, episode.info)}], [number])


def _is_seed(value: Any) -> bool:
    """Returns True for a seed that Minari can hold. The record of the episode holds any other."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_SEED


def _prepare_frames(storage: "MinariStorage", number: int, frames: np.ndarray) -> None:
    """Creates an empty, compressed array for the frames of an episode.

    Minari itself creates arrays without compression, but appends to those that exist.
    """
    import h5py

    rows = min(len(frames), max(1, _CHUNK_BYTES // frames[0].nbytes))
    with h5py.File(storage.data_path / _FILE, "a", track_order=True) as file:
        file.create_dataset(
            f"episode_{number}/observations",
            shape=(0, *frames.shape[1:]),
            maxshape=(None, *frames.shape[1:]),
            chunks=(rows, *frames.shape[1:]),
            dtype=frames.dtype,
            compression="gzip",
            compression_opts=_GZIP_LEVEL,
        )
