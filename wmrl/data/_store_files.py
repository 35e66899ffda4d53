"""The files of a rollout store: creation, the index, arrays, and syncing."""

import json
import math
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from wmrl.data.episode import EpisodeSummary, StoreMetadata
from wmrl.storage.files import sync_folder

FORMAT_VERSION = 1
EPISODES = "episodes"

_CHUNK_BYTES = 2**19


class StoreError(ValueError):
    """A store is missing, damaged, of another kind, or lacks an episode."""


def create_store(path: Path, metadata: StoreMetadata) -> None:
    """Makes an empty store, whole or not at all; another process may do the same meanwhile."""
    (path / EPISODES).mkdir(parents=True, exist_ok=True)
    attributes = {"wmrl_store": FORMAT_VERSION, **asdict(metadata)}
    aside = path / f".{secrets.token_hex(4)}"
    zarr.create_group(aside, attributes=attributes)
    sync_tree(aside)
    (aside / "zarr.json").replace(path / "zarr.json")
    aside.rmdir()
    sync_folder(path)


def read_metadata(path: Path) -> StoreMetadata:
    """What the episodes of a store have in common.

    Raises:
        StoreError: there is no store, or it is damaged or of another format.
    """
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
        version = attributes["wmrl_store"]
        if version == FORMAT_VERSION:
            names = [item.name for item in fields(StoreMetadata)]
            return StoreMetadata(**{name: attributes[name] for name in names})
    except FileNotFoundError as error:
        raise StoreError(
            f"{path}: no rollout store there; collect one first (wmrl collect), or give "
            "mode='a' and metadata to create one"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a rollout store (its zarr.json can't be used)") from error
    raise StoreError(f"{path}: format version {version}, this wmrl reads {FORMAT_VERSION}")


def write_array(group: zarr.Group, name: str, data: np.ndarray) -> None:
    """One file an array: a shard of independently compressed and checksummed chunks."""
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
    """The index's lines; a torn one (its writer was killed) is left out."""
    found = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            summary = EpisodeSummary(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[summary.index] = summary
    return found


def append_index(path: Path, summaries: Sequence[EpisodeSummary]) -> None:
    """Adds lines to the index; several processes may do so at once."""
    lines = "".join(json.dumps(asdict(summary)) + "\n" for summary in summaries)
    # One write to a file opened to append: lines of several processes don't mix. The newline
    # in front ends a line that a killed process may have left torn.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, b"\n" + lines.encode())
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Makes all files and folders below ``path`` durable."""
    for folder, _, names in os.walk(path):
        for name in names:
            descriptor = os.open(Path(folder) / name, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(folder))
