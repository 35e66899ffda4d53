"""Helpers shared by the scripts that write tables of results."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from wmrl.core.validation import check_int


class QuickOptions(Protocol):
    """Protocol for the options of a command that has an option ``--quick``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def quick(self) -> bool:
        """True for a quick run."""

    @property
    def out(self) -> Path:
        """Output folder."""


Args = TypeVar("Args", bound=QuickOptions)

_QUICK_NOTE = (
    "**A quick run** (`--quick`): budgets are so small that the figures only show that everything "
    "works."
)


def mean_and_spread(values: Sequence[float], form: str) -> str:
    """Formats values as ``mean ± standard deviation``, or a single value by itself.

    Args:
        values: one value per seed. The standard deviation is that of a sample (``ddof=1``).
        form: format specification of each number, such as ``".1f"``.
    """
    import numpy as np

    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"


def quick_args(args: Args, reduced: Mapping[str, Any]) -> Args:
    """Adapts the options of a command if ``args.quick`` is True.

    An option that differs from its default is left unchanged. An option that has its default gets
    the value in ``reduced``, if ``reduced`` contains the option. Default folders get the suffix
    ``-quick``, so that quick and full runs never write to the same default folder.

    Args:
        args: options of a command, a dataclass with the fields ``quick`` and ``out``, and possibly
            ``work``.
        reduced: values for a quick run, keyed by the name of the option.

    Returns:
        The adapted options, or ``args`` if ``args.quick`` is False.

    Raises:
        FileExistsError: the output folder of a quick run contains results of a full run.
    """
    if not args.quick:
        return args
    defaults = {each.name: each.default for each in fields(args)}
    changes: dict[str, Any] = {
        **{name: Path(f"{defaults[name]}-quick") for name in ("out", "work") if name in defaults},
        **reduced,
    }
    unset = {
        name: value for name, value in changes.items() if getattr(args, name) == defaults[name]
    }
    quick = replace(args, **unset)
    for path in quick.out.glob("*.json"):
        with suppress(ValueError):  # not JSON: not a report
            report = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(report, dict) and not report.get("quick", False):
                raise FileExistsError(
                    f"out: expected a folder without results of a full run, got {quick.out}, whose "
                    f"{path.name} is from a full run; choose another folder for a quick run"
                )
    return quick


def finish(out: Path, table: str, *, command: str, quick: bool) -> None:
    """Writes the table of an experiment to a file, and prints the table and the path.

    Args:
        out: output folder, in which ``table.md`` is written.
        table: Markdown text, whose first line is the title.
        command: name of the command.
        quick: True to mark the table as that of a quick run.
    """
    from wmrl.storage.files import write_text

    if quick:
        title, rest = table.split("\n", 1)
        table = f"{title}\n\n{_QUICK_NOTE}\n{rest}"
    write_text(out / "table.md", table)
    print(table)
    following = f"next: wmrl {command}, without --quick, for full results"
    print(f"results: {out / 'table.md'}" + (f"; {following}" if quick else ""))


def check_counts(**counts: int | None) -> None:
    """Checks that each option is None or an integer of at least 1.

    Args:
        counts: values of the options, keyed by the names of the options.

    Raises:
        ValueError: a value is below 1, or not an integer.
    """
    for name, value in counts.items():
        if value is not None:
            check_int(name, value, at_least=1)


def check_names(option: str, given: Sequence[str], known: Iterable[str]) -> None:
    """Checks that an option contains only known names, each at most once.

    Args:
        option: name of the option, for the error message.
        given: names that the option contains.
        known: names that the option may contain.

    Raises:
        ValueError: a name is unknown or repeated.
    """
    for name in given:
        if name not in known:
            raise ValueError(
                f"{option}: expected some of {', '.join(known)}, got the unknown name {name!r}"
            )
    check_once(option, given)


def check_seeds(seeds: Sequence[int], option: str = "seeds", *, optional: bool = False) -> None:
    """Checks that there is at least one seed, and that seeds are distinct and at least 0.

    Args:
        seeds: seeds to check.
        option: name of the option, for the error message.
        optional: True to allow an empty sequence of seeds.

    Raises:
        ValueError: a seed is negative or repeated, or there are no seeds and ``optional`` is False.
    """
    if not seeds and not optional:
        raise ValueError(f"{option}: expected at least one seed, got none; pass some integers")
    if min(seeds, default=0) < 0:
        raise ValueError(
            f"{option}: expected seeds of at least 0, got {', '.join(map(str, seeds))}"
        )
    check_once(option, seeds)


def check_once(option: str, given: Sequence[object]) -> None:
    """Checks that the values of an option are distinct.

    Args:
        option: name of the option, for the error message.
        given: values of the option.

    Raises:
        ValueError: a value is repeated.
    """
    if len(set(given)) < len(given):
        raise ValueError(f"{option}: expected distinct values, got {', '.join(map(str, given))}")


def need(*packages: str) -> None:
    """Checks that packages of the ``reproduce`` extra are installed.

    Raises:
        ImportError: a package is not installed.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ImportError(
            f'packages are missing: {", ".join(missing)}; run pip install "wmrl[reproduce]"'
        )
