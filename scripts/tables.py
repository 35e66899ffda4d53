"""What the scripts that write tables of results have in common."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec


def mean_and_spread(values: Sequence[float], form: str) -> str:
    """``mean ± standard deviation`` of some seeds' figures (n − 1 below it), or the only one.

    Args:
        values: one for each seed.
        form: format of both numbers.
    """
    import numpy as np

    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"


def check_counts(**counts: int | None) -> None:
    """Raises ``ValueError`` unless options, by their names, are at least 1, or None."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")


def check_names(option: str, given: Sequence[str], known: Iterable[str]) -> None:
    """Raises ``ValueError`` unless an option's names are known, and none is there twice."""
    for name in given:
        if name not in known:
            raise ValueError(f"{option}: expected some of {', '.join(known)}, got {name!r}")
    _check_once(option, given)


def check_seeds(seeds: Sequence[int], option: str = "seeds", *, optional: bool = False) -> None:
    """Raises ``ValueError`` unless seeds are given, of 0 or more, and none twice."""
    if not seeds and not optional:
        raise ValueError(f"{option}: expected at least one, got none")
    if min(seeds, default=0) < 0:
        raise ValueError(f"{option}: expected 0 or more, got {', '.join(map(str, seeds))}")
    _check_once(option, seeds)


def _check_once(option: str, given: Sequence[object]) -> None:
    if len(set(given)) < len(given):
        raise ValueError(f"{option}: expected each once, got {', '.join(map(str, given))}")


def need(*packages: str) -> None:
    """Raises ``ImportError`` unless packages of the ``reproduce`` extra are installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ImportError(f'{", ".join(missing)} missing: pip install "wmrl[reproduce]"')
