import numpy as np
import pytest

from wmrl.agents.policy_search.cma import CMASearch
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.reward import ReachEvaluation, ReachObjective
from wmrl.scripts.reproduce.reuse.pose_search import search_pose


class Scripted:
    """Asks for given poses, two at a time, and records the values it is told."""

    population_size = 2

    def __init__(self, poses):
        self._poses, self.told = list(poses), []

    def ask(self):
        return np.array([self._poses.pop(0), self._poses.pop(0)])

    def tell(self, values):
        self.told.append(values.tolist())


def evaluate(poses):
    """The numbers of a pose are its reward, std and distance; below −10 it collides."""
    rewards, stds, distances = poses.T
    return ReachEvaluation(rewards, stds, distances, rewards > -10)


def test_the_result_of_a_search() -> None:
    search = Scripted(
        [
            (-3, 0.5, 0.5),
            (-20, 0.1, 0.0),  # at the target, but in an obstacle
            (-2, 0.4, 0.01),  # the first at the target
            (-1, 0.9, 0.3),  # the best, elsewhere
            (-4, 0.3, 0.002),  # the most even one at the target
            (0, 0.0, 0.0),  # exceeds the budget
        ]
    )
    found = search_pose(search, lambda x: x, evaluate, evaluations=5)
    np.testing.assert_array_equal(found.pose, np.float32([-1, 0.9, 0.3]))
    assert (found.reward, found.std, found.distance) == (-1, 0.9, 0.3)
    assert (found.collides, found.evaluations) == (False, 5)
    assert (found.evaluations_to_target, found.std_at_target) == (3, 0.3)
    assert search.told == [[-3, -20], [-2, -1]]


def test_a_target_that_is_not_reached() -> None:
    found = search_pose(Scripted([(-3, 0.5, 0.5)] * 2), lambda x: x, evaluate, evaluations=2)
    assert found.evaluations_to_target is None
    assert found.std_at_target is None
    with pytest.raises(ValueError, match="evaluations: expected at least 1, got 0"):
        search_pose(Scripted([]), lambda x: x, evaluate, evaluations=0)


def test_a_small_arm_reaches_evenly() -> None:
    """CMA-ES on angles, with the real objective."""
    objective = ReachObjective(arm=Arm(num_joints=8), target=(0.2, 0.6))
    search = CMASearch(np.zeros(8), sigma=0.1)
    found = search_pose(search, lambda x: x, objective, evaluations=4000)
    assert found.distance < 1e-3
    assert found.std_at_target is not None
    assert found.std_at_target < 0.15
    again = objective(found.pose[None])
    assert again.rewards[0] == pytest.approx(found.reward, abs=1e-6)
