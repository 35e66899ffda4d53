"""A planar arm: what it is made of, what is in its way, and how batches of poses do."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from wmrl.envs.planar_arm.kinematics import (
    ANGLE_LIMIT,
    descriptors,
    end_points,
    joint_positions,
    penetration,
    regularity,
)
from wmrl.envs.planar_arm.validation import (
    Locks,
    checked_joints,
    checked_lengths,
    checked_locks,
    checked_obstacles,
)

# Numbers a chunk: in float32 some 64 KB, so that what one step writes the next finds in the cache.
_CHUNK = 2**14


class ArmEvaluation(NamedTuple):
    """What B poses of an arm are worth, in the dtype of their actions.

    Attributes:
        fitness: ``(B,)``, −std of the angles in radians, whether they collide or not.
        end_points: ``(B, 2)``.
        descriptors: ``(B, 2)``, the end points in [0, 1]².
        penetration: ``(B,)``, how deep an arm reaches into an obstacle, in units of length.
    """

    fitness: np.ndarray
    end_points: np.ndarray
    descriptors: np.ndarray
    penetration: np.ndarray

    @property
    def feasible(self) -> np.ndarray:
        """Which arms enter no obstacle, ``(B,) bool``."""
        free: np.ndarray = self.penetration <= 0.0
        return free


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A planar arm of n joints with its base at the origin.

    Data-Driven Encodings (https://arxiv.org/abs/2003.04389), with the changes to the problem that
    an encoding may be reused for. An action is n numbers in [−1, 1]; times π/2 they are angles,
    each relative to the link before.

    An arm collides if the centre line of a link enters an obstacle. Such an arm is infeasible, and
    its penetration says by how much; links may cross each other.

    Attributes:
        joints: n.
        link_lengths: n lengths, more than 0; 1/n each if empty.
        locks: pairs of a joint's index (0 at the base) and the angle in radians that it is stuck
            at, within ±π/2, or a mapping of these. What an action says of such a joint is without
            effect; its angle counts in the fitness.
        obstacles: circles ``(x, y, radius)``.

    Raises:
        ValueError: an attribute is not as described, all joints are locked, or an obstacle covers
            the base.
    """

    joints: int = 20
    link_lengths: Sequence[float] = ()
    locks: Locks = ()
    obstacles: Sequence[tuple[float, float, float]] = ()

    def __post_init__(self) -> None:
        joints = checked_joints(self.joints)
        # Tuples, so that an arm may be hashed; lists come from specifications in JSON.
        for name, value in (
            ("joints", joints),
            ("link_lengths", checked_lengths(self.link_lengths, joints)),
            ("locks", checked_locks(self.locks, joints)),
            ("obstacles", checked_obstacles(self.obstacles)),
        ):
            object.__setattr__(self, name, value)

    @cached_property
    def reach(self) -> float:
        """Length of the whole arm: no end point is farther from the base."""
        return math.fsum(self.link_lengths)

    @cached_property
    def hole(self) -> float:
        """No end point is nearer to the base, for one link is longer than all others together."""
        return max(0.0, 2.0 * max(self.link_lengths) - self.reach)

    @property
    def locked_joints(self) -> tuple[int, ...]:
        """Indices of the joints that are stuck, in order."""
        return self._stuck[0]

    def angles(self, actions: np.ndarray) -> np.ndarray:
        """Joint angles in radians that actions stand for, with locked joints where they are.

        Args:
            actions: ``(B, n)`` in [−1, 1].

        Returns:
            ``(B, n)``, float32 if the actions are, else float64.

        Raises:
            ValueError: another number of joints, a number out of range or not finite.
        """
        actions = self._checked(actions)
        self._refuse_outside(actions, first_row=0)
        return self._angles(actions)

    def joint_positions(self, actions: np.ndarray) -> np.ndarray:
        """Where the joints of poses are, and last the end points: ``(B, n + 1, 2)``.

        Args:
            actions: ``(B, n)`` in [−1, 1].

        Raises:
            ValueError: as :meth:`angles`.
        """
        angles = self.angles(actions)
        return joint_positions(angles, self._lengths.astype(angles.dtype))

    def evaluate(self, actions: np.ndarray) -> ArmEvaluation:
        """What poses are worth: a pure function, whose rows do not depend on one another.

        Nothing is clipped here: what is evaluated is what was given, so that an archive can not
        hold other angles than those that its fitness belongs to.

        Args:
            actions: ``(B, n)`` in [−1, 1]. Computed in float32 if they are float32 (several times
                as fast; end points are good to 10⁻⁶ at 20 joints, 10⁻⁴ at 1000), else in float64.

        Raises:
            ValueError: another number of joints, a number out of range or not finite.
        """
        actions = self._checked(actions)
        batch, dtype = len(actions), actions.dtype
        found = ArmEvaluation(
            fitness=np.empty(batch, dtype),
            end_points=np.empty((batch, 2), dtype),
            descriptors=np.empty((batch, 2), dtype),
            penetration=np.zeros(batch, dtype),
        )
        lengths, obstacles = self._lengths.astype(dtype), np.array(self.obstacles)
        rows = max(1, _CHUNK // self.joints)
        for first in range(0, batch, rows):
            chunk = slice(first, first + rows)
            self._refuse_outside(actions[chunk], first_row=first)
            angles = self._angles(actions[chunk])
            found.fitness[chunk] = regularity(angles)
            if self.obstacles:
                positions = joint_positions(angles, lengths)
                found.end_points[chunk] = positions[:, -1]
                found.penetration[chunk] = penetration(positions, obstacles)
            else:
                found.end_points[chunk] = end_points(angles, lengths)
        return found._replace(descriptors=descriptors(found.end_points, self.reach))

    def within_reach(self, points: np.ndarray) -> np.ndarray:
        """Which points an end may be at: not too far, not too near, in no obstacle.

        This much is necessary. The joints' range and obstacles in the way may rule out more, above
        all with few joints; :func:`wmrl.envs.planar_arm.oracle.solve_targets` tells.

        Args:
            points: ``(B, 2)``.

        Returns:
            ``(B,) bool``.
        """
        distance = np.hypot(points[:, 0], points[:, 1])
        slack = 1e-9 * self.reach  # rounding must not rule out the straight arm
        possible: np.ndarray = (distance <= self.reach + slack) & (distance >= self.hole - slack)
        for x, y, radius in self.obstacles:
            possible &= np.hypot(points[:, 0] - x, points[:, 1] - y) >= radius
        return possible

    def checked_targets(self, targets: Iterable[float] | np.ndarray, name: str) -> np.ndarray:
        """Targets, if an end may be at all of them.

        Args:
            targets: ``(T, 2)``, or ``(2,)`` for one.
            name: what an error calls them.

        Returns:
            ``(T, 2) float64``.

        Raises:
            ValueError: another shape, a number that is not finite, or a target out of reach.
        """
        try:
            points = np.atleast_2d(np.asarray(targets, np.float64))
        except (TypeError, ValueError, OverflowError):
            points = np.zeros(0)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"{name}: expected x and y, finite numbers, got {targets!r}")
        possible = self.within_reach(points)
        if not possible.all():
            worst = points[np.argmin(possible)]
            raise ValueError(
                f"{name}: expected a point between {self.hole:g} and {self.reach:g} from the base "
                f"and in no obstacle, got {worst.tolist()}, which is {np.hypot(*worst):g} away; "
                "choose one that the arm can reach"
            )
        return points

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.array(self.link_lengths)

    @cached_property
    def _stuck(self) -> tuple[tuple[int, ...], np.ndarray]:
        pairs = checked_locks(self.locks, self.joints)
        return tuple(joint for joint, _ in pairs), np.array([angle for _, angle in pairs])

    def _angles(self, actions: np.ndarray) -> np.ndarray:
        angles: np.ndarray = actions * actions.dtype.type(ANGLE_LIMIT)
        joints, stuck = self._stuck
        if joints:
            angles[:, list(joints)] = stuck
        return angles

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        actions = np.asarray(actions)
        if actions.dtype != np.float32:
            actions = actions.astype(np.float64)
        if actions.ndim != 2 or actions.shape[1] != self.joints:
            raise ValueError(
                f"actions: expected shape (B, {self.joints}), one number a joint, got "
                f"{actions.shape}; give a single arm as actions[None], or make an Arm with as many "
                "joints"
            )
        return actions

    def _refuse_outside(self, actions: np.ndarray, *, first_row: int) -> None:
        within = np.abs(actions) <= 1.0  # False for NaN too
        if within.all():
            return
        row, joint = np.unravel_index(int(np.argmin(within)), within.shape)
        value = float(actions[row, joint])
        mend = "clip them: np.clip(actions, -1, 1)" if math.isfinite(value) else "drop that row"
        raise ValueError(
            f"actions: expected numbers in [-1, 1] (times pi/2 they are angles), got {value:g} in "
            f"row {first_row + int(row)}, joint {int(joint)}; {mend}"
        )
