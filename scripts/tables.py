"""What the scripts that write tables of results have in common."""

from collections.abc import Sequence
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


def need(*packages: str) -> None:
    """Raises ``ImportError`` unless packages of the ``reproduce`` extra are installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ImportError(f'{", ".join(missing)} missing: pip install "wmrl[reproduce]"')
