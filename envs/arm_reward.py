"""What a pose of a planar arm earns: even bending, a target met, obstacles kept clear of."""

import math
from dataclasses import dataclass

import numpy as np

from wmrl.envs.arm import ArmEvaluation


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
