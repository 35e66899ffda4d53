"""Reading and writing of a rollout store's files: metadata, index and arrays."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from wmrl.data.episode import EpisodeSummary, StoreMetadata
from wmrl.storage.files import write_bytes
from wmrl.storage.recognition import did_you_mean, recognize

FORMAT_VERSION = 2
# Releases that can read earlier format versions.
_READERS = {1: "wmrl 0.1"}
EPISODES = "episodes"

_CHUNK_BYTES = 2**19


class StoreError(ValueError):
    """Error raised if a rollout store is missing, damaged or incompatible, or lacks an episode."""


def create_store(path: Path, metadata: StoreMetadata) -> None:
    """Creates an empty store atomically; several processes may do so at once."""
    (path / EPISODES).mkdir(parents=True, exist_ok=True)
    attributes = {"wmrl_store": FORMAT_VERSION, **asdict(metadata)}
    with TemporaryDirectory() as folder:
        zarr.create_group(folder, attributes=attributes)
        write_bytes(path / "zarr.json", (Path(folder) / "zarr.json").read_bytes())


def read_metadata(path: Path) -> StoreMetadata:
    """Reads the metadata of a store.

    Raises:
        StoreError: there is no store at ``path``, or the store is damaged or of another format.
    """
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
        version = attributes["wmrl_store"]
        if version == FORMAT_VERSION:
            names = [item.name for item in fields(StoreMetadata)]
            return StoreMetadata(**{name: attributes[name] for name in names})
    except (FileNotFoundError, NotADirectoryError) as error:
        found = recognize(path)
        got = "" if found.kind in ("nothing", "empty") else f", got {found.description}"
        raise StoreError(
            f"{path}: no rollout store there{got}{did_you_mean(path, 'store')}; record one "
            "with wmrl collect, or create one by passing mode='a' and metadata"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: not a rollout store (its zarr.json is invalid); use another path"
        ) from error
    raise StoreError(
        f"{path}: expected format version {FORMAT_VERSION}, got {version!r}; open the store with "
        f"{_READERS.get(version, 'a newer wmrl')}, or collect the episodes again"
    )


def write_array(group: zarr.Group, name: str, data: np.ndarray) -> None:
    """Writes an array as one Zarr shard of compressed chunks, each with a checksum."""
    row_bytes = max(1, math.prod(data.shape[1:]) * data.itemsize)
    rows = min(max(1, _CHUNK_BYTES // row_bytes), max(1, len(data)))
    chunks = (rows, *data.shape[1:])
    array = group.create_array(
        name,
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        shards=(max(1, -(-len(data) // rows)) * rows, *data.shape[1:]),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
    )
    array[...] = data


def read_index(path: Path) -> dict[int, EpisodeSummary]:
    """Reads a store's ``index.jsonl``; returns summaries of episodes by episode index.

    Incomplete lines, which killed writers leave behind, are skipped.
    """
    found = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            summary = EpisodeSummary(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[summary.index] = summary
    return found


def append_index(path: Path, summaries: Sequence[EpisodeSummary]) -> None:
    """Appends summaries to a store's ``index.jsonl``; several processes may do so at once."""
    lines = "".join(json.dumps(asdict(summary)) + "\n" for summary in summaries)
    # A single write in append mode doesn't mix with the lines of other processes. The leading
    # newline ends a line that a killed process may have left incomplete.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, b"\n" + lines.encode())
    finally:
        os.close(descriptor)
