"""Argument checks, with errors that state the name, the expected and the given value."""

import math
from collections.abc import Iterable
from typing import Any, SupportsFloat, SupportsIndex, TypeVar

import numpy as np

T = TypeVar("T")


def check_int(
    name: str, value: SupportsIndex, *, at_least: int | None = None, at_most: int | None = None
) -> int:
    """Checks that an argument is an integer within bounds.

    Args:
        name: name of the argument, for the error message.
        value: an ``int`` or a NumPy integer; booleans are rejected.
        at_least: inclusive lower bound; None for no bound.
        at_most: inclusive upper bound; None for no bound.

    Returns:
        The value as an ``int``.

    Raises:
        ValueError: the value is not an integer, or is out of bounds.

    Example:
        >>> from wmrl.core import check_int
        >>> check_int("num_envs", 4, at_least=1)
        4
        >>> check_int("num_envs", 0, at_least=1)
        Traceback (most recent call last):
        ValueError: num_envs: expected at least 1, got 0
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name}: expected an integer, got {value!r:.100}")
    number = int(value)
    _check_bounds(name, number, at_least=at_least, at_most=at_most)
    return number


def check_float(
    name: str,
    value: SupportsFloat,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """Checks that an argument is a finite number within bounds.

    Args:
        name: name of the argument, for the error message.
        value: a Python or NumPy number; booleans are rejected.
        at_least: inclusive lower bound; None for no bound.
        above: exclusive lower bound; None for no bound.
        at_most: inclusive upper bound; None for no bound.
        below: exclusive upper bound; None for no bound.

    Returns:
        The value as a ``float``.

    Raises:
        ValueError: the value is not a number, is not finite, or is out of bounds.

    Example:
        >>> from wmrl.core import check_float
        >>> check_float("temperature", 1.15, above=0)
        1.15
        >>> check_float("temperature", 0.0, above=0)
        Traceback (most recent call last):
        ValueError: temperature: expected above 0, got 0.0
    """
    real = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not real:
        raise ValueError(f"{name}: expected a number, got {value!r:.100}")
    number = float(value)
    _check_bounds(name, number, at_least=at_least, above=above, at_most=at_most, below=below)
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {number}")
    return number


def check_choice(name: str, value: T, choices: Iterable[T]) -> T:
    """Checks that an argument is one of several choices.

    Returns:
        The argument.

    Raises:
        ValueError: the argument is not one of the choices.

    Example:
        >>> from wmrl.core import check_choice
        >>> check_choice("algorithm", "sarsa", ("ppo", "cma-es"))
        Traceback (most recent call last):
        ValueError: algorithm: expected one of 'ppo', 'cma-es', got 'sarsa'
    """
    choices = tuple(choices)
    if value not in choices:
        expected = ", ".join(map(repr, choices))
        raise ValueError(f"{name}: expected one of {expected}, got {value!r:.100}")
    return value


def check_shape(name: str, array: Any, shape: tuple[int | str, ...]) -> None:
    """Checks the shape of an array or tensor.

    Args:
        name: name of the argument, for the error message.
        array: any object with a ``shape``.
        shape: expected shape; a name such as ``"B"`` stands for an axis of any length.

    Raises:
        ValueError: the array has another shape.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import check_shape
        >>> check_shape("z", np.zeros((5, 31)), ("B", 32))
        Traceback (most recent call last):
        ValueError: z: expected shape (B, 32), got (5, 31)
    """
    found = tuple(array.shape)
    fits = len(found) == len(shape) and all(
        isinstance(expected, str) or expected == length
        for expected, length in zip(shape, found, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name}: expected shape ({expected}), got {found}")


def _check_bounds(
    name: str,
    value: float,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> None:
    """Raises ``ValueError`` if a value is out of bounds; NaN violates every bound."""
    for words, bound, kept in (
        ("at least", at_least, at_least is None or value >= at_least),
        ("above", above, above is None or value > above),
        ("at most", at_most, at_most is None or value <= at_most),
        ("below", below, below is None or value < below),
    ):
        if not kept:
            raise ValueError(f"{name}: expected {words} {bound}, got {value}")
