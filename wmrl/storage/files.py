"""Atomic writing of files and folders: each is replaced as a whole or not at all.

Everything is written under a hidden name aside, synced to the disk and then renamed, so that a
killed process or a full disk leaves the old content, and a power failure never leaves half a file.
"""

import ctypes
import errno
import glob
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_STALE_SECONDS = 3600.0  # no writer takes as long


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Replaces a file by what the caller writes to a path aside.

    On success the path aside is synced, renamed to ``path``, and the rename is synced; on failure
    it is removed, and ``path`` is as it was. Several processes may write the same path at once:
    the last one to finish wins. A folder may be written too, where none of that name exists.

    Args:
        path: the destination; missing parent folders are created.

    Yields:
        A path in the same folder that does not exist yet, with the same suffix.

    Raises:
        OSError: the file system refused, or ``path`` is a folder that is not empty.

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
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.new{path.suffix}")
    try:
        yield aside
        sync_tree(aside)
        aside.replace(path)
        sync_folder(path.parent)
    except BaseException:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)
        raise


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes a file and returns its path."""
    with atomic_path(path) as aside:
        aside.write_bytes(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a file in UTF-8 and returns its path."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Writes JSON with sorted keys and returns its path.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(dict(content), indent=2, sort_keys=True, allow_nan=False)
    return write_text(path, text + "\n")


def write_image(path: str | Path, image: np.ndarray) -> Path:
    """Writes ``(H, W, 3) uint8`` as a PNG and returns its path.

    Raises:
        ValueError: ``path`` doesn't end in ``.png``.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path: expected a name ending in .png, got {path}")
    with atomic_path(path) as aside:
        Image.fromarray(image).save(aside, format="PNG")
    return path


def replace_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files in place of the one of that name, if there is one.

    The folder is written aside and synced. Then the two names are swapped in one step where the
    system can do that; elsewhere the old folder is moved away first. Several processes may write
    at once: the folder of the last one stays.

    Args:
        path: the folder; if it is a symbolic link, the folder that it points to.
        files: contents by name.

    Raises:
        OSError: the file system refused; the old folder is as it was.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    aside.mkdir()
    try:
        for name, data in files.items():
            (aside / name).write_bytes(data)
        sync_tree(aside)
        while not (exchange(aside, path) or _move(aside, path) or _move_both(aside, path)):
            pass  # another writer came between
        sync_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def exchange(first: Path, second: Path) -> bool:
    """Swaps the names of two folders in one step; returns False where the system can't."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # no Linux, or a C library without it
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: bool = rename(here, os.fsencode(first), here, os.fsencode(second), swap) == 0
    return done


def sync_folder(path: Path) -> None:
    """Makes renames inside a folder durable (a no-op where folders can't be opened)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Makes a file, or all files and folders below a folder, durable."""
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
    """Renames ``aside`` to a free name; returns False where the name is taken."""
    try:
        aside.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def _move_both(aside: Path, path: Path) -> bool:
    """Moves the old folder away, and back if the new one can't take its place."""
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
    """Removes the folders that killed writers of this folder left behind."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        ours = left.suffix == ".new" or (left.suffix == ".old" and path.exists())
        with suppress(FileNotFoundError):
            if ours and time.time() - left.lstat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
