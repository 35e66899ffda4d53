"""Progress bars in the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Advance(Protocol):
    """Callable that updates a progress bar."""

    def __call__(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """Updates the progress bar.

        Args:
            done: number of units of work done so far.
            note: text beside the bar, such as a score.
            total: new total number of units; None if it is unchanged.
        """


@contextmanager
def progress_bar(title: str, *, total: int, done: int = 0, show: bool = True) -> Iterator[Advance]:
    """Shows a progress bar with the time elapsed and the time remaining.

    Args:
        title: text before the bar.
        total: total number of units of work.
        done: number of units that are already done.
        show: True to show the bar, False to show nothing.

    Yields:
        A function that updates the bar, as :class:`Advance` describes.
    """
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, disable=not show) as bar:
        task = bar.add_task(title, total=total, completed=done, note="")

        def advance(done: int, note: str = "", *, total: int | None = None) -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield advance
