"""Writing and reading of a rollout store's episodes, each of which has a folder."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from wmrl.data._checksums import FileVerifier, read_attributes, record_files
from wmrl.data._store_files import StoreError
from wmrl.data.episode import Episode, EpisodeSummary
from wmrl.storage.files import atomic_path
from wmrl.storage.reading import with_checksum, without_checksum

_ARRAYS = ("frames", "actions", "rewards")
_CHUNK_BYTES = 2**19
# Black frames are compressed to 1/15,000 of their size, and whole megabytes of them to 1/32,000.
_MAX_RATIO = 2**16


def write_episode(folder: Path, summary: EpisodeSummary, episode: Episode, store: str) -> bool:
    """Writes the folder of an episode atomically; returns False if the folder exists already.

    Args:
        folder: folder to create for the episode.
        summary: summary of the episode.
        episode: episode to write.
        store: SHA-256 of the store's metadata, which is recorded in the folder.
    """
    if folder.exists():
        return False
    try:
        with atomic_path(folder) as aside:
            for name in _ARRAYS:
                _write_array(aside / name, getattr(episode, name))
            content = {
                "summary": asdict(summary),
                "info": dict(episode.info),
                "store": store,
                "files": record_files(aside),
            }
            zarr.create_group(aside, attributes=with_checksum(content))
    except OSError:
        if folder.exists():  # another process was faster
            return False
        raise
    return True


def read_episode(folder: Path, store: str) -> dict[str, Any]:
    """Reads and verifies the attributes of an episode.

    Args:
        folder: folder of the episode.
        store: SHA-256 of the store's metadata, which the folder must have recorded.

    Returns:
        A dictionary with ``summary`` (an :class:`EpisodeSummary`), ``info`` (a dictionary that
        describes the episode's origin) and ``files`` (size and SHA-256 of each file by relative
        path).

    Raises:
        StoreError: the attributes are missing or damaged, or belong to another episode or store.
    """
    try:
        content = without_checksum(read_attributes(folder / "zarr.json"))
        summary = EpisodeSummary(**content["summary"])
        info, files = dict(content["info"]), dict(content["files"])
        belongs = content["store"] == store and f"{summary.index:08d}" == folder.name
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder / "zarr.json", folder, error) from error
    if not belongs:
        raise StoreError(
            f"{folder}: belongs to a store with other metadata, or was renamed; delete this folder "
            "and repeat the same wmrl collect command"
        )
    return {"summary": summary, "info": info, "files": files}


def read_rows(
    folder: Path,
    name: str,
    rows: slice,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    files: dict[str, Any],
    verifier: FileVerifier,
) -> np.ndarray:
    """Reads a range of rows from one array of an episode.

    The array is at most 2¹⁶ times as large as its files, also if its metadata is forged.

    Args:
        folder: folder of the episode.
        name: ``"frames"``, ``"actions"`` or ``"rewards"``.
        rows: range to read along the first axis.
        shape: expected shape of the array.
        dtype: expected dtype of the array.
        files: recorded size and SHA-256 of each file of the episode, by relative path.
        verifier: verifier that compares the files with ``files``.

    Raises:
        StoreError: the array is missing or damaged.
    """
    path = folder / name
    own = {file: record for file, record in files.items() if file.startswith(f"{name}/")}
    try:
        # Zarr would read a chunk that is missing as zeros.
        verifier.verify(folder, own)
        array = zarr.open_array(path, mode="r", zarr_format=3)
        _check_layout(array, shape, dtype, sum(size for size, _ in own.values()))
        data = np.asarray(array[rows])
        verifier.verify(folder, own)  # nor has a file vanished while it was read
    except Exception as error:
        raise _damaged(path, folder, error) from error
    return data


def _write_array(path: Path, data: np.ndarray) -> None:
    """Writes an array as one Zarr shard of compressed chunks, each with a checksum."""
    chunks, shards = _layout(data.shape, data.dtype)
    array = zarr.create_array(
        path,
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        shards=shards,
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        config={"write_empty_chunks": True},  # black frames, too
    )
    array[...] = data


def _layout(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the shapes of the chunks and of the shard of an array."""
    length, row_bytes = shape[0], max(1, math.prod(shape[1:]) * dtype.itemsize)
    rows = min(max(1, _CHUNK_BYTES // row_bytes), max(1, length))
    return (rows, *shape[1:]), (max(1, -(-length // rows)) * rows, *shape[1:])


def _check_layout(
    array: "zarr.Array[Any]", shape: tuple[int, ...], dtype: np.dtype[Any], size: int
) -> None:
    """Checks that an array is as :func:`_write_array` writes it, and that its files can hold it.

    Args:
        array: array, of which nothing is read.
        shape: expected shape.
        dtype: expected dtype.
        size: size of the array's files in bytes.

    Raises:
        ValueError: the array has another shape, dtype or layout, or is larger than its files can
            hold.
    """
    chunks, shards = _layout(shape, dtype)
    got = (array.shape, array.dtype, array.chunks, array.shards)
    if got != (shape, dtype, chunks, shards):
        raise ValueError(
            f"expected an array of shape {shape} and dtype {dtype} in chunks of {chunks} and a "
            f"shard of {shards}, got shape {got[0]}, dtype {got[1]}, chunks of {got[2]} and a "
            f"shard of {got[3]}"
        )
    claimed = math.prod(shards) * dtype.itemsize
    if claimed > _MAX_RATIO * size:
        raise ValueError(
            f"expected at most {_MAX_RATIO} times the {size} bytes of the array's files, got an "
            f"array of {claimed} bytes"
        )


def _damaged(path: Path, folder: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path}: missing or damaged ({error}); delete {folder} and repeat the same wmrl collect "
        "command, which collects the episode again"
    )
