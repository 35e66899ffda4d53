"""Atomic writing of files and folders: each is replaced as a whole or not at all.

Content is written to a hidden temporary path in the same folder, synced to disk and then renamed.
A killed process or a full disk thus leaves the old content, and a power failure never leaves half a
file.
"""

import ctypes
import errno
import glob
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from wmrl.core.frames import as_rgb
from wmrl.core.strict_json import json_text, jsonable
from wmrl.storage.reading import with_checksum

# Names that atomic_path and replace_folder give to what they have not finished.
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.new(\..+)?")
_STALE_SECONDS = 3600.0  # temporary folders of this age have no live writer


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Replaces a file atomically with what the caller writes to a temporary path.

    On success, the temporary file is synced to disk and renamed to ``path``, and the rename is
    synced. On failure, the temporary file is removed and ``path`` stays unchanged. Several
    processes may write the same path at the same time; the last one to finish wins. The caller may
    also write a folder; ``path`` must then be an empty folder or not exist.

    Args:
        path: path of the file or folder; missing parent folders are created.

    Yields:
        A temporary path in the same folder as ``path`` and with the same suffix. Nothing exists
        there yet.

    Raises:
        OSError: a file operation failed, or ``path`` is a folder that is not empty.

    Example:
        >>> from pathlib import Path
        >>> from wmrl.storage import atomic_path
        >>> with atomic_path("notes.txt") as aside:
        ...     _ = aside.write_text("All of it, or nothing.")
        >>> Path("notes.txt").read_text()
        'All of it, or nothing.'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(_aside_name(path))
    try:
        yield aside
        sync_tree(aside)
        _replace(aside, path)
        sync_folder(path.parent)
    except BaseException:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)
        raise


def _replace(aside: Path, path: Path) -> None:
    """Renames the file or folder ``aside`` to ``path``.

    If ``aside`` is a file and ``path`` a folder, the error message names only ``path``.
    """
    try:
        aside.replace(path)
    except IsADirectoryError as error:
        raise IsADirectoryError(
            f"{path}: expected a file, or nothing, got a folder; remove it, or choose another path"
        ) from error


def check_writable(
    path: str | Path, *, kind: Literal["file", "folder"], name: str = "path"
) -> Path:
    """Checks, before long work starts, that a file or folder can be written.

    The check creates an empty file and removes it again. For a folder, this is done in the folder
    itself; for a file, in its parent folder. If that folder does not exist, the nearest existing
    folder above it is used. Nothing else is created or changed.

    Args:
        path: path that will be written.
        kind: ``"file"`` or ``"folder"``.
        name: name of the argument, for the error message.

    Returns:
        The path.

    Raises:
        ValueError: there is a folder where a file is expected, or vice versa; or the path can't be
            written.

    Example:
        >>> from wmrl.storage import check_writable
        >>> print(check_writable("results/score.json", kind="file", name="out"))
        results/score.json
        >>> check_writable(".", kind="file", name="out")
        Traceback (most recent call last):
        ValueError: out: expected a file, got the folder '.'; name a file in that folder
    """
    path = Path(path)
    try:
        problem = _obstacle(path, kind)
        if not problem:
            folder = next(f for f in ((path, *path.parents)[kind == "file" :]) if f.is_dir())
            probe = folder / _aside_name(path if kind == "file" else folder)
            probe.touch(exist_ok=False)
            probe.unlink()
    except (OSError, ValueError) as error:  # a ValueError for a null byte
        reason = getattr(error, "strerror", None) or str(error)
        problem = f"{str(path)!r}, which can't be written ({reason}); choose another path"
    if problem:
        raise ValueError(f"{name}: expected a {kind}, got {problem}")
    return path


def _obstacle(path: Path, kind: str) -> str:
    """Describes what prevents writing a file or folder; returns ``""`` if nothing does."""
    if kind == "file" and path.is_dir():
        return f"the folder {str(path)!r}; name a file in that folder"
    for each in (path, *path.parents):
        if each.is_symlink() and not each.exists():
            return f"{str(path)!r}, but {str(each)!r} is a broken link; choose another path"
        if each.exists():
            if each == path and kind == "file" and each.is_file():
                return ""
            if each.is_dir():
                return ""
            what = "a file" if each.is_file() else "a special file"
            return f"{str(path)!r}, but {str(each)!r} is {what}; choose another path"
    return ""


def _aside_name(path: Path) -> str:
    """Returns a new name for a temporary file or folder beside ``path``."""
    return f".{path.stem}.{secrets.token_hex(4)}.new{path.suffix}"


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes a file atomically and returns its path."""
    with atomic_path(path) as aside:
        aside.write_bytes(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text file in UTF-8 atomically and returns its path."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Writes a JSON file with sorted keys and a checksum atomically, and returns its path.

    The checksum is the member ``"sha256"``; :func:`~wmrl.storage.reading.read_json` verifies it.

    Raises:
        TypeError: ``content`` contains a value that JSON can't store.
        ValueError: a number is NaN or infinite, or ``content`` has a member ``"sha256"``.
    """
    whole = with_checksum(jsonable(content))
    return write_text(path, json_text(whole, indent=2, sort_keys=True) + "\n")


def write_image(path: str | Path, image: np.ndarray) -> Path:
    """Writes an image atomically as a PNG file and returns its path.

    Args:
        path: path of the file.
        image: ``(H, W, 3) uint8`` or, if gray, ``(H, W, 1) uint8``.

    Raises:
        ValueError: ``path`` doesn't end in ``.png``.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path: expected a name ending in .png, got {path}")
    with atomic_path(path) as aside:
        Image.fromarray(as_rgb(image)).save(aside, format="PNG")
    return path


def replace_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files, and replaces any folder at that path.

    The files are written to a temporary folder and synced to disk. On most Linux systems,
    the temporary folder and the old folder then swap names in one step. On other systems, the old
    folder is moved away first. Several processes may write the same folder at the same time; the
    last one to finish wins.

    Args:
        path: path of the folder; a symbolic link is followed, not replaced.
        files: contents of the files by name.

    Raises:
        OSError: a file operation failed; the old folder stays unchanged.
    """
    try:
        path = path.resolve()
    except RuntimeError as error:  # up to Python 3.12
        raise OSError(
            f"{path}: expected a folder, or nothing, got a symbolic link that leads to itself; "
            "remove the link"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    aside.mkdir()
    try:
        for name, data in files.items():
            (aside / name).write_bytes(data)
        sync_tree(aside)
        while not (exchange(aside, path) or _move(aside, path) or _move_both(aside, path)):
            pass  # another writer has changed the path in the meantime
        sync_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Removes the temporary files and folders that killed processes left in a folder.

    The caller must hold a lock, so that no other process is writing to the folder.
    """
    for left in folder.glob(".*.new*"):
        if not _UNFINISHED.fullmatch(left.name):
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def exchange(first: Path, second: Path) -> bool:
    """Swaps the names of two folders in one step; returns False if that is not possible."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux, or a C library without renameat2
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: bool = rename(here, os.fsencode(first), here, os.fsencode(second), swap) == 0
    return done


def sync_folder(path: Path) -> None:
    """Syncs a folder to disk, so that renames in the folder survive a power failure.

    Does nothing if the folder can't be opened, as on Windows.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Syncs a file, or a folder with all files and folders below it, to disk."""
    if not path.is_dir():
        _sync_file(path)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_file(Path(folder) / name)
        sync_folder(Path(folder))


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(aside: Path, path: Path) -> bool:
    """Renames the folder ``aside`` to ``path``; returns False if ``path`` is taken."""
    try:
        aside.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def _move_both(aside: Path, path: Path) -> bool:
    """Moves the folder at ``path`` away, and renames ``aside`` to ``path``.

    Returns False if another process has removed or created ``path`` in the meantime. On an error,
    the old folder is moved back.
    """
    old = aside.with_suffix(".old")
    try:
        path.rename(old)
    except FileNotFoundError:
        return False
    try:
        done = _move(aside, path)
    except BaseException:
        if not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return done


def _sweep(path: Path) -> None:
    """Removes temporary folders that writers of ``path`` left behind when they were killed.

    Only folders that are more than an hour old are removed, because younger ones may be in use.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        ours = left.suffix == ".new" or (left.suffix == ".old" and path.exists())
        with suppress(FileNotFoundError):
            if ours and time.time() - left.lstat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
