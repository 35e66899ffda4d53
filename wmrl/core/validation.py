"""Argument checks that raise errors with the argument's name, the expected and the given value.

Values are checked once, where they enter: settings when a configuration is created, actions when an
environment is stepped, frames and rewards when a game returns them. Code behind these checks,
above all compiled code, trusts its inputs.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, SupportsFloat, SupportsIndex, TypeVar

import numpy as np

T = TypeVar("T")

LARGEST_SEED = 2**63 - 1
"""Largest root seed; larger integers fit neither into torch's generators nor into NumPy's int64."""

_FRAME = "(H, W, 3) uint8, or (H, W) if gray"


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
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the range of float64
        number = math.inf if value > 0 else -math.inf  # type: ignore[operator]
    _check_bounds(name, number, at_least=at_least, above=above, at_most=at_most, below=below)
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {number}")
    return number


def check_seed(name: str, value: SupportsIndex) -> int:
    """Checks that an argument is a seed, an integer from 0 to 2⁶³ − 1.

    Args:
        name: name of the argument, for the error message.
        value: an ``int`` or a NumPy integer; booleans are rejected.

    Returns:
        The seed as an ``int``, as Gymnasium requires it.

    Raises:
        ValueError: the value is not an integer, or is out of range.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import check_seed
        >>> check_seed("seed", np.int64(7))
        7
        >>> check_seed("seed", -1)
        Traceback (most recent call last):
        ValueError: seed: expected at least 0, got -1
    """
    return check_int(name, value, at_least=0, at_most=LARGEST_SEED)


def check_flag(name: str, value: bool) -> bool:
    """Checks that an argument is True or False, and returns it as a ``bool``.

    Raises:
        ValueError: the value is neither a ``bool`` nor a NumPy boolean.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False, got {value!r:.100}")
    return bool(value)


def check_name(name: str, value: str) -> str:
    """Checks that an argument is a string with at least one visible character, and returns it.

    Raises:
        ValueError: the value is not a string, or is empty or blank.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}: expected a non-empty name, got {value!r:.100}")
    return value


def check_lengths(name: str, value: Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Checks that an argument is a sequence of positive integers, such as widths of layers.

    Returns:
        The integers as a tuple, which may be empty.

    Raises:
        ValueError: the value is not a sequence, or an item is not a positive integer.
    """
    # Arrays and tensors without axes claim to be iterable.
    scalar = isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) == 0
    if scalar or not isinstance(value, Iterable):
        raise ValueError(f"{name}: expected a sequence of integers, got {value!r:.100}")
    return tuple(check_int(f"{name}[{k}]", item, at_least=1) for k, item in enumerate(value))


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
    # An array compares with a choice item by item.
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
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


def check_finite(name: str, array: np.ndarray, *, advice: str = "") -> None:
    """Checks that all numbers of an array are finite.

    Args:
        name: name of the argument, for the error message.
        array: real numbers, of any shape.
        advice: advice on how to mend non-finite numbers, for the end of the error message; empty
            for no advice.

    Raises:
        ValueError: a number is NaN or infinite; the message contains its index.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import check_finite
        >>> check_finite("rewards", np.array([0.5, np.nan]))
        Traceback (most recent call last):
        ValueError: rewards: expected finite numbers, got nan at index 1
    """
    finite = np.isfinite(array)
    if finite.all():
        return
    place = np.unravel_index(int(np.argmin(finite)), finite.shape)
    index = tuple(map(int, place)) if len(place) != 1 else int(place[0])
    where = f" at index {index}" if finite.ndim else ""
    raise ValueError(
        f"{name}: expected finite numbers, got {np.asarray(array)[place]}{where}"
        + (f"; {advice}" if advice else "")
    )


def check_actions(
    name: str,
    actions: Any,
    shape: tuple[int, ...],
    *,
    low: np.ndarray | float | None = None,
    high: np.ndarray | float | None = None,
    each: str = "",
    source: str = "",
) -> np.ndarray:
    """Checks continuous actions, and converts them to float32.

    Args:
        name: name of the argument, for the error message.
        actions: real numbers. If there are bounds, finite numbers of any size are clipped to them.
        shape: expected shape.
        low: lower bounds, which broadcast to ``shape``; None for no clipping.
        high: upper bounds, which broadcast to ``shape``; None for no clipping.
        each: description of the numbers, for error messages, such as "one number per joint".
        source: name of the setting that determines the shape, for error messages, such as "the
            environment's argument 'num_joints'".

    Returns:
        The actions as float32, of the given ``shape``. They may share memory with the argument.

    Raises:
        ValueError: the shape is wrong; an entry is not a real number, or is NaN or infinite; or an
            entry is not clipped and is beyond the range of float32.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import check_actions
        >>> check_actions("action", [0.5, 3.0], (2,), low=-1.0, high=1.0)
        array([0.5, 1. ], dtype=float32)
        >>> check_actions("action", [0.5, np.inf], (2,), low=-1.0, high=1.0)
        Traceback (most recent call last):
        ValueError: action: expected finite numbers, got inf at index 1; check how the action ...
    """
    numbers = _real_numbers(name, actions, each or f"numbers of shape {shape}")
    if numbers.shape != shape:
        detail = f" with {each}" if each else ""
        mend = f"; {source} determines the shape" if source else ""
        raise ValueError(f"{name}: expected shape {shape}{detail}, got {numbers.shape}{mend}")
    check_finite(name, numbers, advice="check how the action was computed")
    if low is not None and high is not None:
        numbers = np.minimum(np.maximum(numbers, low), high)
    return _to_float32(name, numbers)


def check_reals(name: str, values: Any, *, advice: str = "") -> np.ndarray:
    """Checks that values are finite real numbers, and converts them to a float32 array.

    Args:
        name: name of the argument, for the error message.
        values: real numbers, of any shape.
        advice: advice on how to mend non-finite numbers, for the end of the error message; empty
            for no advice.

    Returns:
        The numbers as a float32 array, which may share memory with the argument.

    Raises:
        ValueError: a value is not a real number, is masked, is NaN or infinite, or is beyond the
            range of float32.

    Example:
        >>> from wmrl.core import check_reals
        >>> check_reals("observation", [1, 0.5])
        array([1. , 0.5], dtype=float32)
        >>> check_reals("observation", [1j])
        Traceback (most recent call last):
        ValueError: observation: expected real numbers, got [1j]
    """
    numbers = _real_numbers(name, values, "real numbers")
    check_finite(name, numbers, advice=advice)
    return _to_float32(name, numbers)


def check_frame(name: str, frame: Any, *, where: str = "") -> np.ndarray:
    """Checks that an image is ``uint8`` with the channels last, and returns a contiguous array.

    Args:
        name: name of the argument, for the error message.
        frame: image ``(H, W, 3)``, or a gray image ``(H, W, 1)`` or ``(H, W)``, of any memory
            layout.
        where: place in the user's code where the image should be converted, for the error message,
            such as "in the method render of the game"; empty to name no place.

    Returns:
        The image, ``(H, W, 3) uint8`` or ``(H, W, 1) uint8``. It may share memory with the
        argument.

    Raises:
        ValueError: the image is not an array, has other axes or another dtype, or is empty. The
            message says how to convert it.

    Example:
        >>> import numpy as np
        >>> from wmrl.core import check_frame
        >>> check_frame("frame", np.zeros((4, 4), np.uint8)).shape
        (4, 4, 1)
        >>> check_frame("frame", np.zeros((3, 4, 4), np.uint8))
        Traceback (most recent call last):
        ValueError: frame: expected (H, W, 3) uint8, or (H, W) if gray, got (3, 4, 4) uint8; ...
    """
    if not isinstance(frame, np.ndarray):
        mend = "; create the game with render_mode='rgb_array'" if frame is None else ""
        raise ValueError(f"{name}: expected an array {_FRAME}, got {_described(frame)}{mend}")
    channels = frame.shape[2] if frame.ndim == 3 else 1 if frame.ndim == 2 else 0
    if frame.dtype != np.uint8 or channels not in (1, 3) or not frame.size:
        advice = " and ".join(_frame_advice(frame))
        mend = f"; {advice}{f' {where}' if where else ''}" if advice else ""
        raise ValueError(f"{name}: expected {_FRAME}, got {frame.shape} {frame.dtype}{mend}")
    image: np.ndarray = np.ascontiguousarray(frame)
    return image if image.ndim == 3 else image[:, :, None]


def check_number(name: str, value: Any) -> float:
    """Checks that a game's result, such as a reward, is one finite number; returns it as a float.

    Unlike :func:`check_float`, this function accepts booleans and arrays of one number, because
    games return such results.

    Raises:
        ValueError: the value is not a number, or is NaN or infinite.
    """
    try:
        array = as_array(name, value)
        if array.dtype.kind in "SUmM":  # texts and times
            raise TypeError(f"expected a number, got {array.dtype}")
        number = float(array.reshape(()))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected a number, got {value!r:.100}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {number}")
    return number


def as_array(name: str, values: Any) -> np.ndarray:
    """Converts values to an array, which may share memory with the values.

    Raises:
        ValueError: the values can't be converted (such as lists of different lengths, or a tensor
            that requires a gradient), or some values are masked.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"{name}: expected an array, got {values!r:.100} ({error})") from error
    if np.ma.is_masked(values):
        raise ValueError(
            f"{name}: expected numbers, got masked numbers ({values!r:.100}); replace the masked "
            "numbers, for example with values.filled(0)"
        )
    return array


def _real_numbers(name: str, values: Any, expected: str) -> np.ndarray:
    """Converts real numbers to a float64 array; a float32 array stays float32.

    Raises ``ValueError`` if the values are not real numbers. The error message describes the
    expected values with the text ``expected``.
    """
    try:
        numbers = as_array(name, values)
        if numbers.dtype.kind not in "fiu":
            raise ValueError(f"expected real numbers, got {numbers.dtype}")
    except ValueError as error:
        raise ValueError(f"{name}: expected {expected}, got {values!r:.100}") from error
    if numbers.dtype == np.float32:
        return numbers
    with np.errstate(over="ignore"):  # of long doubles; the result is infinite
        # In float64, numbers beyond the range of float32 are still finite.
        return numbers.astype(np.float64)


def _to_float32(name: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype == np.float32:
        return numbers
    with np.errstate(over="ignore"):
        converted: np.ndarray = numbers.astype(np.float32)
    check_finite(name, converted, advice="numbers beyond ±3.4e38 do not fit into float32")
    return converted


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _frame_advice(frame: np.ndarray) -> Iterator[str]:
    """Yields advice, for an error message, on how to convert a frame of wrong shape or dtype."""
    stacked = "take the last of stacked gray frames with"
    if frame.ndim == 3 and frame.shape[2] not in (1, 3):
        if frame.shape[2] == 4:
            yield f"drop the alpha channel with image[..., :3], or {stacked} image[..., -1],"
        elif frame.shape[0] == 4:
            yield f"{stacked} image[-1]"
        elif frame.shape[0] in (1, 3):
            yield "move the channels last with image.transpose(1, 2, 0)"
    if frame.ndim == 4:
        yield "take one of the stacked frames with image[-1]"
    if frame.dtype.kind == "f":
        yield "convert numbers in [0, 1] with (255 * image).round().astype(np.uint8)"
    elif frame.dtype == np.bool_:
        yield "convert True and False with 255 * image.astype(np.uint8)"
    elif frame.dtype != np.uint8:
        yield "convert numbers from 0 to 255 with image.astype(np.uint8)"


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
