"""Files of a run that are there whole or not at all."""

import ctypes
import errno
import glob
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Writes JSON; figures that are not finite are refused with ``ValueError``."""
    text = json.dumps(dict(report), indent=2, sort_keys=True, allow_nan=False)
    _replace(path, text.encode() + b"\n")


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8."""
    _replace(path, text.encode())


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a PNG of ``(H, W, 3) uint8``."""
    _replace(path, iio.imwrite("<bytes>", picture, extension=".png"))


def _replace(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(data)
    aside.replace(path)


_STALE = 3600.0  # seconds: no writer takes as long


def replace_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes files into a folder that takes the place of the one of that name, if there is one.

    They are written aside and synced; then the two folders' names are swapped in one step, where
    the system can do that, or else the old one is moved away first. Several may write at once:
    the last one's folder stays.

    Args:
        path: the folder; of a link, what it leads to.
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
            with (aside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(aside)
        while not (exchange(aside, path) or _move(aside, path) or _move_both(aside, path)):
            pass  # another writer came between
        sync_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def exchange(first: Path, second: Path) -> bool:
    """Swaps the names of two folders in one step; False where the system can't."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # no Linux, or a C library without it
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: bool = rename(here, os.fsencode(first), here, os.fsencode(second), swap) == 0
    return done


def sync_folder(path: Path) -> None:
    """Makes renames inside ``path`` durable (a no-op where folders can't be opened)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(aside: Path, path: Path) -> bool:
    """Takes a name that is free; False where it isn't."""
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
    """Removes what writers of this folder left behind when they were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        ours = left.suffix == ".new" or (left.suffix == ".old" and path.exists())
        with suppress(FileNotFoundError):
            if ours and time.time() - left.lstat().st_mtime > _STALE:
                shutil.rmtree(left, ignore_errors=True)
