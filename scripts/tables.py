"""Helpers shared by the scripts that write tables of results."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from wmrl.core.validation import check_int


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


def check_counts(**counts: int | None) -> None:
    """Checks that each option is None or an integer of at least 1.

    Args:
        counts: values of the options, by name.

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
        known: names that it may contain.

    Raises:
        ValueError: a name is unknown or repeated.
    """
    for name in given:
        if name not in known:
            raise ValueError(f"{option}: expected some of {', '.join(known)}, got {name!r}")
    _check_once(option, given)


def check_seeds(seeds: Sequence[int], option: str = "seeds", *, optional: bool = False) -> None:
    """Checks that seeds are at least 0 and distinct, and that there is at least one.

    Args:
        seeds: seeds to check.
        option: name of the option, for the error message.
        optional: True to allow that there are no seeds.

    Raises:
        ValueError: a seed is negative or repeated, or there are no seeds.
    """
    if not seeds and not optional:
        raise ValueError(f"{option}: expected at least one, got none; pass one or more integers")
    if min(seeds, default=0) < 0:
        raise ValueError(f"{option}: expected at least 0 each, got {', '.join(map(str, seeds))}")
    _check_once(option, seeds)


def _check_once(option: str, given: Sequence[object]) -> None:
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
