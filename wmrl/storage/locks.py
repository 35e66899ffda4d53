"""Locks on files, by which processes take turns; a process that ends releases its locks."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

_POLL_SECONDS = 0.005
_TELL_SECONDS = 1.0
_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class LockError(OSError):
    """Error raised if the file system refuses to lock a file, although no one else has locked it.

    Some network file systems do not support locks.
    """


@contextmanager
def file_lock(
    path: str | Path,
    *,
    shared: bool = False,
    timeout: float | None = None,
    required: bool = True,
) -> Iterator[None]:
    """Holds a lock on a file (``flock``) for the length of a ``with`` block.

    If another process or thread holds a conflicting lock, the call waits until that lock is
    released. After one second of waiting, a line on standard error names the process that holds the
    lock. The operating system releases the lock of a process that is killed. On Windows, nothing is
    locked.

    Args:
        path: path of the file that is locked; created if the file does not exist. While a process
            holds an exclusive lock, the file contains the ID of that process.
        shared: True for a shared lock, which any number of processes may hold at the same time.
            False for an exclusive lock, which excludes all other locks on the file.
        timeout: number of seconds to wait; 0 to give up immediately, None to wait as long as it
            takes.
        required: False to go on without a lock if the file system does not support locks; True to
            raise an error in this case.

    Raises:
        TimeoutError: the lock is still in use after ``timeout`` seconds.
        LockError: the file system does not support locks, and ``required`` is True.
        OSError: the file can't be opened.

    Example:
        >>> from wmrl.storage import file_lock
        >>> with file_lock("lock"):
        ...     pass  # other processes wait here
    """
    if sys.platform == "win32":  # which has no flock
        yield
        return
    try:
        file = _acquire(Path(path), shared, timeout)
    except LockError:
        if required:
            raise
        yield
        return
    owner = os.getpid()
    try:
        if not shared:
            _sign(file, f"process {owner}")
        yield
    finally:
        if os.getpid() == owner:  # a forked process must not release its parent's lock
            if not shared:
                _sign(file, "")
            # Closing is not enough: a process forked in the meantime also has the file open.
            fcntl.flock(file, fcntl.LOCK_UN)
        file.close()


def _acquire(path: Path, shared: bool, timeout: float | None) -> BinaryIO:
    """Opens and locks a file; waits until no other process or thread has a conflicting lock.

    Raises:
        TimeoutError: there is still a conflicting lock after ``timeout`` seconds.
    """
    began = time.monotonic()
    told = False
    file = _open(path)
    while True:
        try:
            locked = _try_lock(file, path, shared)
            if locked and _is_at(file, path):
                return file
            if locked:  # the file was deleted while this process waited for it
                file.close()
                file = _open(path)
                continue
            waited = time.monotonic() - began
            if timeout is not None and waited >= timeout:
                after = f"still in use after {timeout:g} s" if timeout else "in use"
                raise TimeoutError(
                    f"{path}: {after} by {_owner(file)}; wait for that process, or stop it"
                )
            if waited >= _TELL_SECONDS and not told:
                print(f"waiting for {_owner(file)}, which uses {path.parent}", file=sys.stderr)
                told = True
            time.sleep(_POLL_SECONDS)
        except BaseException:
            file.close()
            raise


def _open(path: Path) -> BinaryIO:
    """Opens a file to lock it; creates it if it does not exist."""
    try:
        return path.open("a+b", buffering=0)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path}: can't be opened for locking ({error.strerror}); check its permissions, or "
            "delete it if it is not a regular file",
        ) from error


def _try_lock(file: BinaryIO, path: Path, shared: bool) -> bool:
    """Locks a file; returns False if another process or thread holds a conflicting lock."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _IN_USE:
            return False
        raise LockError(
            error.errno,
            f"{path}: cannot be locked ({error.strerror}), because the file system has no locks; "
            "use a folder on a local disk",
        ) from error
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Returns True if an open file is still the file at ``path``; False if it was deleted."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sign(file: BinaryIO, text: str) -> None:
    """Replaces the content of a locked file.

    Args:
        file: the locked file.
        text: name of the process that holds the lock. An empty text clears the file when the lock
            is about to be released.
    """
    with suppress(OSError):  # a full disk keeps no one from locking
        file.truncate(0)
        file.write(text.encode())


def _owner(file: BinaryIO) -> str:
    """Returns a description of the process that holds the exclusive lock on a file."""
    file.seek(0)
    return file.read(100).decode(errors="replace").strip() or "another process"
