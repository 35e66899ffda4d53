"""Runs that a fault interrupts at a file event, and that are then resumed."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import small_run
from children import in_child
from damage import ERRORS
from file_events import FAULTS, FileEvents


@dataclass(frozen=True)
class Interruption:
    """A fault at a file event of a small run.

    Attributes:
        plan: name of the small run's plan.
        fault: one of ``file_events.FAULTS``.
        at: number of the file event at which the fault strikes.
        size: number of bytes that still fit into a file (``"cut writes"``).
    """

    plan: str
    fault: str
    at: int
    size: int = 0


def count_events(plan: str, folder: Path) -> int:
    """Returns the number of file events of an undisturbed run."""
    shutil.rmtree(folder, ignore_errors=True)

    def work() -> int:
        events = FileEvents(folder)
        small_run.run(folder, plan)
        return events.count

    status, count = in_child(work)
    assert status == 0, count
    return int(count)


def interrupt(case: Interruption, folder: Path) -> str:
    """Runs until the fault strikes.

    Returns:
        ``"killed"``, ``"refused"``, ``"done"`` or a description of a failure.
    """
    shutil.rmtree(folder, ignore_errors=True)

    def work() -> str:
        FileEvents(folder, case.fault, at=case.at, size=case.size)
        try:
            small_run.run(folder, case.plan)
        except ERRORS as error:
            return "refused" if str(error) else f"unclear: {error!r}"
        return "done"

    status, result = in_child(work)
    return "killed" if status == -9 else str(result)


def resume(plan: str, folder: Path) -> dict[str, str] | str:
    """Resumes a run to its end; returns its contents, or the text of an error."""

    def work() -> dict[str, str]:
        small_run.run(folder, plan)
        return small_run.contents(folder)

    result: dict[str, str] | str = in_child(work)[1]
    return result


def try_interruption(case: Interruption, folder: Path, expected: dict[str, str]) -> tuple[str, str]:
    """Interrupts a run and resumes it.

    Returns:
        The result of :func:`interrupt`, and ``"same bits"`` or a failure.
    """
    try:
        how = interrupt(case, folder)
        found = resume(case.plan, folder)
        if isinstance(found, str):
            return how, found
        changed = small_run.changed_keys(found, expected)
        return how, "same bits" if not changed else f"wrong data: {changed[0]}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def draw(count: int, seed: int, events: dict[str, int]) -> list[Interruption]:
    """Draws interruptions at random file events; the faults take turns."""
    choice = random.Random(seed)
    cases = []
    for number in range(count):
        plan = choice.choice(list(events))
        fault = FAULTS[number % len(FAULTS)]
        cases.append(
            Interruption(plan, fault, choice.randrange(events[plan]), choice.randrange(4096))
        )
    return cases
