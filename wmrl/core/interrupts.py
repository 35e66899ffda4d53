"""Interruptions, such as Ctrl-C, that wait until the state of a job can be saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_GRACE = 1.0  # seconds that an interruption may wait


class Interrupts:
    """Interruptions that arrive within the ``with`` block of :func:`deferred_interrupts`.

    An interruption is Ctrl-C or a request to terminate this process.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._waiting: int | None = None
        self._immediate = False
        self._timer: threading.Timer | None = None

    @property
    def pending(self) -> bool:
        """True if an interruption is waiting to be delivered."""
        return self._waiting is not None

    def deliver(self) -> None:
        """Passes a pending interruption to its signal handler, which usually raises an exception.

        Does nothing if no interruption is pending.
        """
        number, self._waiting = self._waiting, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if number is not None:
            self._handlers[number](number, None)

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Delivers interruptions without delay within a ``with`` block.

        The block is meant for code that may take long. If an interruption is pending at the start
        of the block, it is delivered before this code runs.
        """
        self._immediate = True
        try:
            self.deliver()
            yield
        finally:
            self._immediate = False

    def _install(self) -> None:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):  # neither ignored nor left to the operating system
                self._handlers[number] = handler
                signal.signal(number, self._receive)

    def _remove(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first = self._waiting is None
        self._waiting = number
        if self._immediate or not first:
            self.deliver()
            return
        self._timer = threading.Timer(_GRACE, self._send_again, [number])
        self._timer.daemon = True
        self._timer.start()

    def _send_again(self, number: int) -> None:
        main = threading.main_thread().ident
        if self.pending and main is not None:
            signal.pthread_kill(main, number)


@contextmanager
def deferred_interrupts() -> Iterator[Interrupts]:
    """Defers Ctrl-C and termination requests by up to a second within a ``with`` block.

    The code in the block should check :attr:`Interrupts.pending` whenever its state is consistent.
    If an interruption is pending, the code should save its state and call
    :meth:`Interrupts.deliver`. An interruption is delivered without such a call when it has waited
    for a second, or when another interruption arrives. An interruption that is still pending at
    the end of the block is delivered after the block.

    Signals that are ignored or have no handler in Python are not deferred. Outside the main thread,
    no signal is deferred, because Python runs signal handlers only in the main thread.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    interrupts._install()
    try:
        yield interrupts
    finally:
        interrupts._remove()
    interrupts.deliver()
