"""Attributes of a rollout store's Zarr groups, and checksums of its files."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrl.storage.reading import SMALL_LIMIT, parse_json, read_file


def read_attributes(path: Path) -> dict[str, Any]:
    """Reads the attributes of the Zarr group that a ``zarr.json`` describes.

    Args:
        path: path of the ``zarr.json``.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not a regular file, or does not describe a Zarr group in JSON.
    """
    try:
        attributes = parse_json(read_file(path, limit=SMALL_LIMIT))["attributes"]
    except (KeyError, TypeError) as error:
        raise ValueError("expected the attributes of a Zarr group, got other content") from error
    if not isinstance(attributes, dict):
        raise ValueError("expected the attributes of a Zarr group, got other content")
    return attributes


def record_files(folder: Path) -> dict[str, list[Any]]:
    """Returns the size in bytes and the SHA-256 of each file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, _file_digest(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class FileVerifier:
    """Verifier of files against recorded sizes and checksums.

    A file is read when it is first verified, and read again if its time stamp or size has changed
    since then. Each verification checks that the file still exists.
    """

    def __init__(self) -> None:
        self._verified: dict[Path, tuple[Any, ...]] = {}

    def verify(self, folder: Path, files: Mapping[str, tuple[int, str]]) -> None:
        """Checks that files have their recorded sizes and checksums.

        Args:
            folder: folder of the files.
            files: recorded size and SHA-256 by relative path, as :func:`record_files` returns them.

        Raises:
            OSError: a file is missing.
            ValueError: a file differs from its record.
        """
        for name, (size, digest) in files.items():
            path = folder / name
            status = path.stat()
            state = (digest, status.st_ino, status.st_mtime_ns, status.st_size)
            if self._verified.get(path) == state:
                continue
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                raise ValueError(f"{name}: expected {size} bytes, got {status.st_size}")
            if _file_digest(path) != digest:
                raise ValueError(f"{name}: its SHA-256 differs from the recorded one")
            self._verified[path] = state

    def clear(self) -> None:
        """Forgets the verified files, so that each is read again when it is next verified."""
        self._verified.clear()


def _file_digest(path: Path) -> str:
    # Without blocking: a named pipe that took the file's place would otherwise be waited for.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
