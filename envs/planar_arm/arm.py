"""Planar arms with locked joints and obstacles, and evaluations of their poses."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from wmrl.core.validation import as_array, check_int
from wmrl.envs.planar_arm.kinematics import (
    ANGLE_LIMIT,
    descriptors,
    end_points,
    joint_positions,
    penetration,
    regularity,
)
from wmrl.envs.planar_arm.validation import (
    MAX_JOINTS,
    Locks,
    check_link_lengths,
    check_locks,
    check_obstacles,
)

# Angles per chunk, about 64 KB in float32, so that intermediate results stay in the CPU cache.
_CHUNK = 2**14


class ArmEvaluation(NamedTuple):
    """Evaluation of B poses of an arm.

    The arrays are float32 if the actions were float32, otherwise float64.

    Attributes:
        fitness: ``(B,)``, −std of the joint angles in radians. Collisions have no effect on the
            fitness.
        end_points: ``(B, 2)``, x and y of the end points, in the unit of the link lengths.
        descriptors: ``(B, 2)``, the end points scaled to [0, 1]².
        penetration: ``(B,)``, greatest depth to which a link enters an obstacle, in the unit of the
            link lengths; 0 if no link enters an obstacle.
    """

    fitness: np.ndarray
    end_points: np.ndarray
    descriptors: np.ndarray
    penetration: np.ndarray

    @property
    def feasible(self) -> np.ndarray:
        """Mask ``(B,) bool`` that is True for poses in which no link enters an obstacle."""
        free: np.ndarray = self.penetration <= 0.0
        return free


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Planar arm of n joints with its base at the origin.

    By default, this is the arm of Data-Driven Encodings (https://arxiv.org/abs/2003.04389). Other
    link lengths, locked joints and obstacles define new problems, on which a learned encoding can
    be reused.

    An action consists of n numbers in [−1, 1], one per joint. Multiplied by π/2, they are the joint
    angles in radians. Each angle is relative to the previous link.

    A pose collides if the center line of a link enters an obstacle. Links may cross each other. A
    pose that collides is infeasible.

    Attributes:
        num_joints: number n of joints.
        link_lengths: n lengths greater than 0; 1/n each if empty.
        locks: locked joints, as pairs ``(joint, angle)`` or a mapping from joint to angle. Joints
            are given by index (0 is at the base), and angles in radians, within ±π/2. Actions have
            no effect on locked joints, but the fitness of a pose includes their angles.
        obstacles: circles ``(x, y, radius)``.

    Raises:
        ValueError: an attribute is invalid, all joints are locked, or an obstacle covers the base.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs import Arm
        >>> arm = Arm(num_joints=2, obstacles=[(0.0, 0.5, 0.1)])
        >>> evaluation = arm.evaluate(np.array([[0.0, 0.0], [1.0, 0.0]]))
        >>> evaluation.end_points.round(3) + 0.0
        array([[1., 0.],
               [0., 1.]])
        >>> evaluation.feasible
        array([ True, False])
    """

    num_joints: int = 20
    link_lengths: Sequence[float] = ()
    locks: Locks = ()
    obstacles: Sequence[tuple[float, float, float]] = ()

    def __post_init__(self) -> None:
        num_joints = check_int("num_joints", self.num_joints, at_least=1, at_most=MAX_JOINTS)
        # Lists, as in JSON specifications, are converted to tuples, which make the arm hashable.
        for name, value in (
            ("num_joints", num_joints),
            ("link_lengths", check_link_lengths(self.link_lengths, num_joints)),
            ("locks", check_locks(self.locks, num_joints)),
            ("obstacles", check_obstacles(self.obstacles)),
        ):
            object.__setattr__(self, name, value)

    @cached_property
    def reach(self) -> float:
        """Length of the whole arm, which is the maximum distance of the end point from the base."""
        return math.fsum(self.link_lengths)

    @cached_property
    def min_reach(self) -> float:
        """Lower bound on the distance of the end point from the base.

        The bound is above 0 if one link is longer than all other links together.
        """
        return max(0.0, 2.0 * max(self.link_lengths) - self.reach)

    @property
    def locked_joints(self) -> tuple[int, ...]:
        """Indices of the locked joints, in ascending order."""
        return self._locked[0]

    def angles(self, actions: np.ndarray) -> np.ndarray:
        """Converts actions to joint angles in radians.

        Locked joints keep the angles at which they are locked, whatever the actions.

        Args:
            actions: ``(B, n)`` in [−1, 1].

        Returns:
            ``(B, n)``, float32 if the actions are float32, else float64.

        Raises:
            ValueError: the number of joints is wrong, or a number is out of range or not finite.
        """
        actions = self._check_shape(actions)
        self._check_range(actions, first_row=0)
        return self._angles(actions)

    def joint_positions(self, actions: np.ndarray) -> np.ndarray:
        """Computes the positions of all joints and of the end point.

        Args:
            actions: ``(B, n)`` in [−1, 1].

        Returns:
            ``(B, n + 1, 2)``, x and y of each point, in order from the base to the end point.

        Raises:
            ValueError: the number of joints is wrong, or a number is out of range or not finite.
        """
        angles = self.angles(actions)
        return joint_positions(angles, self._lengths.astype(angles.dtype))

    def evaluate(self, actions: np.ndarray) -> ArmEvaluation:
        """Evaluates a batch of poses; the result for a pose does not depend on the other poses.

        An action out of range raises an error instead of being clipped. A fitness is therefore
        always that of the action itself, never that of a clipped action.

        Args:
            actions: ``(B, n)`` in [−1, 1]. Actions in float32 are evaluated in float32, and all
                other actions in float64. The evaluation in float32 is several times faster, but
                less exact: the error of end points is at most about 10⁻⁶ of the reach with 20
                joints, and 10⁻⁴ of the reach with 1000 joints.

        Raises:
            ValueError: the number of joints is wrong, or a number is out of range or not finite.
        """
        actions = self._check_shape(actions)
        batch, dtype = len(actions), actions.dtype
        evaluation = ArmEvaluation(
            fitness=np.empty(batch, dtype),
            end_points=np.empty((batch, 2), dtype),
            descriptors=np.empty((batch, 2), dtype),
            penetration=np.zeros(batch, dtype),
        )
        lengths, obstacles = self._lengths.astype(dtype), np.array(self.obstacles)
        chunk_size = max(1, _CHUNK // self.num_joints)
        for first in range(0, batch, chunk_size):
            chunk = slice(first, first + chunk_size)
            self._check_range(actions[chunk], first_row=first)
            angles = self._angles(actions[chunk])
            evaluation.fitness[chunk] = regularity(angles)
            if self.obstacles:
                positions = joint_positions(angles, lengths)
                evaluation.end_points[chunk] = positions[:, -1]
                evaluation.penetration[chunk] = penetration(positions, obstacles)
            else:
                evaluation.end_points[chunk] = end_points(angles, lengths)
        return evaluation._replace(descriptors=descriptors(evaluation.end_points, self.reach))

    def within_reach(self, points: np.ndarray) -> np.ndarray:
        """Checks the distance of points from the base, and whether the points are in an obstacle.

        A point passes if it is in no obstacle, and its distance from the base is from ``min_reach``
        to ``reach``. The arm may still be unable to reach the point, because joint angles are
        limited and links must avoid obstacles. This mainly concerns arms with few joints. For arms
        without obstacles, :func:`wmrl.envs.planar_arm.oracle.solve_targets` searches for poses that
        reach given points.

        Args:
            points: ``(B, 2)``, x and y in the unit of the link lengths.

        Returns:
            ``(B,) bool``, True for points that pass.
        """
        distance = np.hypot(points[:, 0], points[:, 1])
        slack = 1e-9 * self.reach  # so that rounding does not rule out the stretched arm
        possible: np.ndarray = (distance <= self.reach + slack) & (
            distance >= self.min_reach - slack
        )
        for x, y, radius in self.obstacles:
            possible &= np.hypot(points[:, 0] - x, points[:, 1] - y) >= radius
        return possible

    def check_targets(self, targets: Iterable[float] | np.ndarray, name: str) -> np.ndarray:
        """Checks that targets are within the arm's reach and in no obstacle, and returns them.

        Args:
            targets: ``(T, 2)``, x and y of T targets, or ``(2,)`` for a single target.
            name: name of the targets in error messages.

        Returns:
            The targets, ``(T, 2) float64``.

        Raises:
            ValueError: the shape is wrong, a number is not finite, or a target is out of reach or
                in an obstacle.
        """
        try:
            points = np.atleast_2d(np.asarray(targets, np.float64))
        except (TypeError, ValueError, OverflowError):
            points = np.zeros(0)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"{name}: expected points (x, y) of finite numbers, got {targets!r}")
        possible = self.within_reach(points)
        if not possible.all():
            worst = points[np.argmin(possible)]
            for x, y, radius in self.obstacles:
                if np.hypot(worst[0] - x, worst[1] - y) < radius:
                    raise ValueError(
                        f"{name}: expected a point outside of all obstacles, got "
                        f"{worst.tolist()} in the obstacle with (x, y, radius) = "
                        f"{(x, y, radius)}; choose another point"
                    )
            raise ValueError(
                f"{name}: expected a point at a distance from {self.min_reach:g} to {self.reach:g} "
                f"from the base (0, 0), got {worst.tolist()} at a distance of "
                f"{np.hypot(*worst):g}; choose another point"
            )
        return points

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.array(self.link_lengths)

    @cached_property
    def _locked(self) -> tuple[tuple[int, ...], np.ndarray]:
        """Indices of the locked joints, and the angles at which they are locked, in radians."""
        pairs = check_locks(self.locks, self.num_joints)
        return tuple(joint for joint, _ in pairs), np.array([angle for _, angle in pairs])

    def _angles(self, actions: np.ndarray) -> np.ndarray:
        angles: np.ndarray = actions * actions.dtype.type(ANGLE_LIMIT)
        locked_joints, locked_angles = self._locked
        if locked_joints:
            angles[:, list(locked_joints)] = locked_angles
        return angles

    def _check_shape(self, actions: np.ndarray) -> np.ndarray:
        actions = as_array("actions", actions)
        if actions.dtype.kind not in "fiu":
            raise ValueError(
                f"actions: expected numbers, got an array of dtype {actions.dtype}; convert the "
                "array to float32"
            )
        if actions.dtype != np.float32:
            actions = actions.astype(np.float64)
        if actions.ndim != 2 or actions.shape[1] != self.num_joints:
            raise ValueError(
                f"actions: expected shape (B, {self.num_joints}) with one number per joint, got "
                f"{actions.shape}; pass a single action as actions[None], or create an Arm with "
                "another num_joints"
            )
        return actions

    def _check_range(self, actions: np.ndarray, *, first_row: int) -> None:
        within = np.abs(actions) <= 1.0  # False for NaN too
        if within.all():
            return
        row, joint = np.unravel_index(int(np.argmin(within)), within.shape)
        value = float(actions[row, joint])
        advice = "clip them: np.clip(actions, -1, 1)" if math.isfinite(value) else "drop that row"
        raise ValueError(
            f"actions: expected numbers in [-1, 1], got {value:g} in row {first_row + int(row)}, "
            f"joint {int(joint)}; {advice}"
        )
