"""Helpers shared by the scripts that write tables of results."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from wmrl.core.validation import check_int


def mean_and_spread(values: Sequence[float], form: str) -> str:
    """Formats values as ``mean ± standard deviation``, or a single value by itself.

    Args:
        values: one value per seed, n in total; the standard deviation divides by n − 1.
        form: format specification of mean and standard deviation, such as ``".1f"``.
    """
    import numpy as np

    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"


def check_counts(**counts: int | None) -> None:
    """Raises ``ValueError`` if an option, passed by its name, is below 1; None is allowed."""
    for name, value in counts.items():
        if value is not None:
            check_int(name, value, at_least=1)


def check_names(option: str, given: Sequence[str], known: Iterable[str]) -> None:
    """Raises ``ValueError`` if an option contains an unknown or repeated name."""
    for name in given:
        if name not in known:
            raise ValueError(f"{option}: expected some of {', '.join(known)}, got {name!r}")
    _check_once(option, given)


def check_seeds(seeds: Sequence[int], option: str = "seeds", *, optional: bool = False) -> None:
    """Raises ``ValueError`` if seeds are negative, repeated, or missing and not optional."""
    if not seeds and not optional:
        raise ValueError(f"{option}: expected at least one, got none; list one or more")
    if min(seeds, default=0) < 0:
        raise ValueError(f"{option}: expected at least 0, got {', '.join(map(str, seeds))}")
    _check_once(option, seeds)


def _check_once(option: str, given: Sequence[object]) -> None:
    if len(set(given)) < len(given):
        raise ValueError(f"{option}: expected distinct values, got {', '.join(map(str, given))}")


def need(*packages: str) -> None:
    """Raises ``ImportError`` if packages of the ``reproduce`` extra are not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ImportError(f'missing packages: {", ".join(missing)}; pip install "wmrl[reproduce]"')
