"""Rewards of planar arms for even bending, reaching a target, and avoiding obstacles."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float
from wmrl.envs.planar_arm.arm import Arm, ArmEvaluation
from wmrl.envs.planar_arm.validation import LARGEST


@dataclass(frozen=True, kw_only=True)
class ArmReward:
    """Reward of planar arms: the fitness minus costs of distance and collision.

    With the weight w and the cost c below, the distance from the target costs w · distance / reach,
    and a collision costs c · (1 + penetration / reach).

    The distance is not squared. Therefore, if w is large enough, the end point of the optimal pose
    is exactly at the target, and no other pose at the target has a smaller std. The weight w is
    large enough if missing the target by δ · reach reduces the smallest std by less than w · δ.

    Attributes:
        distance_weight: the weight w, at least 0, in radians like the fitness. It has no effect
            without a target.
        collision_cost: the cost c, at least 0, in radians like the fitness. If c is above π/2, a
            pose that collides has a lower reward than any pose at the same distance without a
            collision.

    Raises:
        ValueError: an attribute is negative or not finite.
    """

    distance_weight: float = 5.0
    collision_cost: float = 2.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_float("distance_weight", self.distance_weight, at_least=0, at_most=LARGEST)
        check_float("collision_cost", self.collision_cost, at_least=0, at_most=LARGEST)

    def rewards(
        self, evaluation: ArmEvaluation, *, reach: float, distances: np.ndarray | None = None
    ) -> np.ndarray:
        """Computes the rewards of B poses.

        Args:
            evaluation: evaluation of the poses.
            reach: length of the whole arm.
            distances: ``(B,)``, distances of the end points from the targets; None without
                targets.

        Returns:
            ``(B,) float64``.
        """
        rewards: np.ndarray = evaluation.fitness.astype(np.float64)
        if distances is not None:
            rewards -= self.distance_weight * distances / reach
        rewards -= np.where(
            evaluation.feasible, 0.0, self.collision_cost * (1.0 + evaluation.penetration / reach)
        )
        return rewards


class ReachEvaluation(NamedTuple):
    """Evaluation of B poses with respect to a target.

    Attributes:
        rewards: ``(B,) float64``, rewards as in ``vsg/PlanarArm-v0``.
        stds: ``(B,) float64``, std of the joint angles in radians.
        distances: ``(B,) float64``, distances of the end points from the target, in the unit of the
            link lengths.
        feasible: ``(B,) bool``, True for poses that enter no obstacle.
    """

    rewards: np.ndarray
    stds: np.ndarray
    distances: np.ndarray
    feasible: np.ndarray

    def on_target(self, distance: float) -> np.ndarray:
        """Returns a mask of the poses that are near the target and enter no obstacle.

        Args:
            distance: maximum distance of the end point from the target, in the unit of the link
                lengths.

        Returns:
            ``(B,) bool``.
        """
        near: np.ndarray = (self.distances <= distance) & self.feasible
        return near


@dataclass(frozen=True, kw_only=True)
class ReachObjective:
    """Reward of ``vsg/PlanarArm-v0`` with a fixed target, as a function of poses.

    Attributes:
        arm: arm that takes the poses.
        target: x and y of the target.
        reward: reward function, which sets the costs of distance and collision.

    Raises:
        ValueError: the target is not finite, is out of the arm's reach, or is in an obstacle.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs import Arm, ReachObjective
        >>> objective = ReachObjective(arm=Arm(num_joints=2), target=(0.5, 0.5))
        >>> result = objective(np.array([[0.0, 0.0], [0.0, 1.0]]))
        >>> result.distances.round(3)
        array([0.707, 0.   ])
        >>> result.rewards.round(3)
        array([-3.536, -0.785])
        >>> result.on_target(0.01)
        array([False,  True])
    """

    arm: Arm
    target: tuple[float, float]
    reward: ArmReward = field(default_factory=ArmReward)

    def __post_init__(self) -> None:
        (point,) = self.arm.check_targets(self.target, "target")
        object.__setattr__(self, "target", (float(point[0]), float(point[1])))

    def __call__(self, poses: np.ndarray) -> ReachEvaluation:
        """Evaluates poses.

        Args:
            poses: ``(B, n)``, B poses of n joints, one number per joint. The numbers are clipped to
                [−1, 1], as in the environment.

        Raises:
            ValueError: the number of joints is wrong, or a number is not finite.
        """
        evaluation = self.arm.evaluate(np.clip(np.asarray(poses, np.float32), -1.0, 1.0))
        distances = np.linalg.norm(evaluation.end_points - np.array(self.target), axis=1)
        rewards = self.reward.rewards(evaluation, reach=self.arm.reach, distances=distances)
        stds = -evaluation.fitness.astype(np.float64)
        return ReachEvaluation(rewards, stds, distances, evaluation.feasible)
