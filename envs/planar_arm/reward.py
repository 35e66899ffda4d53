"""What a pose of a planar arm earns: even bending, a target met, obstacles kept clear of."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wmrl.envs.planar_arm.arm import Arm, ArmEvaluation


@dataclass(frozen=True, kw_only=True)
class ArmReward:
    """Reward = fitness − w_d · distance / reach − c · (1 + penetration / reach) [if it collides].

    The distance is not squared: with a weight above the rate at which std falls with it, the best
    pose is one that is at the target, and of all these the one of least std.

    Attributes:
        distance_weight: w_d, at least 0, in radians of std; without a target it has no effect.
        collision_cost: c, at least 0. Above π/2, a pose that collides earns less than any at the
            same distance that does not, and the less the deeper.

    Raises:
        ValueError: one of them is negative or not finite.
    """

    distance_weight: float = 5.0
    collision_cost: float = 2.0

    def __post_init__(self) -> None:
        for name in ("distance_weight", "collision_cost"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name}: expected a finite number of at least 0, got {value}")

    def rewards(
        self, found: ArmEvaluation, *, reach: float, distances: np.ndarray | None = None
    ) -> np.ndarray:
        """Rewards of B poses.

        Args:
            found: what the poses are worth.
            reach: length of the whole arm.
            distances: ``(B,)`` of the end points from their targets; None without targets.

        Returns:
            ``(B,) float64``.
        """
        rewards: np.ndarray = found.fitness.astype(np.float64)
        if distances is not None:
            rewards -= self.distance_weight * distances / reach
        rewards -= np.where(
            found.feasible, 0.0, self.collision_cost * (1.0 + found.penetration / reach)
        )
        return rewards


class Reached(NamedTuple):
    """What B poses are worth at a target.

    Attributes:
        rewards: ``(B,) float64``, those of ``vsg/PlanarArm-v0``.
        stds: ``(B,) float64`` of the angles, radians.
        distances: ``(B,) float64`` of the ends from the target, in units of length.
        feasible: ``(B,) bool``, which enter no obstacle.
    """

    rewards: np.ndarray
    stds: np.ndarray
    distances: np.ndarray
    feasible: np.ndarray

    def there(self, distance: float) -> np.ndarray:
        """Which poses are within a distance of the target and enter no obstacle, ``(B,) bool``."""
        near: np.ndarray = (self.distances <= distance) & self.feasible
        return near


@dataclass(frozen=True, kw_only=True)
class ReachObjective:
    """The reward of ``vsg/PlanarArm-v0`` with a fixed target.

    Attributes:
        arm: the arm.
        target: its x and y.
        reward: how std, distance and collisions are weighed.

    Raises:
        ValueError: the arm can't reach the target.
    """

    arm: Arm
    target: tuple[float, float]
    reward: ArmReward = field(default_factory=ArmReward)

    def __post_init__(self) -> None:
        (point,) = self.arm.checked_targets(self.target, "target")
        object.__setattr__(self, "target", (float(point[0]), float(point[1])))

    def __call__(self, poses: np.ndarray) -> Reached:
        """What poses ``(B, n)`` are worth; they are clipped to [−1, 1], as in the environment.

        Raises:
            ValueError: another number of joints, or a number that is not finite.
        """
        found = self.arm.evaluate(np.clip(np.asarray(poses, np.float32), -1.0, 1.0))
        distances = np.linalg.norm(found.end_points - np.array(self.target), axis=1)
        rewards = self.reward.rewards(found, reach=self.arm.reach, distances=distances)
        return Reached(rewards, -found.fitness.astype(np.float64), distances, found.feasible)
