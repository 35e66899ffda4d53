"""Creation and removal of rollout stores, and the files of their metadata and index."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import zarr

from wmrl.core.strict_json import json_text
from wmrl.data._checksums import read_attributes
from wmrl.data.episode import EpisodeSummary, StoreMetadata
from wmrl.storage.files import remove_unfinished, sync_folder, write_bytes
from wmrl.storage.locks import file_lock
from wmrl.storage.options_file import OPTIONS
from wmrl.storage.reading import (
    StoredFileError,
    json_digest,
    read_file,
    with_checksum,
    without_checksum,
)
from wmrl.storage.recognition import did_you_mean, recognize

FORMAT_VERSION = 5
# Releases that can read earlier format versions.
_DEVELOPMENT = "the development version of wmrl 0.2 that recorded it"
_READERS = {1: "wmrl 0.1", 2: _DEVELOPMENT, 3: _DEVELOPMENT, 4: _DEVELOPMENT}
EPISODES, INDEX, LOCK, METADATA = "episodes", "index.jsonl", "lock", "zarr.json"

_INDEX_LIMIT = 2**30  # bytes of an index
_OWN_NAMES = {EPISODES, INDEX, LOCK, METADATA, OPTIONS, "latents"}


class StoreError(ValueError):
    """Error raised if a rollout store, or an episode in it, can't be read or written.

    For example, the store is missing, damaged or incompatible, or lacks the episode.
    """


class _DamagedError(StoreError):
    """Error raised if the metadata of a store are missing or damaged, but can be written again."""


def metadata_digest(metadata: StoreMetadata) -> str:
    """Computes the SHA-256 of a store's metadata; each episode's folder records this digest."""
    return json_digest(asdict(metadata))


def create_store(path: Path, metadata: StoreMetadata) -> list[Path] | None:
    """Creates an empty store atomically; several processes may create it at the same time.

    If there is a store at ``path`` already, its episodes stay as they are. Its metadata are written
    again if they are missing or damaged, and replaced if the store has no episodes. Otherwise,
    nothing is written.

    Args:
        path: folder of the store.
        metadata: metadata of the store.

    Returns:
        The folders that were created, the innermost first; None if nothing was written.

    Raises:
        StoreError: ``path`` holds something other than a store, holds a store of another format, or
            can't be created; or the metadata on disk are damaged, and the store's episodes were
            recorded with other metadata.
    """
    if not _must_write(path, metadata):
        return None
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        (path / EPISODES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot be created ({error}); use another path") from error
    with file_lock(path / LOCK, required=False):
        if not _must_write(path, metadata):  # another process was faster
            return None
        attributes = {"wmrl_store": FORMAT_VERSION, **asdict(metadata)}
        with TemporaryDirectory() as aside:
            zarr.create_group(aside, attributes=with_checksum(attributes))
            write_bytes(path / METADATA, (Path(aside) / METADATA).read_bytes())
    for folder in made:
        sync_folder(folder.parent)
    return made


def remove_store(path: Path, made: Iterable[Path]) -> None:
    """Removes a store that has no episodes, and then the folders that were created for the store.

    Nothing is removed if another process is writing to the store. Folders that are not empty are
    kept.

    Args:
        path: folder of the store.
        made: folders to remove, the innermost first, as :func:`create_store` returned them.
    """
    try:
        with file_lock(path / LOCK, timeout=0, required=False):
            remove_leftovers(path)
            (path / EPISODES).rmdir()
            for name in (INDEX, METADATA, OPTIONS, LOCK):
                (path / name).unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
    except OSError:
        return  # it is in use, or not empty


def remove_leftovers(path: Path) -> None:
    """Removes temporary files and folders that killed writers left in a store.

    The caller must hold the store's exclusive lock.
    """
    for folder in (path, path / EPISODES):
        remove_unfinished(folder)


def read_metadata(path: Path) -> StoreMetadata:
    """Reads and verifies the metadata of a store.

    Raises:
        StoreError: there is no store at ``path``, the store's metadata are missing or damaged, or
            the store has another format.
    """
    # A Zarr store of another kind describes a group of this name by a file in it.
    ours = (path / EPISODES).is_dir() and not (path / EPISODES / METADATA).exists()
    try:
        attributes = read_attributes(path / METADATA)
        version = attributes.get("wmrl_store")
        ours = ours or version is not None
        if version is None or version == FORMAT_VERSION or "sha256" in attributes:
            attributes = without_checksum(attributes)
        if version == FORMAT_VERSION:
            names = [item.name for item in fields(StoreMetadata)]
            return StoreMetadata(**{name: attributes[name] for name in names})
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not ours:
            raise StoreError(_no_store(path)) from error
        raise _DamagedError(
            f"{path / METADATA}: missing or damaged ({error}); repeat the same wmrl collect "
            "command, which writes the file again"
        ) from error
    reader = _READERS.get(version, "a newer wmrl") if isinstance(version, int) else "a newer wmrl"
    raise StoreError(
        f"{path}: expected format version {FORMAT_VERSION}, got {version!r}; open the store with "
        f"{reader}, or collect the episodes again into another folder"
    )


def episode_indices(path: Path) -> list[int]:
    """Lists the indices of the episodes in a store, in ascending order.

    Raises:
        StoreError: the folder of the episodes is missing.
    """
    try:
        names = [entry.name for entry in os.scandir(path / EPISODES)]
    except OSError as error:
        raise StoreError(
            f"{path / EPISODES}: missing or damaged ({error}); repeat the same wmrl collect "
            "command, which collects the episodes again"
        ) from error
    return sorted(int(name) for name in names if re.fullmatch(r"[0-9]{8}|[1-9][0-9]{8,}", name))


def read_index(path: Path) -> dict[int, EpisodeSummary] | None:
    """Reads the summaries of episodes from a store's ``index.jsonl``.

    If one line is damaged or incomplete, the whole file is rejected: an episode may have two
    lines, and the damaged line may be the newer one. A killed writer may leave an incomplete line.

    Returns:
        Summaries by episode index; empty if there is no file, None if the file is rejected.
    """
    found = {}
    try:
        lines = read_file(path, limit=_INDEX_LIMIT).splitlines()
    except FileNotFoundError:
        return {}
    except StoredFileError:
        return None
    for line in filter(None, lines):
        try:
            summary = EpisodeSummary(**without_checksum(json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            return None
        found[summary.index] = summary
    return found


def append_index(path: Path, summaries: Iterable[EpisodeSummary]) -> None:
    """Appends summaries to an ``index.jsonl``; several processes may append at the same time.

    The file is not synced to disk. Lines that are lost in a power failure are written again when
    the store is next opened for writing.
    """
    # A single write in append mode doesn't mix with the lines of other processes. The leading
    # newline ends a line that a killed process may have left incomplete.
    # A named pipe that took the file's place is not waited for.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        os.write(descriptor, b"\n" + _index_lines(summaries))
    finally:
        os.close(descriptor)


def write_index(path: Path, summaries: Iterable[EpisodeSummary]) -> None:
    """Replaces a store's ``index.jsonl``; the caller must hold the store's exclusive lock."""
    write_bytes(path, _index_lines(summaries))


def _no_store(path: Path) -> str:
    """Returns an error message that says that there is no rollout store at a path."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return (
            f"{path}: no rollout store there; record one with wmrl collect, or create one by "
            "passing mode='a' and metadata"
        )
    got = recognize(path).description
    return f"{path}: expected a rollout store, got {got}{_advice(path)}"


def _advice(path: Path) -> str:
    return did_you_mean(path, "store") or "; use another path"


def _must_write(path: Path, metadata: StoreMetadata) -> bool:
    """Returns True if ``metadata`` must be written, to a new store or in place of old metadata.

    Raises ``StoreError`` if there is something at ``path`` that must not be overwritten.
    """
    if not (path / METADATA).exists():
        _check_place(path)
    try:
        found = read_metadata(path)
        return not (path / EPISODES).is_dir() or (found != metadata and not episode_indices(path))
    except _DamagedError as damage:
        recorded = _recorded_digest(path)
        if recorded not in (None, metadata_digest(metadata)):
            raise StoreError(
                f"{damage}; the given settings differ from those of the recorded episodes; use the "
                "recorded settings"
            ) from damage
        return True
    except StoreError:
        if (path / METADATA).exists():
            raise
        return True


def _check_place(path: Path) -> None:
    """Raises ``StoreError`` if a path holds something other than a store or an empty folder."""
    if path.is_dir():
        # Hidden files belong to the system, or were left behind by killed writers.
        foreign = [
            entry.name
            for entry in os.scandir(path)
            if entry.name not in _OWN_NAMES and not entry.name.startswith(".")
        ]
        foreign += [name for name in (".zgroup", ".zarray") if (path / name).exists()]
    if (path.exists() and not path.is_dir()) or (path.is_dir() and foreign):
        raise StoreError(
            f"{path}: expected a rollout store, or a new or empty folder for one, got "
            f"{recognize(path).description}{_advice(path)}"
        )


def _recorded_digest(path: Path) -> str | None:
    """Returns the digest of the metadata that a store's episodes were recorded with.

    Returns None if no episode can be read.
    """
    for index in episode_indices(path) if (path / EPISODES).is_dir() else ():
        try:
            content = without_checksum(read_attributes(path / EPISODES / f"{index:08d}" / METADATA))
            return str(content["store"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _index_lines(summaries: Iterable[EpisodeSummary]) -> bytes:
    return "".join(
        json_text(with_checksum(asdict(summary))) + "\n" for summary in summaries
    ).encode()
