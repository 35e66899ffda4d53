"""Reading of stored files: only regular files of a bounded size, and JSON with a checksum.

A path that is not trusted may lead to a device, a pipe or an endless file. Devices and pipes are
refused before anything is read, and files are read only up to a limit. Reading thus always takes
bounded time and memory.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrl.core.strict_json import MAX_DEPTH, json_text

SMALL_LIMIT = 2**24
"""Maximum size of JSON files and texts in bytes, 16 MiB."""
WEIGHTS_LIMIT = 2**32
"""Maximum size of files with weights in bytes, 4 GiB."""
_CHECKSUM = "sha256"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# A pipe without a writer would block the opening of a file; Windows has neither pipes nor the flag.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class StoredFileError(ValueError):
    """Error raised if a stored file is missing, damaged, too large, or not a regular file."""


def read_file(
    path: str | Path, *, limit: int, folder: int | None = None, mend: str = "choose another file"
) -> bytes:
    """Reads a regular file of a bounded size.

    Args:
        path: path of the file; symbolic links are followed.
        limit: maximum size in bytes.
        folder: file descriptor of an open folder. The last component of ``path`` is then opened in
            this folder. None to open ``path`` itself.
        mend: advice at the end of error messages.

    Raises:
        FileNotFoundError: there is no such file.
        StoredFileError: the file is not a regular file, is too large, or can't be read.
    """
    path = Path(path)
    try:
        descriptor = os.open(path if folder is None else path.name, _FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise StoredFileError(f"{path}: can't be opened ({_reason(error)}); {mend}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
            raise StoredFileError(f"{path}: expected a regular file, got {kind}; {mend}")
        if status.st_size > limit:
            raise StoredFileError(
                f"{path}: expected at most {limit:,} bytes, got {status.st_size:,}; {mend}"
            )
        with open(descriptor, "rb", closefd=False) as file:
            # Python allocates as many bytes as it is asked for. Files in /proc claim a size of 0.
            data = file.read(min(limit, max(status.st_size, 2**20)) + 1)
    except OSError as error:
        raise StoredFileError(f"{path}: can't be read ({_reason(error)}); {mend}") from error
    finally:
        os.close(descriptor)
    if len(data) > limit:  # the file has grown since it was opened
        raise StoredFileError(f"{path}: expected at most {limit:,} bytes, got more; {mend}")
    return data


def parse_json(data: bytes) -> dict[str, Any]:
    """Parses a JSON object of bounded depth.

    Args:
        data: JSON in UTF-8.

    Raises:
        ValueError: the data are not a JSON object, are nested more than 64 levels deep, or contain
            a number that is NaN or infinite.
    """
    try:
        content = json.loads(data, parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError(f"expected at most {MAX_DEPTH} nested levels of JSON, got more") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got {type(content).__name__}")
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return content
    raise ValueError(f"expected at most {MAX_DEPTH} nested levels of JSON, got more")


def read_json(
    path: str | Path, *, mend: str = "delete it, and repeat the command that wrote it"
) -> dict[str, Any]:
    """Reads a JSON file that :func:`~wmrl.storage.files.write_json` wrote, and verifies it.

    Args:
        path: path of the file.
        mend: advice at the end of error messages.

    Returns:
        The content, without the checksum.

    Raises:
        StoredFileError: the file is missing, is not a JSON object, has no checksum or a wrong one,
            is too large, or is not a regular file.

    Example:
        >>> from pathlib import Path
        >>> from wmrl.storage import read_json, write_json
        >>> path = write_json("report.json", {"steps": 60})
        >>> read_json(path)
        {'steps': 60}
        >>> _ = path.write_text(path.read_text().replace("60", "80"))
        >>> read_json(path)
        Traceback (most recent call last):
        wmrl.storage.reading.StoredFileError: report.json: damaged (its content does not match ...
    """
    try:
        content = parse_json(read_file(path, limit=SMALL_LIMIT, mend=mend))
    except FileNotFoundError as error:
        raise StoredFileError(f"{path}: expected a JSON file, got nothing; {mend}") from error
    except StoredFileError:
        raise
    except ValueError as error:
        raise StoredFileError(
            f"{path}: damaged (not a complete JSON file: {error}); {mend}"
        ) from error
    try:
        return without_checksum(content)
    except ValueError as error:
        raise StoredFileError(f"{path}: damaged ({error}); {mend}") from error


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a JSON object, with its checksum added as the member ``"sha256"``.

    Raises:
        ValueError: the object already has a member ``"sha256"``.
    """
    if _CHECKSUM in content:
        raise ValueError(
            f"content: expected no member named {_CHECKSUM!r} (the checksum's name), got one; give "
            "the member another name"
        )
    return {**content, _CHECKSUM: json_digest(content)}


def without_checksum(content: Any) -> dict[str, Any]:
    """Verifies a JSON object from :func:`with_checksum`, and returns it without the checksum.

    Raises:
        ValueError: the object has no checksum, or has changed.
    """
    if not isinstance(content, dict) or _CHECKSUM not in content:
        raise ValueError(f"expected a checksum under the name {_CHECKSUM!r}, got none")
    plain = {name: value for name, value in content.items() if name != _CHECKSUM}
    if content[_CHECKSUM] != json_digest(plain):
        raise ValueError(f"its content does not match its checksum {_CHECKSUM!r}")
    return plain


def json_digest(content: Mapping[str, Any]) -> str:
    """Computes the SHA-256 of a JSON object, independent of white space and the order of keys."""
    # Names that aren't strings become strings, which changes the order.
    plain = json.loads(json_text(dict(content)))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _inner(value: Any) -> list[Any]:
    """Returns the objects and arrays directly inside a JSON object or array."""
    inner = value.values() if isinstance(value, dict) else value
    return [each for each in inner if isinstance(each, dict | list)]


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"expected finite numbers, got {text:.100}")
    return number


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
