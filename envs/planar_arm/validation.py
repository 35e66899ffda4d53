"""What a planar arm can not be made of: checks that say what was wrong and how to mend it.

All raise ``ValueError``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmrl.envs.planar_arm.kinematics import ANGLE_LIMIT

Locks = Sequence[tuple[int, float]] | Mapping[int, float]


def checked_joints(joints: int) -> int:
    """A number of joints, at least 1."""
    try:
        number = _whole(joints)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1:
        raise ValueError(f"joints: expected a whole number of at least 1, got {joints!r}")
    return number


def checked_lengths(link_lengths: Sequence[float], joints: int) -> tuple[float, ...]:
    """One length of more than 0 for each link; 1/n each if there are none."""
    try:
        lengths = tuple(map(float, link_lengths)) or (1.0 / joints,) * joints
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"link_lengths: expected numbers, one a joint, or (), got {link_lengths!r}"
        ) from error
    if len(lengths) != joints:
        raise ValueError(
            f"link_lengths: expected {joints} lengths, one a joint, got {len(lengths)}; "
            f"give as many, or joints={len(lengths)}"
        )
    for index, length in enumerate(lengths):
        if not 0.0 < length < math.inf:
            raise ValueError(
                f"link_lengths: expected finite lengths of more than 0, got {length:g} for "
                f"link {index}; leave a link out by making an arm with fewer joints"
            )
    return lengths


def checked_locks(locks: Locks, joints: int) -> tuple[tuple[int, float], ...]:
    """Pairs of joint and angle in order of the joints, not all of which are locked."""
    given = locks.items() if isinstance(locks, Mapping) else locks
    try:
        # A mapping's keys are strings once a specification has been through JSON.
        pairs = sorted((_whole(joint), float(angle)) for joint, angle in given)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"locks: expected pairs of a joint's index and its angle, got {locks!r}"
        ) from error
    for joint, angle in pairs:
        if not 0 <= joint < joints:
            raise ValueError(f"locks: expected joints from 0 to {joints - 1}, got joint {joint}")
        if not abs(angle) <= ANGLE_LIMIT:
            raise ValueError(
                "locks: expected angles in radians within ±pi/2 (±1.5708), got "
                f"{angle:g} for joint {joint}; np.deg2rad turns degrees into radians"
            )
    if len({joint for joint, _ in pairs}) != len(pairs):
        raise ValueError(f"locks: expected each joint at most once, got {pairs}")
    if len(pairs) == joints:
        raise ValueError(f"locks: expected at least one joint that moves, got all {joints} locked")
    return tuple(pairs)


def checked_obstacles(
    obstacles: Sequence[tuple[float, float, float]],
) -> tuple[tuple[float, float, float], ...]:
    """Circles ``(x, y, radius)``, none of which covers the base."""
    try:
        given = list(obstacles)
    except TypeError as error:
        raise ValueError(
            f"obstacles: expected circles (x, y, radius), or (), got {obstacles!r}"
        ) from error
    circles = []
    for index, obstacle in enumerate(given):
        try:
            numbers = tuple(map(float, obstacle))
        except (TypeError, ValueError, OverflowError):  # such as one circle that is not in a list
            numbers = ()
        if len(numbers) != 3 or not all(map(math.isfinite, numbers)) or numbers[2] <= 0.0:
            raise ValueError(
                "obstacles: expected circles (x, y, radius), finite and with a radius of more "
                f"than 0, got {obstacle!r} as number {index}"
            )
        x, y, radius = numbers
        if math.hypot(x, y) <= radius:
            raise ValueError(
                f"obstacles: expected the base (0, 0) to be free, got {obstacle!r} as number "
                f"{index}, which covers it, so that every arm collides; move it away or make "
                "it smaller"
            )
        circles.append((x, y, radius))
    return tuple(circles)


def clipped_action(
    action: Any, shape: tuple[int, ...] | None, *, each: str, argument: str
) -> np.ndarray:
    """An action ``float32`` of some shape, clipped to [−1, 1].

    Args:
        action: numbers, of one arm or of many.
        shape: the shape expected.
        each: what the numbers are, such as "one number a joint".
        argument: of the environment, which sets how many they are.
    """
    try:
        numbers = np.asarray(action, np.float64)  # in which great numbers are still finite
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"action: expected {each}, got {action!r:.100}") from error
    if numbers.shape != shape:
        raise ValueError(
            f"action: expected shape {shape}, {each}, got {numbers.shape}; the environment's "
            f"argument {argument} sets their number"
        )
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"action: expected finite numbers, got {numbers[~np.isfinite(numbers)][0]}; look at "
            "what computed it"
        )
    return np.clip(numbers, -1.0, 1.0).astype(np.float32)


def _whole(number: object) -> int:
    """An integer, which a JSON's key may also say; no part of a number is dropped."""
    if isinstance(number, bool):
        raise TypeError("expected a number, got a truth value")
    whole = int(number)  # type: ignore[call-overload]
    if not isinstance(number, str) and whole != number:
        raise ValueError(f"expected a whole number, got {number}")
    return int(whole)
