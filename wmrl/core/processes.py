"""Child processes that neither hang nor outlive their parent.

A forked process inherits the state of its parent's thread pools, but none of their threads. A
computation that waits for such a pool never returns. Importing this module therefore limits each
process that is forked later to one thread in torch and OpenCV. The import loads neither library.

A child process can ask to be killed as soon as its parent ends (:func:`follow_parent`,
:func:`follow`). The child is killed even if the parent itself was killed.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import select
import signal
import sys
import threading
import weakref
from typing import Any

if sys.platform != "win32":
    import fcntl

_lifelines: set[int] = set()  # ends that a forked child must not keep open
_followed: set[int] = set()


class WorkerError(RuntimeError):
    """Error raised if a game fails in a vector environment, or if a worker process dies.

    The message names the worker process, the sub-environment (slot), the episode and its seed. The
    original exception, if there is one, is the ``__cause__``.
    """


class WorkerValueError(WorkerError, ValueError):
    """A :class:`WorkerError` whose cause is a ``ValueError``."""


class Lifeline:
    """A pipe that stays open until this process ends, calls :meth:`close` or deletes this object.

    A child process that gets the reading end passes it to :func:`follow`. The child is then killed
    when the pipe closes. Processes that are forked from this one don't keep the pipe open.

    Attributes:
        reading: descriptor of the reading end, for the child. Once the child has the
            descriptor, this process closes its own copy with :meth:`close_reading`.
    """

    def __init__(self) -> None:
        self.reading, writing = map(above_standard_streams, os.pipe())
        _lifelines.add(writing)
        self._close = weakref.finalize(self, _close_lifeline, writing)

    def close_reading(self) -> None:
        """Closes this process's copy of the pipe's reading end; the child keeps its own copy."""
        os.close(self.reading)

    def close(self) -> None:
        """Closes the pipe. This kills the child process that called :func:`follow`, if any."""
        self._close()


def _close_lifeline(writing: int) -> None:
    if writing in _lifelines:  # a forked process has closed its copy already
        _lifelines.discard(writing)
        os.close(writing)


def above_standard_streams(descriptor: int) -> int:
    """Moves a descriptor to a number above 2 if its number is 0, 1 or 2.

    If a process has closed its standard input, the next file that it opens gets the descriptor 0. A
    child process can't inherit a file under the descriptors 0, 1 and 2, because these belong to the
    child's own standard streams.

    Returns:
        The new descriptor, or the given one if its number is above 2 already.
    """
    if descriptor > 2:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def follow(descriptor: int, *, group: bool = False) -> None:
    """Arranges that this process is killed when the writing end of a pipe closes.

    Another process holds the writing end. If that process does not close the writing end itself,
    the writing end closes when that process terminates. On Linux, the kernel then kills this
    process, even in the middle of compiled code. On other systems, a background thread kills it.

    Args:
        descriptor: reading end of a pipe to which nothing is written.
        group: True to kill all processes of this process's group; False to kill only this process.
    """
    if not _kill_on_hangup(descriptor, group):  # pragma: no cover - systems other than Linux
        arguments = descriptor, group
        threading.Thread(target=_watch, args=arguments, name="follow", daemon=True).start()


def follow_parent() -> None:
    """Arranges that a daemonic :mod:`multiprocessing` process is killed when its parent ends.

    Call this function in the daemonic process. In any other process, the function does nothing.
    Gymnasium's asynchronous vector environments and Stable-Baselines3's ``SubprocVecEnv`` step
    their environments in daemonic processes.
    """
    parent = multiprocessing.parent_process()
    if parent is None or os.getpid() in _followed or not multiprocessing.current_process().daemon:
        return
    _followed.add(os.getpid())
    follow(parent.sentinel)


def _kill_on_hangup(descriptor: int, group: bool) -> bool:
    """Asks the Linux kernel to kill this process, or its process group, when a pipe closes.

    Returns True on Linux. On other systems, does nothing and returns False.
    """
    if not sys.platform.startswith("linux"):  # pragma: no cover
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp() if group else os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([descriptor], [], [], 0)[0]:  # it closed before the kernel was asked
        _die(group)
    return True


def _watch(descriptor: int, group: bool) -> None:  # pragma: no cover - systems other than Linux
    multiprocessing.connection.wait([descriptor])
    _die(group)


def _die(group: bool) -> None:
    number = getattr(signal, "SIGKILL", signal.SIGTERM)
    if group:
        os.killpg(os.getpgrp(), number)
    else:
        os.kill(os.getpid(), number)


class _ForkGuard:
    """Functions that Python calls before and after each fork of this process.

    Thanks to these functions, a forked child computes with one thread in torch and OpenCV, and
    keeps no :class:`Lifeline` of its parent open.
    """

    def __init__(self) -> None:
        self._opencv_threads = 0

    def before(self) -> None:
        # OpenCV can't end its threads in a child, which doesn't have them.
        if (opencv := sys.modules.get("cv2")) is not None:
            with contextlib.suppress(Exception):
                self._opencv_threads = opencv.getNumThreads()
                opencv.setNumThreads(1)

    def after_in_parent(self) -> None:
        opencv: Any = sys.modules.get("cv2")
        if opencv is not None and self._opencv_threads > 1:
            with contextlib.suppress(Exception):
                opencv.setNumThreads(self._opencv_threads)

    def after_in_child(self) -> None:
        if (torch := sys.modules.get("torch")) is not None:
            with contextlib.suppress(Exception):
                torch.set_num_threads(1)
        for descriptor in _lifelines:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        _lifelines.clear()


if hasattr(os, "register_at_fork"):
    _guard = _ForkGuard()
    os.register_at_fork(
        before=_guard.before,
        after_in_parent=_guard.after_in_parent,
        after_in_child=_guard.after_in_child,
    )
