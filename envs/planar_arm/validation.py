"""Validation of arguments of planar arms.

The public functions return valid arguments in a normalized form, and raise ``ValueError`` for
invalid ones.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmrl.core.validation import check_actions
from wmrl.envs.planar_arm.kinematics import ANGLE_LIMIT

LARGEST = 1e16
"""Upper limit of lengths, coordinates, weights and costs.

Up to this limit, squares are finite in float32.
"""
MAX_JOINTS = 1_000_000
"""Maximum number of joints."""
Locks = Sequence[tuple[int, float]] | Mapping[int, float]


def check_link_lengths(link_lengths: Sequence[float], num_joints: int) -> tuple[float, ...]:
    """Checks link lengths, and returns them as a tuple with one length per joint.

    If no lengths are given, each length is 1/n for n joints.
    """
    given: object = link_lengths  # the annotation is not checked at run time
    try:
        if isinstance(given, str):
            raise TypeError("a string")
        lengths = tuple(map(float, link_lengths)) or (1.0 / num_joints,) * num_joints
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"link_lengths: expected a sequence with one number per joint, got {link_lengths!r}"
        ) from error
    if len(lengths) != num_joints:
        raise ValueError(
            f"link_lengths: expected {num_joints} lengths (one per joint), got {len(lengths)}; "
            f"give one length per joint, or num_joints={len(lengths)}"
        )
    for index, length in enumerate(lengths):
        if not 0.0 < length < math.inf:
            raise ValueError(
                f"link_lengths: expected finite lengths above 0, got {length:g} for link {index}; "
                "to leave out a link, create an arm with fewer joints"
            )
    if not 1.0 / LARGEST <= sum(lengths) <= LARGEST:
        raise ValueError(
            f"link_lengths: expected lengths whose sum is from {1.0 / LARGEST:g} to {LARGEST:g}, "
            f"so that float32 can hold the square of the sum, got the sum {sum(lengths):g}; choose "
            "another unit for the lengths"
        )
    return lengths


def check_locks(locks: Locks, num_joints: int) -> tuple[tuple[int, float], ...]:
    """Checks locked joints, and returns pairs ``(joint, angle)`` in the order of the joints.

    At least one joint must be free.
    """
    given = locks.items() if isinstance(locks, Mapping) else locks
    try:
        # JSON turns the keys of a mapping into strings.
        pairs = sorted((_to_int(joint), float(angle)) for joint, angle in given)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"locks: expected pairs (index of a joint, angle in radians), got {locks!r}"
        ) from error
    for joint, angle in pairs:
        if not 0 <= joint < num_joints:
            raise ValueError(
                f"locks: expected joints from 0 to {num_joints - 1}, got joint {joint}"
            )
        if not abs(angle) <= ANGLE_LIMIT:
            raise ValueError(
                "locks: expected angles in radians within ±pi/2 (±1.5708), got "
                f"{angle:g} for joint {joint}; np.deg2rad converts degrees to radians"
            )
    if len({joint for joint, _ in pairs}) != len(pairs):
        raise ValueError(
            f"locks: expected each joint at most once, got the pairs (joint, angle) {pairs}; give "
            "one angle per locked joint"
        )
    if len(pairs) == num_joints:
        raise ValueError(
            f"locks: expected at least one joint that moves, got all {num_joints} joints locked"
        )
    return tuple(pairs)


def check_obstacles(
    obstacles: Sequence[tuple[float, float, float]],
) -> tuple[tuple[float, float, float], ...]:
    """Checks obstacles, and returns them as circles ``(x, y, radius)``.

    No obstacle may cover the base of the arm.
    """
    try:
        given = list(obstacles)
    except TypeError as error:
        raise ValueError(
            f"obstacles: expected a sequence of circles (x, y, radius), got {obstacles!r}"
        ) from error
    circles = []
    for index, obstacle in enumerate(given):
        try:
            numbers = tuple(map(float, obstacle))
        except (
            TypeError,
            ValueError,
            OverflowError,
        ):  # for example a single circle instead of a list
            numbers = ()
        if len(numbers) != 3 or not all(map(math.isfinite, numbers)) or numbers[2] <= 0.0:
            raise ValueError(
                "obstacles: expected circles (x, y, radius) with finite numbers and a radius above "
                f"0, got {obstacle!r} at index {index}"
            )
        if max(map(abs, numbers)) > LARGEST:
            raise ValueError(
                f"obstacles: expected numbers within ±{LARGEST:g}, so that float32 can hold their "
                f"squares, got {obstacle!r} at index {index}; choose another unit for the lengths"
            )
        x, y, radius = numbers
        if math.hypot(x, y) <= radius:
            raise ValueError(
                "obstacles: expected the base (0, 0) to be free, got an obstacle over the base: "
                f"{obstacle!r} at index {index}; move this obstacle or make it smaller"
            )
        circles.append((x, y, radius))
    return tuple(circles)


def clip_action(
    action: Any, shape: tuple[int, ...] | None, *, each: str, argument: str
) -> np.ndarray:
    """Checks an action, and returns it as float32, clipped to [−1, 1].

    Args:
        action: action of one arm, or actions of several arms.
        shape: expected shape of the action.
        each: description of the expected numbers, such as "one number per joint". It is used in
            error messages.
        argument: name of the environment's argument that determines the shape. It is used in error
            messages.
    """
    source = f"the environment's argument '{argument}'"
    return check_actions(
        "action", action, shape or (), low=-1.0, high=1.0, each=each, source=source
    )


def _to_int(number: object) -> int:
    """Converts a whole number, or a string such as a key of a JSON object, to an integer."""
    if isinstance(number, bool):
        raise TypeError(f"joint: expected an integer, got {number}")
    integer = int(number)  # type: ignore[call-overload]
    if not isinstance(number, str) and integer != number:
        raise ValueError(f"joint: expected an integer, got {number}")
    return int(integer)
