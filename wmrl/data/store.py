"""Rollout stores: episodes of a game on disk, atomically written, checksummed and lazily read.

A store is a Zarr v3 hierarchy with one group per episode::

    zarr.json                        attributes: format, StoreMetadata
    episodes/00000123/zarr.json      attributes: the episode's summary and info; sizes and SHA-256
                                     of the files below; the digest of the store's metadata
    episodes/00000123/frames/        (T + 1, H, W, C) uint8
    episodes/00000123/actions/       (T, …) float32, int64 or int8
    episodes/00000123/rewards/       (T,) float32
    index.jsonl                      a copy of the summaries, which speeds up opening the store
    lock                             held by processes while they write

Episodes are written atomically, and any number of processes may write different episodes at the
same time.

The attributes in each ``zarr.json`` and each line of ``index.jsonl`` contain a SHA-256 of their
other content. Every chunk of an array has a CRC-32C checksum. Reading a damaged or missing file
raises an error, except for the index, which is rebuilt.
"""

import hashlib
import threading
import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from wmrl.core.frames import stack_frames
from wmrl.core.validation import check_choice
from wmrl.core.warning import WMRLWarning
from wmrl.data._checksums import FileVerifier
from wmrl.data._episode_files import read_episode, read_rows, write_episode
from wmrl.data._store_files import (
    EPISODES,
    INDEX,
    LOCK,
    StoreError,
    append_index,
    create_store,
    episode_indices,
    metadata_digest,
    read_index,
    read_metadata,
    remove_leftovers,
    remove_store,
    write_index,
)
from wmrl.data.episode import Episode, EpisodeSummary, StoreMetadata
from wmrl.storage.locks import LockError, file_lock
from wmrl.storage.options_file import write_options_file

__all__ = ["Episode", "EpisodeSummary", "RolloutStore", "StoreError", "StoreMetadata"]


class RolloutStore:
    """Episodes of one task, stored on disk.

    Args:
        path: folder of the store.
        mode: ``"r"`` to read only, ``"a"`` to read and write.
        metadata: metadata that all episodes share; None to open an existing store, whatever its
            metadata. If there is no store at ``path``, mode ``"a"`` creates one with this metadata.
            An existing store must have equal metadata, with one exception: mode ``"a"`` replaces
            metadata that are damaged, or that belong to a store without episodes.

    Attributes:
        path: folder of the store.
        mode: ``"r"`` or ``"a"``.
        metadata: metadata that all episodes share.

    Raises:
        StoreError: there is no store at ``path``, and none is created; the store is damaged, and
            can't be repaired; the store has another format; or the store's metadata differ from
            ``metadata``.

    Example:
        >>> import numpy as np
        >>> from gymnasium.spaces import Discrete
        >>> from wmrl.data import Episode, RolloutStore, StoreMetadata
        >>> metadata = StoreMetadata(
        ...     task="toy", frame_shape=(8, 8, 3), action_space=Discrete(3), frame_skip=1
        ... )
        >>> store = RolloutStore("rollouts", mode="a", metadata=metadata)
        >>> summary = store.append(
        ...     Episode(
        ...         frames=np.zeros((3, 8, 8, 3), np.uint8),
        ...         actions=np.zeros(2, np.int64),
        ...         rewards=np.ones(2, np.float32),
        ...         terminated=True,
        ...         truncated=False,
        ...     )
        ... )
        >>> summary.index, summary.length, summary.reward
        (0, 2, 2.0)
        >>> RolloutStore("rollouts").frames(0, start=1).shape
        (2, 8, 8, 3)
    """

    def __init__(
        self,
        path: str | Path,
        mode: Literal["r", "a"] = "r",
        *,
        metadata: StoreMetadata | None = None,
    ) -> None:
        check_choice("mode", mode, ("r", "a"))
        self.path = Path(path)
        self.mode = mode
        self._made: list[Path] | None = None
        if mode == "a" and metadata is not None:
            self._made = create_store(self.path, metadata)
        self.metadata = read_metadata(self.path)
        self._digest = metadata_digest(self.metadata)
        if metadata is not None:
            self.check(**{item.name: getattr(metadata, item.name) for item in fields(metadata)})
        self._summaries: dict[int, EpisodeSummary] = {}
        self._index_lock = threading.Lock()
        self._verifier = FileVerifier()
        self.refresh()
        if mode == "a":
            write_options_file(self.path)

    def check(self, **expected: Any) -> Self:
        """Checks that fields of the metadata have the expected values, and returns the store.

        Args:
            expected: expected values by field name.

        Raises:
            StoreError: a field has another value.
        """
        for name, value in expected.items():
            found = getattr(self.metadata, name)
            if found != value:
                raise StoreError(
                    f"{self.path}: expected a store with {name} {value!r}, got {found!r}; use "
                    "another store, or create this one again"
                )
        return self

    def refresh(self) -> None:
        """Reads which episodes are in the store, including those that other processes have written.

        In mode ``"a"``, unless another process is writing, this method also removes files that
        killed writers left behind, and repairs a damaged index. Otherwise a warning names the
        episodes that are in the index, but no longer in the store.

        Raises:
            StoreError: the folder of the episodes is missing, or an episode that is not in the
                index is damaged.
        """
        if self.mode == "a":
            try:
                with file_lock(self.path / LOCK, timeout=0):
                    remove_leftovers(self.path)
                    self._load_summaries(repair=True)
                return
            except (TimeoutError, LockError):
                pass  # others are writing, or nobody can know; reading works all the same
        self._load_summaries(repair=False)

    def _load_summaries(self, *, repair: bool) -> None:
        """Reads the summaries of all episodes.

        Summaries that are missing in the index are read from the folders of the episodes.

        Args:
            repair: True to rewrite the index if it is damaged or does not match the episodes. A
                caller that passes True must hold the store's exclusive lock.
        """
        index = read_index(self.path / INDEX)
        # Writers add an episode's folder before its line, so read in this order, no line of the
        # index is without a folder, unless somebody removed the folder.
        present = episode_indices(self.path)
        lost = sorted(set(index or ()) - set(present))
        if lost and not repair:
            warnings.warn(
                f"{self.path / EPISODES}: {len(lost)} of {len(index or ())} episodes in the index "
                f"are missing, {lost[:10]} for example; the same wmrl collect command collects "
                "them again",
                WMRLWarning,
                stacklevel=4,
            )
        known = {**(index or {}), **self._summaries}
        self._summaries = {
            number: known[number] if number in known else self._read_attributes(number)["summary"]
            for number in present
        }
        if repair and self._summaries != index:
            write_index(self.path / INDEX, self.summaries)

    def __len__(self) -> int:
        return len(self._summaries)

    def __contains__(self, index: object) -> bool:
        return index in self._summaries

    @property
    def indices(self) -> list[int]:
        """Indices of the episodes, ascending."""
        return list(self._summaries)

    @property
    def summaries(self) -> list[EpisodeSummary]:
        """Summaries of all episodes, in order of index."""
        return list(self._summaries.values())

    def summary(self, index: int) -> EpisodeSummary:
        """Returns the summary of an episode.

        Raises:
            StoreError: there is no such episode.
        """
        if index not in self._summaries:
            raise StoreError(
                f"{self.path}: no episode with index {index}; the store has {len(self)} episode(s)"
                + (
                    f" with indices from {min(self._summaries)} to {max(self._summaries)}"
                    if len(self)
                    else ""
                )
            )
        return self._summaries[index]

    def write(self, index: int, episode: Episode) -> EpisodeSummary:
        """Writes an episode at an index of the store, and returns the episode's summary.

        If the store already has the same episode at this index, nothing is written. Several threads
        and processes may write different episodes at the same time.

        Args:
            index: index of the episode in the store, at least 0.
            episode: episode to write.

        Raises:
            StoreError: the store is read-only, the episode doesn't match the store's metadata,
                ``index`` is negative, the store has a different episode at this index, or the
                metadata on disk have changed since the store was opened.
        """
        self._check_writable()
        with file_lock(self.path / LOCK, shared=True, required=False):
            return self._write(index, episode)

    def append(self, episode: Episode, *, timeout: float | None = 600.0) -> EpisodeSummary:
        """Writes an episode at the store's highest index plus 1, and returns the episode's summary.

        If other threads or processes are writing to the store, the call waits for them.

        Args:
            episode: episode to write.
            timeout: number of seconds to wait for other writers; None to wait as long as it takes.

        Raises:
            StoreError: the store is read-only, others are still writing to it after ``timeout``
                seconds, the file system does not support locks, the episode doesn't match the
                store's metadata, or the metadata on disk have changed since the store was opened.
        """
        self._check_writable()
        try:
            with file_lock(self.path / LOCK, timeout=timeout):
                return self._write(max(episode_indices(self.path), default=-1) + 1, episode)
        except TimeoutError as error:
            raise StoreError(f"{error}, or call append with a longer timeout") from error
        except LockError as error:
            raise StoreError(
                f"{error}, or choose the indices yourself and call write(index, episode)"
            ) from error

    def episode(self, index: int) -> Episode:
        """Reads a whole episode.

        Raises:
            StoreError: there is no such episode, or it can't be read.
        """
        summary = self.summary(index)
        return Episode(
            frames=self.frames(index),
            actions=self.actions(index),
            rewards=self.rewards(index),
            terminated=summary.terminated,
            truncated=summary.truncated,
            info=self.info(index),
        )

    def frames(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Reads frames ``[start, stop)`` of an episode (default: all) as ``(N, H, W, C) uint8``."""
        return self._read(index, "frames", start, stop)

    def stacks(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Reads frames ``[start, stop)`` of an episode (default: all) as vision models encode them.

        Each frame is stacked with the K − 1 frames before it in the episode, where K is
        ``metadata.frame_stack`` (see :func:`~wmrl.core.frames.stack_frames`).

        Returns:
            Stacks ``(N, H, W, C · K) uint8``. With K = 1, the stacks are single frames.
        """
        count = self.metadata.frame_stack
        if count == 1:
            return self.frames(index, start, stop)
        start, stop = self._bounds(index, "frames", start, stop)
        past = min(start, count - 1)
        frames = self.frames(index, start - past, stop)
        return stack_frames(frames, count, np.arange(past, len(frames)))

    def actions(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Reads actions ``[start, stop)`` of an episode (default: all) as ``(N, *shape)``.

        The shape and dtype of an action are those of ``metadata.action_space``.
        """
        return self._finite(index, "actions", self._read(index, "actions", start, stop))

    def rewards(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Reads rewards ``[start, stop)`` of an episode (default: all) as ``(N,) float32``."""
        return self._finite(index, "rewards", self._read(index, "rewards", start, stop))

    def info(self, index: int) -> dict[str, Any]:
        """Reads the ``info`` of an episode, which describes its origin."""
        self.summary(index)
        info: dict[str, Any] = self._read_attributes(index)["info"]
        return info

    def content_hash(self) -> str:
        """Computes the SHA-256 of the episodes' indices and digests.

        The hash depends neither on the number of processes that wrote the episodes nor on the order
        of writing.
        """
        sha = hashlib.sha256()
        for summary in self._summaries.values():
            sha.update(f"{summary.index} {summary.digest}\n".encode())
        return sha.hexdigest()

    def verify(self, indices: Sequence[int] | None = None) -> None:
        """Checks that episodes can be read and match their recorded digests.

        All files of these episodes are read from disk again.

        Args:
            indices: indices of the episodes to check; None for all episodes.

        Raises:
            StoreError: an episode can't be read, or has changed since it was written; or the
                store's metadata have changed since the store was opened.
        """
        self._check_metadata()
        self._verifier.clear()
        damaged = {}
        for index in self.indices if indices is None else indices:
            try:
                self._verify(index)
            except StoreError as error:
                damaged[index] = error
        if damaged:
            first, *more = damaged
            also = f"; episodes that are also damaged: {', '.join(map(str, more))}" if more else ""
            raise StoreError(f"{damaged[first]}{also}") from damaged[first]

    def discard_unused(self) -> None:
        """Removes the store if it has no episodes and this object has written its metadata.

        This object has written the metadata if it created the store or replaced old metadata.
        Nothing is removed while another process is writing to the store.
        """
        if self._made is not None and not episode_indices(self.path):
            remove_store(self.path, self._made)

    def _folder(self, index: int) -> Path:
        return self.path / EPISODES / f"{index:08d}"

    def _verify(self, index: int) -> None:
        """Checks that an episode can be read and matches its recorded digest."""
        if self.episode(index).digest() != self.summary(index).digest:
            raise StoreError(
                f"{self._folder(index)}: damaged (its SHA-256 differs from the recorded one); "
                "delete this folder and repeat the same wmrl collect command"
            )

    def _check_writable(self) -> None:
        if self.mode != "a":
            raise StoreError(f"{self.path}: open for reading only; open it with mode='a' to write")
        if not self.path.is_dir():
            raise StoreError(
                f"{self.path}: the store was removed while it was open; to create a new store, "
                "open the path again with mode='a' and metadata"
            )

    def _check_metadata(self) -> None:
        """Checks that the metadata on disk have not changed since the store was opened."""
        if read_metadata(self.path) != self.metadata:
            raise StoreError(
                f"{self.path}: metadata have changed since the store was opened; open the store "
                "again"
            )

    def _check_episode(self, index: int, episode: Episode) -> None:
        if index < 0:
            raise StoreError(f"index: expected at least 0, got {index}")
        for name, expected, got in (
            ("frames", self.metadata.frame_shape, episode.frames.shape[1:]),
            ("actions", self.metadata.action_space.shape, episode.actions.shape[1:]),
        ):
            if expected != got:
                raise StoreError(
                    f"{self.path}: {name}: expected shape ({', '.join(map(str, ('T', *expected)))})"
                    f" as in the store's metadata, got ({', '.join(map(str, ('T', *got)))})"
                )
        spec = self.metadata.action_space
        if episode.actions.dtype != spec.dtype:
            raise StoreError(
                f"{self.path}: actions: expected dtype {spec.dtype} as in the store's metadata, "
                f"got {episode.actions.dtype}"
            )
        if not spec.is_continuous:  # an episode has checked its numbers itself
            try:
                spec.check("actions", episode.actions, (len(episode),))
            except ValueError as error:
                raise StoreError(f"{self.path}: {error}") from error

    def _write(self, index: int, episode: Episode) -> EpisodeSummary:
        """Writes an episode, and returns its summary; the caller must hold the store's lock."""
        self._check_metadata()
        self._check_episode(index, episode)
        summary = EpisodeSummary(
            index=index,
            length=len(episode),
            reward=float(np.sum(episode.rewards, dtype=np.float64)),
            terminated=bool(episode.terminated),
            truncated=bool(episode.truncated),
            digest=episode.digest(),
        )
        folder = self._folder(index)
        if not write_episode(folder, summary, episode, self._digest):
            found = read_episode(folder, self._digest)["summary"]
            if found != summary:
                raise StoreError(
                    f"{self.path}: expected an unused index, got {index}, the index of a different "
                    "episode; use another index"
                )
        with self._index_lock:
            if index not in self._summaries:
                append_index(self.path / INDEX, [summary])
            self._summaries = dict(sorted({**self._summaries, index: summary}.items()))
        return summary

    def _bounds(self, index: int, name: str, start: int, stop: int | None) -> tuple[int, int]:
        """Checks a range of rows in an episode's array, and returns the range's start and stop."""
        length = self._length(index, name)
        stop = length if stop is None else stop
        if not 0 <= start <= stop <= length:
            raise ValueError(
                f"start, stop: expected 0 ≤ start ≤ stop ≤ {length} for {name} of episode "
                f"{index}, got {start} and {stop}"
            )
        return start, stop

    def _length(self, index: int, name: str) -> int:
        return self.summary(index).length + (name == "frames")

    def _read(self, index: int, name: str, start: int, stop: int | None) -> np.ndarray:
        actions = self.metadata.action_space
        row, dtype = {
            "frames": (self.metadata.frame_shape, np.dtype(np.uint8)),
            "actions": (actions.shape, actions.dtype),
            "rewards": ((), np.dtype(np.float32)),
        }[name]
        return read_rows(
            self._folder(index),
            name,
            slice(*self._bounds(index, name, start, stop)),
            shape=(self._length(index, name), *row),
            dtype=dtype,
            files=self._read_attributes(index)["files"],
            verifier=self._verifier,
        )

    def _finite(self, index: int, name: str, array: np.ndarray) -> np.ndarray:
        """Checks that an array of an episode contains only finite numbers, and returns it."""
        if not np.isfinite(array).all():
            raise StoreError(
                f"{self._folder(index) / name}: expected finite numbers, got NaN or infinity; "
                f"delete {self._folder(index)} and collect the episode again"
            )
        return array

    def _read_attributes(self, index: int) -> dict[str, Any]:
        """Reads and verifies the attributes of an episode: ``summary``, ``info`` and ``files``."""
        folder = self._folder(index)
        attributes = read_episode(folder, self._digest)
        known = self._summaries.get(index)
        if known is not None and known != attributes["summary"]:
            raise StoreError(
                f"{folder}: differs from its line in the index, or has changed since the store was "
                f"opened; delete {self.path / INDEX} and open the store again (this rebuilds the "
                "index)"
            )
        return attributes
