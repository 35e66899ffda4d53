"""A progress bar for learners."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def learning_progress(
    title: str, *, total: int, show: bool = True
) -> Iterator[Callable[[int, str], None]]:
    """Shows how far a learner is.

    Args:
        title: what learns.
        total: how many units there are.
        show: show nothing if False.

    Yields:
        A function that is told how many units are done, and what to say beside the bar.
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
        task = bar.add_task(title, total=total, note="")

        def advance(done: int, note: str) -> None:
            bar.update(task, completed=done, note=note)

        yield advance
