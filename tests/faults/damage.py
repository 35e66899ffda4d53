"""Damage to single files: one flipped bit, a cut, an empty file, a missing file."""

import os
import random
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import small_run

Snapshots = dict[tuple[str, str | None], Path]
"""Folder of the run that was stopped before a stage, by plan and stage."""

KINDS = ("flip", "cut", "empty", "remove")
ERRORS = (ValueError, OSError)
"""Errors that the command line turns into one line."""

# Written for people, or no content at all: their damage has no effect on any result.
_UNREAD = ("lock", "metrics.csv", "curve.csv", "README.md")


@dataclass(frozen=True)
class Case:
    """A damaged file.

    Attributes:
        plan: name of the small run's plan.
        stage: stage before which the run was stopped; None for a finished run.
        file: damaged file, relative to the run's folder.
        kind: one of ``KINDS``.
        seed: seed of the choice of the bit or of the length.
    """

    plan: str
    stage: str | None
    file: str
    kind: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case.

    Attributes:
        case: the case.
        read: what reading everything led to: ``"noticed"``, ``"unchanged"`` or a failure.
        resumed: what resuming the run led to: ``"noticed"``, ``"same bits"`` or a failure.
    """

    case: Case
    read: str
    resumed: str

    @property
    def passed(self) -> bool:
        """True if no damage went unseen and nothing crashed."""
        return self.read in ("noticed", "unchanged") and self.resumed in ("noticed", "same bits")


def damage(file: Path, kind: str, seed: int) -> None:
    """Damages a file in place of a copy, so that hard links keep the original."""
    choice = random.Random(seed)
    data = bytearray(file.read_bytes())
    file.unlink()
    if kind == "remove":
        return
    if kind == "flip" and data:
        data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
    elif kind == "cut" and data:
        data = data[: choice.randrange(len(data))]
    elif kind == "empty":
        data = bytearray()
    file.write_bytes(data)


def files(path: Path) -> list[str]:
    """Returns the files of a run that may be damaged, relative to its folder."""
    found = (file for file in sorted(path.rglob("*")) if file.is_file())
    return [
        str(file.relative_to(path))
        for file in found
        if file.name not in _UNREAD and "tensorboard" not in file.parts
    ]


def try_case(
    case: Case, snapshot: Path, folder: Path, expected: dict[str, dict[str, str]]
) -> Outcome:
    """Damages one file of a copy of a snapshot, reads everything, and resumes the run.

    Args:
        case: the case.
        snapshot: folder of the run, as it was before the damage.
        folder: folder for the copy; removed afterwards.
        expected: contents of the snapshot (``"read"``) and of the finished run (``"resumed"``).
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(snapshot, folder, copy_function=os.link)
    try:
        damage(folder / case.file, case.kind, case.seed)
        return Outcome(
            case,
            read=_read(case, folder, expected["read"]),
            resumed=_resume(case, folder, expected["resumed"]),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(case: Case, folder: Path, expected: dict[str, str]) -> str:
    try:
        found = small_run.contents(folder)
    except ERRORS as error:
        return _judge(case, error)
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"
    if found == expected:
        return "unchanged"
    missing = expected.keys() - found.keys()
    changed = [key for key in expected.keys() & found.keys() if expected[key] != found[key]]
    if changed:
        return f"wrong data: {changed[0]}"
    # A removed artifact or checkpoint is not there to be read; resuming must notice or mend it.
    return "noticed" if missing and case.kind == "remove" else f"unseen: {sorted(missing)[:1]}"


def _resume(case: Case, folder: Path, expected: dict[str, str]) -> str:
    try:
        small_run.run(folder, case.plan)
        found = small_run.contents(folder)
    except ERRORS as error:
        return _judge(case, error)
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"
    changed = small_run.changed_keys(found, expected)
    return f"wrong data: {changed[0]}" if changed else "same bits"


def _judge(case: Case, error: Exception) -> str:
    """Returns "noticed" if an error names the file, or a folder that contains it."""
    parts = Path(case.file).parts
    named = any("/".join(parts[: n + 1]) in str(error) for n in range(len(parts)))
    return "noticed" if named else f"unclear: {type(error).__name__}: {error}"


def draw(count: int, seed: int, snapshots: Snapshots) -> list[Case]:
    """Draws cases at random: first a kind of file, such as the rewards of episodes, then a file."""
    choice = random.Random(seed)
    groups = {key: _by_kind(files(path)) for key, path in snapshots.items()}
    cases = []
    for _ in range(count):
        plan, stage = choice.choice(list(snapshots))
        names = choice.choice(list(groups[plan, stage].values()))
        kind, number = choice.choice(KINDS), choice.randrange(2**31)
        cases.append(Case(plan, stage, choice.choice(names), kind, number))
    return cases


def prepare(
    root: Path,
) -> tuple[Snapshots, dict[tuple[str, str | None], dict[str, dict[str, str]]]]:
    """Makes a snapshot of each plan and stage, and reads their contents."""
    snapshots: Snapshots = {}
    for plan in small_run.PLANS:
        before = None
        for number, stage in enumerate(small_run.STAGES):
            path = snapshots[plan, stage] = root / f"{plan}-{number}"
            if before and stage:  # the finished run is to be one that was never stopped
                shutil.copytree(before, path)
            small_run.run(path, plan, stop_before=stage)
            before = path
    contents = {key: small_run.contents(path) for key, path in snapshots.items()}
    return snapshots, {
        (plan, stage): {"read": contents[plan, stage], "resumed": contents[plan, None]}
        for plan, stage in snapshots
    }


def _by_kind(names: list[str]) -> dict[str, list[str]]:
    """Groups files whose names differ only in numbers and digests."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"[0-9a-f]{16}|\d+", "#", name), []).append(name)
    return groups
