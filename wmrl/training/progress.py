"""Progress of long work: bars on a terminal, and lines of text in files and pipes.

Both are written to standard error, so that standard output contains only results.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

LINE_SECONDS = 30.0
"""Seconds between two lines of progress where there is no terminal."""

_REFRESH_SECONDS = 0.1  # as often as Rich draws
_console = Console(stderr=True)
# Name of the current stage and of the next one; whether a bar is shown already.
_stage: ContextVar[tuple[str, str]] = ContextVar("stage", default=("", ""))
_shown: ContextVar[bool] = ContextVar("shown", default=False)
_last_line = 0.0  # when a line was last printed
_telling = threading.Lock()
_work_shown = 0  # number of pieces of work that print lines


class Advance(Protocol):
    """Callable that updates the progress of work."""

    def __call__(
        self,
        done: int,
        note: str = "",
        *,
        total: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Updates the progress.

        Args:
            done: number of units of work done so far.
            note: short text to show with the progress, such as a score.
            total: new total number of units; None if it is unchanged.
            seconds: time so far, in seconds, that counts towards the time limit. If None, the
                value of the last call with a value is kept. If no call had a value, the time since
                the start is measured.
        """


@contextmanager
def progress_bar(
    title: str,
    *,
    total: int,
    done: int = 0,
    show: bool = True,
    unit: str = "steps",
    max_seconds: float | None = None,
    seconds: float = 0.0,
) -> Iterator[Advance]:
    """Shows the progress of the work in a ``with`` block.

    On a terminal, a bar is shown. Elsewhere, lines of text are written: at the start, every
    :data:`LINE_SECONDS` seconds, and at the end. Each line is flushed immediately. The bar and the
    lines contain the amount of work done, the speed, the time remaining, and the text that was
    passed as ``note`` to the yielded function. The lines also name the next stage; see
    :func:`stage`.

    If ``max_seconds`` is expected to be reached before ``total``, the seconds passed and the limit
    are shown instead of ``total``. Within another progress bar, nothing is shown.

    Args:
        title: name of the work.
        total: total number of units of work.
        done: number of units that are already done.
        show: True to show the progress, False to show nothing.
        unit: name of the units, in the plural.
        max_seconds: time limit in seconds; None for no limit.
        seconds: seconds of the time limit that are used up before the work starts, such as the
            time that a resumed run took earlier.

    Yields:
        A function that updates the progress, as :class:`Advance` describes.
    """
    name, following = _stage.get()
    title = title if not name else name if name.endswith(title) else f"{name}: {title}"
    work = _Work(title, total, done, unit, max_seconds, seconds, following)
    if not show or _shown.get() or done >= total:
        yield work.update
        return
    token = _shown.set(True)
    try:
        with _bar(work) if _is_terminal() else _lines(work):
            yield work.update
    finally:
        _shown.reset(token)


@contextmanager
def stage(name: str, *, following: str = "", show: bool = True) -> Iterator[None]:
    """Names the stage to which the work in a ``with`` block belongs.

    At the start, a line that names this stage and the next one is printed. Without a
    terminal, and while no progress bar is active, further lines show that the stage is still
    running; see :func:`heartbeat`.

    Args:
        name: name of the stage, which becomes part of the titles of progress bars.
        following: name of the next stage; empty if this stage is the last.
        show: False to print none of these lines.
    """
    announce(name + (f" (next: {following})" if following else ""), show=show)
    token = _stage.set((name, following))
    try:
        with heartbeat(name, show=show):
            yield
    finally:
        _stage.reset(token)


@contextmanager
def heartbeat(name: str, *, show: bool = True) -> Iterator[None]:
    """Writes lines to show that the work in a ``with`` block is still running.

    Every :data:`LINE_SECONDS` seconds, a line is written if no other line of progress was written
    in that time. On a terminal, nothing is written.

    Args:
        name: name of the work.
        show: False to write nothing.
    """
    global _last_line
    if not show or _is_terminal():
        yield
        return
    began = _last_line = time.monotonic()

    def tell() -> None:
        # A progress bar tells more.
        with _telling:
            if _work_shown == 0 and time.monotonic() - _last_line >= LINE_SECONDS:
                announce(f"{name}: goes on, {_duration(time.monotonic() - began)} so far")

    with repeatedly(tell, seconds=LINE_SECONDS):
        yield


def stages(items: Sequence[T], name_of: Callable[[T], str], *, show: bool = True) -> Iterator[T]:
    """Iterates over items; the work on each item is a numbered :func:`stage`.

    Args:
        items: objects of any type, such as the seeds of an experiment.
        name_of: function that takes an item and returns the name of its stage.
        show: False to print no lines about the stages.
    """
    names = [f"{name_of(item)} ({n} of {len(items)})" for n, item in enumerate(items, start=1)]
    for item, name, following in zip(items, names, [*names[1:], ""], strict=True):
        with stage(name, following=following, show=show):
            yield item


def announce(text: str, *, show: bool = True) -> None:
    """Prints a line about the progress of work and flushes it.

    Args:
        text: text of the line.
        show: False to print nothing.
    """
    global _last_line
    if not show:
        return
    _last_line = time.monotonic()
    if _is_terminal():
        _console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    with suppress(OSError, ValueError, AttributeError):  # a log that is full or closed
        # One write, since lines come from several threads.
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        sys.stderr.flush()


class _Work:
    """State of a piece of work: texts and numbers that a progress bar or line shows."""

    def __init__(
        self,
        title: str,
        total: int,
        done: int,
        unit: str,
        max_seconds: float | None,
        seconds: float,
        following: str,
    ) -> None:
        self.title, self.total, self.done, self.unit = title, total, done, unit
        self.note, self.following = "", following
        self.bar: tuple[Progress, TaskID] | None = None
        self._refreshed = 0.0
        self._max_seconds, self._before, self._given = max_seconds, seconds, False
        self._seconds = seconds
        self._began = time.monotonic()
        self._first_done, self._first_fraction = done, self.fraction

    def update(
        self,
        done: int,
        note: str = "",
        *,
        total: int | None = None,
        seconds: float | None = None,
    ) -> None:
        self.done, self.note = done, note
        self.total = self.total if total is None else total
        if seconds is not None:
            self._seconds, self._given = seconds, True
        self.refresh()

    def refresh(self, *, finished: bool = False) -> None:
        """Shows the state on the bar.

        Does nothing if there is no bar, or if the last refresh was less than 0.1 s ago.

        Args:
            finished: True to show a full bar, even if the last refresh was less than 0.1 s ago.
        """
        now = time.monotonic()
        if self.bar is None or (now - self._refreshed < _REFRESH_SECONDS and not finished):
            return
        self._refreshed = now
        bar, task = self.bar
        fraction = 1.0 if finished else self.fraction
        bar.update(task, completed=fraction, amount=self.amount, speed=self.speed, note=self.note)

    @property
    def seconds(self) -> float:
        """Seconds so far that count towards the time limit."""
        return self._seconds if self._given else self._before + self.elapsed

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    @property
    def fraction(self) -> float:
        """Fraction of the work that is done, or of the time limit that is used up.

        The larger of the two fractions is returned.
        """
        return min(1.0, max(self._by_amount, self._by_time))

    @property
    def _by_amount(self) -> float:
        return self.done / max(1, self.total)

    @property
    def _by_time(self) -> float:
        return 0.0 if self._max_seconds is None else self.seconds / self._max_seconds

    @property
    def amount(self) -> str:
        """Text with the work done so far, such as ``"50 of 200 steps"``.

        If the time limit is expected to be reached before the total number of units, the text is,
        for example, ``"30 s of 60 s, 50 steps"``.
        """
        if self._max_seconds is None or self._by_amount > self._by_time:
            return f"{self.done:,} of {self.total:,} {self.unit}"
        return f"{self.seconds:,.0f} s of {self._max_seconds:,.0f} s, {self.done:,} {self.unit}"

    @property
    def speed(self) -> str:
        """Text with the speed, in units per second.

        A speed below one unit per second is given in units per minute. The text is empty before the
        first unit is done.
        """
        new = self.done - self._first_done
        if new <= 0 or self.elapsed <= 0:
            return ""
        rate = new / self.elapsed
        if rate >= 1:
            return f"{rate:,.1f} {self.unit}/s" if rate < 100 else f"{rate:,.0f} {self.unit}/s"
        return f"{60 * rate:.1f} {self.unit}/min"

    @property
    def remaining(self) -> str:
        """Text with the estimated time remaining; empty until progress has been made."""
        gained = self.fraction - self._first_fraction
        if gained <= 0:
            return ""
        return f"{_duration(self.elapsed * (1 - self.fraction) / gained)} left"

    def line(self) -> str:
        parts = [self.amount, self.speed, self.remaining, self.note, self._next]
        return f"{self.title}: {'; '.join(part for part in parts if part)}"

    def first_line(self) -> str:
        limit = "" if self._max_seconds is None else f", at most {self._max_seconds:,.0f} s"
        whole = f"{self.total:,} {self.unit}{limit}"
        begun = f"resumed at {self.done:,} of {whole}" if self.done else f"started, {whole}"
        return f"{self.title}: {begun}"

    def last_line(self, word: str) -> str:
        took = f"{word} after {_duration(self.elapsed)}"
        parts = [took, self.amount, self.speed, self.note, self._next]
        return f"{self.title}: {'; '.join(part for part in parts if part)}"

    @property
    def _next(self) -> str:
        return f"next: {self.following}" if self.following else ""


@contextmanager
def _bar(work: _Work) -> Iterator[None]:
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}", markup=False),
        TextColumn("{task.fields[speed]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=_console) as bar:
        # Rich's type for the number done is int, but it takes any number.
        done: Any = work.fraction
        task = bar.add_task(
            work.title, total=1.0, completed=done, amount=work.amount, speed="", note=""
        )
        work.bar = (bar, task)
        yield
        work.refresh(finished=True)


@contextmanager
def _lines(work: _Work) -> Iterator[None]:
    global _work_shown
    announce(work.first_line())
    word = "stopped"
    _work_shown += 1
    try:
        with repeatedly(lambda: announce(work.line()), seconds=LINE_SECONDS):
            yield
        word = "done"
    finally:
        _work_shown -= 1
        announce(work.last_line(word))


@contextmanager
def repeatedly(call: Callable[[], None], *, seconds: float) -> Iterator[None]:
    """Calls a function in a thread, at intervals, until the ``with`` block ends.

    Args:
        call: function to call.
        seconds: seconds between two calls, and before the first call.
    """
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            call()

    thread = threading.Thread(target=repeat, name="repeatedly", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _is_terminal() -> bool:
    """Returns True on a terminal and in a notebook, where progress bars can be drawn."""
    # Not the console's own answer, which FORCE_COLOR makes True in logs of CI.
    with suppress(ValueError, AttributeError):  # a file that is closed, or None
        terminal = sys.stderr.isatty() and not _console.is_dumb_terminal
        return terminal or _console.is_jupyter
    return False


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
