"""Checksums of a rollout store: of JSON objects and of files."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrl.core.strict_json import json_text

_KEY = "sha256"
# No JSON file of a store comes close; a special file such as /dev/zero never ends.
_LARGEST_JSON = 2**26


def json_digest(content: Mapping[str, Any]) -> str:
    """Computes the SHA-256 of a JSON object, independent of the order of its keys."""
    # Read back first, so that keys that aren't strings are sorted as they are after reading.
    return _digest(json.loads(json_text(dict(content))))


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a JSON object that also contains the SHA-256 of the object."""
    return {**content, _KEY: json_digest(content)}


def unseal(sealed: Any) -> dict[str, Any]:
    """Verifies an object from :func:`seal`, and returns it without the SHA-256.

    Raises:
        ValueError: the object has no SHA-256, or has changed.
    """
    if not isinstance(sealed, dict) or _KEY not in sealed:
        raise ValueError("expected a SHA-256 of the content, got none")
    content = {key: value for key, value in sealed.items() if key != _KEY}
    if sealed[_KEY] != _digest(content):
        raise ValueError("the content's SHA-256 differs from the recorded one")
    return content


def read_attributes(path: Path) -> dict[str, Any]:
    """Reads the attributes of the Zarr group that a ``zarr.json`` describes.

    Raises:
        OSError: the file is missing, or is not a regular file.
        ValueError: the file is not the JSON of a Zarr group.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path}: not a regular file")
    if status.st_size > _LARGEST_JSON:
        raise ValueError(f"expected at most {_LARGEST_JSON} bytes, got {status.st_size}")
    try:
        attributes = json.loads(path.read_bytes())["attributes"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("expected the attributes of a Zarr group, got other content") from error
    if not isinstance(attributes, dict):
        raise ValueError("expected the attributes of a Zarr group, got other content")
    return attributes


def record_files(folder: Path) -> dict[str, list[Any]]:
    """Computes the sizes and SHA-256 of all files in a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, _file_digest(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class FileVerifier:
    """Verifier of files against recorded sizes and checksums.

    A file is read when it is first verified, and again when its time stamp or size has changed.
    Its existence is checked each time.
    """

    def __init__(self) -> None:
        self._verified: dict[Path, tuple[Any, ...]] = {}

    def verify(self, folder: Path, files: Mapping[str, tuple[int, str]]) -> None:
        """Verifies files.

        Args:
            folder: folder of the files.
            files: recorded size and SHA-256 by relative path, as :func:`record_files` returns them.

        Raises:
            OSError: a file is missing.
            ValueError: a file has changed.
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


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    # Without blocking: a named pipe that took the file's place would otherwise be waited for.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
