"""Rollout stores: episodes of a game on disk, atomically written, checksummed and lazily read.

A store is a Zarr v3 hierarchy with one group per episode::

    zarr.json                        attributes: format, StoreMetadata
    episodes/00000123/zarr.json      attributes: the episode's summary and info
    episodes/00000123/frames/        (T + 1, H, W, 3) uint8
    episodes/00000123/actions/       (T, A) float32
    episodes/00000123/rewards/       (T,) float32
    index.jsonl                      a copy of the summaries, which speeds up opening the store

Episodes are written atomically, and any number of processes may write different episodes at once.
Every chunk has a CRC-32C checksum.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import zarr

from wmrl.core.validation import check_choice
from wmrl.data._store_files import (
    EPISODES,
    StoreError,
    append_index,
    create_store,
    read_index,
    read_metadata,
    write_array,
)
from wmrl.data.episode import Episode, EpisodeSummary, StoreMetadata
from wmrl.storage.files import atomic_path

__all__ = ["Episode", "EpisodeSummary", "RolloutStore", "StoreError", "StoreMetadata"]

_INDEX = "index.jsonl"


class RolloutStore:
    """Episodes of one task, stored on disk.

    Args:
        path: folder of the store.
        mode: ``"r"`` to read only, ``"a"`` to read and write.
        metadata: metadata that all episodes share. If there is no store at ``path``, mode ``"a"``
            creates one with this metadata. An existing store must have equal metadata. None to open
            an existing store with any metadata.

    Attributes:
        path: folder of the store.
        mode: ``"r"`` or ``"a"``.
        metadata: metadata that all episodes share.

    Raises:
        StoreError: the store is missing, damaged or of another format, or has other metadata.

    Example:
        >>> import numpy as np
        >>> from wmrl.data import Episode, RolloutStore, StoreMetadata
        >>> metadata = StoreMetadata(task="toy", frame_shape=(8, 8, 3), action_dim=1, frame_skip=1)
        >>> store = RolloutStore("rollouts", mode="a", metadata=metadata)
        >>> summary = store.append(
        ...     Episode(
        ...         frames=np.zeros((3, 8, 8, 3), np.uint8),
        ...         actions=np.zeros((2, 1), np.float32),
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
        if mode == "a" and metadata is not None and not (self.path / "zarr.json").exists():
            create_store(self.path, metadata)
        self.metadata = read_metadata(self.path)
        if metadata is not None:
            self.check(**{item.name: getattr(metadata, item.name) for item in fields(metadata)})
        self._summaries: dict[int, EpisodeSummary] = {}
        self._index_lock = threading.Lock()
        self.refresh()

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
        """Adds episodes that other processes have written since the last refresh."""
        present = {
            int(entry.name) for entry in os.scandir(self.path / EPISODES) if entry.name.isdigit()
        }
        known = {**read_index(self.path / _INDEX), **self._summaries}
        missing = sorted(present - known.keys())
        found = [self._read_summary(index) for index in missing]
        if self.mode == "a":
            self._clear(present)
            if found:
                append_index(self.path / _INDEX, found)
        known.update((summary.index, summary) for summary in found)
        self._summaries = {index: known[index] for index in sorted(present)}

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
        """Writes an episode and returns its summary.

        If the store already contains the same episode at that index, nothing is written. Threads
        and processes may write different episodes at once.

        Raises:
            StoreError: the store is read-only, the episode doesn't match the store's metadata,
                ``index`` is negative, or the store has a different episode with that index.
        """
        if self.mode != "a":
            raise StoreError(f"{self.path}: opened to read only; open it with mode='a' to write")
        self._check_episode(index, episode)
        summary = EpisodeSummary(
            index=index,
            length=len(episode),
            reward=float(np.sum(episode.rewards, dtype=np.float64)),
            terminated=bool(episode.terminated),
            truncated=bool(episode.truncated),
            digest=episode.digest(),
        )
        if not self._place(summary, episode):
            found = self._read_summary(index)
            if found != summary:
                raise StoreError(
                    f"{self.path}: expected an unused index, got {index}, the index of a different "
                    "episode; use another index"
                )
            summary = found
        with self._index_lock:
            if index not in self._summaries:
                append_index(self.path / _INDEX, [summary])
            self._summaries = dict(sorted({**self._summaries, index: summary}.items()))
        return summary

    def append(self, episode: Episode) -> EpisodeSummary:
        """Writes an episode after the last one in the store, and returns its summary."""
        return self.write(max(self._summaries, default=-1) + 1, episode)

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
        """Reads frames ``[start, stop)`` of an episode, by default all: ``(N, H, W, 3) uint8``."""
        return self._read(index, "frames", start, stop)

    def actions(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Reads actions ``[start, stop)`` of an episode, by default all: ``(N, A) float32``."""
        return self._finite(index, "actions", self._read(index, "actions", start, stop))

    def rewards(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Reads rewards ``[start, stop)`` of an episode, by default all: ``(N,) float32``."""
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
        """Checks that episodes, by default all, can be read and match their digests.

        Raises:
            StoreError: an episode can't be read, or has changed since it was written.
        """
        for index in self.indices if indices is None else indices:
            if self.episode(index).digest() != self.summary(index).digest:
                raise StoreError(
                    f"{self._folder(index)}: damaged (its SHA-256 differs from the recorded one); "
                    "delete this folder and collect the episode again"
                )

    def _folder(self, index: int) -> Path:
        return self.path / EPISODES / f"{index:08d}"

    def _check_episode(self, index: int, episode: Episode) -> None:
        if index < 0:
            raise StoreError(f"index: expected at least 0, got {index}")
        for name, expected, got in (
            ("frames", self.metadata.frame_shape, episode.frames.shape[1:]),
            ("actions", (self.metadata.action_dim,), episode.actions.shape[1:]),
        ):
            if expected != got:
                raise StoreError(
                    f"{self.path}: {name}: expected shape (T, {', '.join(map(str, expected))}) "
                    f"as in the store's metadata, got (T, {', '.join(map(str, got))})"
                )

    def _place(self, summary: EpisodeSummary, episode: Episode) -> bool:
        """Writes an episode's folder; returns False if the folder exists already."""
        folder = self._folder(summary.index)
        if folder.exists():
            return False
        attributes = {"summary": asdict(summary), "info": dict(episode.info)}
        try:
            with atomic_path(folder) as aside:
                group = zarr.create_group(aside, attributes=attributes)
                for name in ("frames", "actions", "rewards"):
                    write_array(group, name, getattr(episode, name))
        except OSError:
            if folder.exists():  # another process was faster
                return False
            raise
        finally:
            # Temporary folders that killed writers of this episode left behind.
            for left in folder.parent.glob(f".{folder.name}.*"):
                shutil.rmtree(left, ignore_errors=True)
        return True

    def _clear(self, present: set[int]) -> None:
        """Removes temporary folders that killed writers of the given episodes have left behind."""
        for left in (self.path / EPISODES).glob(".*"):
            number = left.name[1:].partition(".")[0]
            if number.isdigit() and int(number) in present:
                shutil.rmtree(left, ignore_errors=True)

    def _read(self, index: int, name: str, start: int, stop: int | None) -> np.ndarray:
        length = self.summary(index).length + (name == "frames")
        stop = length if stop is None else stop
        if not 0 <= start <= stop <= length:
            raise ValueError(
                f"start, stop: expected 0 ≤ start ≤ stop ≤ {length} for {name} of episode "
                f"{index}, got {start} and {stop}"
            )
        path = self._folder(index) / name
        try:
            array = zarr.open_array(path, mode="r")
            if array.shape[0] != length:
                raise ValueError(f"expected {length} rows, got {array.shape[0]}")
            return np.asarray(array[start:stop])
        except Exception as error:
            raise StoreError(
                f"{path}: missing or damaged ({error}); delete {path.parent} and collect the "
                "episode again"
            ) from error

    def _finite(self, index: int, name: str, array: np.ndarray) -> np.ndarray:
        """Checks numbers of an episode, which another program or release may have written."""
        if not np.isfinite(array).all():
            raise StoreError(
                f"{self._folder(index) / name}: expected finite numbers, got NaN or infinity; "
                f"delete {self._folder(index)} and collect the episode again"
            )
        return array

    def _read_attributes(self, index: int) -> dict[str, Any]:
        path = self._folder(index) / "zarr.json"
        try:
            attributes: dict[str, Any] = json.loads(path.read_bytes())["attributes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path}: missing or damaged; delete {path.parent} and collect the episode again"
            ) from error
        return attributes

    def _read_summary(self, index: int) -> EpisodeSummary:
        try:
            return EpisodeSummary(**self._read_attributes(index)["summary"])
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"{self._folder(index)}: not an episode of a rollout store; delete this folder and "
                "collect the episode again"
            ) from error
