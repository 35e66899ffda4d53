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
    """Moves a progress bar."""

    def __call__(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """Shows how much is done.

        Args:
            done: number of units that are done.
            note: text beside the bar, such as a score.
            total: number of units in all, where it has changed.
        """


@contextmanager
def progress_bar(title: str, *, total: int, done: int = 0, show: bool = True) -> Iterator[Advance]:
    """Shows a progress bar with the time elapsed and the time remaining.

    Args:
        title: text before the bar.
        total: number of units of work.
        done: number of units that are done already.
        show: False shows nothing.

    Yields:
        A function to call with the number of units done and a note to show beside the bar.
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
