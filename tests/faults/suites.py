"""The suites of injected faults: what each does, and how many cases its long form has."""

import importlib
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import command_line
import damage
import forgery
import interruptions
import small_run
from children import in_child


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case.

    Attributes:
        case: description of the case, with which it can be repeated.
        result: what happened.
        passed: True if that is what should happen.
    """

    case: str
    result: str
    passed: bool


@dataclass(frozen=True)
class Suite:
    """A suite of cases.

    Attributes:
        name: name of the suite.
        title: what its cases do.
        cases: number of cases of the long form.
        run: function that takes a number of cases, a seed and an empty folder, and yields outcomes.
    """

    name: str
    title: str
    cases: int
    run: Callable[[int, int, Path], Iterator[Outcome]]


def run_share(share: tuple[str, int, int, int]) -> list[Outcome]:
    """Runs the cases of one process: name of the suite, number of cases, seed, and index."""
    name, count, seed, index = share
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        return list(SUITES[name].run(count, 1000 * seed + index, Path(folder)))


def damaged_files(count: int, seed: int, root: Path) -> Iterator[Outcome]:
    """Damages one file of a small run, reads everything, and resumes the run."""
    snapshots, expected = damage.prepare(root)
    for case in damage.draw(count, seed, snapshots):
        key = case.plan, case.stage
        found = damage.try_case(case, snapshots[key], root / "case", expected[key])
        yield Outcome(str(case), f"read: {found.read}; resumed: {found.resumed}", found.passed)


def interrupted_runs(count: int, seed: int, root: Path) -> Iterator[Outcome]:
    """Interrupts a small run at a file event, and resumes it."""
    importlib.import_module("torch._dynamo")  # by optimizers: here once, not in every child
    events, expected = {}, {}
    for plan in small_run.PLANS:
        folder = root / f"whole-{plan}"
        events[plan] = interruptions.count_events(plan, folder)
        expected[plan] = in_child(lambda folder=folder: small_run.contents(folder))[1]
    for case in interruptions.draw(count, seed, events):
        how, then = interruptions.try_interruption(case, root / "case", expected[case.plan])
        passed = how in ("killed", "refused", "done") and then == "same bits"
        yield Outcome(str(case), f"{case.fault}: {how}, then {then}", passed)


def forged_artifacts(count: int, seed: int, root: Path) -> Iterator[Outcome]:
    """Opens shipped artifacts with one changed value and valid checksums."""
    choice = random.Random(seed)
    shipped = forgery.shipped()
    for _ in range(count):
        artifact, kind = choice.choice(shipped)
        number = choice.randrange(2**31)
        change = forgery.forge(artifact, root / "forged", number)
        result = forgery.try_to_open(root / "forged", kind)
        shutil.rmtree(root / "forged")
        case = f"{artifact.name}, seed {number}: {change}"
        yield Outcome(case, result, result in ("refused", "opened"))


def hostile_files(count: int, seed: int, root: Path) -> Iterator[Outcome]:
    """Opens artifacts one of whose files is not what it seems."""
    choice = random.Random(seed)
    shipped = forgery.shipped()
    names = list(forgery.HOSTILE)
    for number in range(count):
        name = names[(number + seed) % len(names)]
        artifact, kind = choice.choice(shipped)
        forgery.hostile(name, artifact, root / "hostile")
        result = forgery.try_to_open(root / "hostile", kind)
        shutil.rmtree(root / "hostile")
        yield Outcome(f"{name}: {artifact.name}", result, result == "refused")


def random_commands(count: int, seed: int, root: Path) -> Iterator[Outcome]:
    """Runs commands with words that mostly mean nothing."""
    choice = random.Random(seed)
    for number in range(count):
        words = command_line.draw(choice)
        result = command_line.try_words(words, root / str(number))
        shutil.rmtree(root / str(number), ignore_errors=True)
        passed = result in ("done", "refused", "at work")
        yield Outcome(" ".join(word[:40] for word in words), result, passed)


SUITES = {
    suite.name: suite
    for suite in (
        Suite("damage", "A flipped bit, a cut, an empty or a missing file", 600, damaged_files),
        Suite("interruptions", "A kill, a full or a read-only disk", 200, interrupted_runs),
        Suite("forgery", "A forged configuration with valid checksums", 2000, forged_artifacts),
        Suite("commands", "A command with random words", 2000, random_commands),
        Suite("hostile", "A file that is not what it seems", 84, hostile_files),
    )
}
