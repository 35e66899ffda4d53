"""An arm that is to reach a target, as a pure function of batches of poses."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wmrl.envs.arm import Arm
from wmrl.envs.arm_reward import ArmReward


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
