"""Faults at the file events of a process: a kill, a full disk, a disk that turned read-only.

An event is anything that changes files below a folder: opening a file for writing, renaming,
creating or removing a file or folder, and syncing. Python announces these to audit hooks, so
that a fault can strike at any of them, and at the same one each time.
"""

import errno
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

FAULTS = ("kill", "cut writes", "full disk", "read-only")

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink")


class FileEvents:
    """Counts the file events below a folder in this process, and injects a fault at one of them.

    The hook stays in the process until the process ends, so this belongs into a child process.

    Args:
        root: folder whose events count.
        fault: one of ``FAULTS``; None to count only.
        at: number of the event at which the fault strikes, from 0.
        size: for ``"cut writes"``, the number of bytes that still fit into any file.

    Attributes:
        count: number of events so far.
    """

    def __init__(self, root: Path, fault: str | None = None, *, at: int = 0, size: int = 0) -> None:
        self.count = 0
        self._root = str(root.resolve())
        self._fault, self._at, self._size = fault, at, size
        self._struck = False
        self._lock = threading.Lock()
        self._inside = threading.local()
        self._fsync = os.fsync
        os.fsync = self._sync
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and isinstance(path, str | bytes):
                self._happens(event, path)
        elif event in _CHANGES:
            self._happens(event, arguments[0])

    def _sync(self, descriptor: int) -> None:
        self._happens("fsync", self._root)
        self._fsync(descriptor)

    def _happens(self, event: str, path: Any) -> None:
        if getattr(self._inside, "busy", False) or not self._below(path):
            return
        self._inside.busy = True
        try:
            with self._lock:
                now, self.count = self.count, self.count + 1
            if self._fault is not None and now >= self._at:
                self._strike(event, now == self._at)
        finally:
            self._inside.busy = False

    def _strike(self, event: str, first: bool) -> None:
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._fault == "cut writes":
            if first:
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, hard))
        elif self._fault == "full disk":
            if event in ("open", "os.mkdir", "fsync"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif self._fault == "read-only":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def _below(self, path: Any) -> bool:
        try:
            return os.path.abspath(os.fsdecode(path)).startswith(self._root)  # noqa: PTH100
        except TypeError:
            return False
