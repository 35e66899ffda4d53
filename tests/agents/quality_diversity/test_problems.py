"""The planar arm as a problem, and the lower bound of its objective."""

import numpy as np
import pytest

from wmrl.agents.quality_diversity.problems import ArmProblem, objective_lower_bound
from wmrl.envs.planar_arm.arm import Arm

BLOCKED = ((0.5, 0.0, 0.25), (0.0, 0.4, 0.1))


def worst_poses(arm: Arm, dtype: type) -> np.ndarray:
    """Poses at the ends of the joints' range, where stds are greatest and arms coil."""
    rng = np.random.default_rng(0)
    poses = rng.choice([-1.0, 1.0], (200, arm.num_joints))
    half = np.where(np.arange(arm.num_joints) % 2, 1.0, -1.0)
    return np.concatenate((poses, [half, -half, np.sort(half)])).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("objective", ["std", "variance"])
@pytest.mark.parametrize("obstacles", [(), BLOCKED], ids=["free", "blocked"])
@pytest.mark.parametrize("num_joints", [1, 2, 7, 64, 1000])
def test_no_pose_is_below_the_bound(num_joints, obstacles, objective, dtype) -> None:
    arm = Arm(num_joints=num_joints, obstacles=obstacles)
    objectives, _ = ArmProblem(arm=arm, objective=objective).evaluate(worst_poses(arm, dtype))
    assert (objectives >= objective_lower_bound(arm, objective)).all()


def test_the_bound_is_nearly_reached() -> None:
    """With half of the angles at each end, and with the end of an arm in an obstacle's center."""
    free = Arm(num_joints=2)
    folded = np.array([[1.0, -1.0]])
    for objective, value in (("std", -np.pi / 2), ("variance", 100 * (1 - np.pi**2 / 4))):
        (found,), _ = ArmProblem(arm=free, objective=objective).evaluate(folded)
        assert found == pytest.approx(value)
        assert objective_lower_bound(free, objective) == pytest.approx(found, rel=1e-5)
    blocked = Arm(num_joints=2, obstacles=[(0.5, 0.5, 0.2)])  # up, then to the right
    for objective in ("std", "variance"):
        (found,), _ = ArmProblem(arm=blocked, objective=objective).evaluate(folded)
        assert objective_lower_bound(blocked, objective) == pytest.approx(found, rel=1e-5)


def test_the_greatest_obstacle_counts() -> None:
    depth = objective_lower_bound(Arm(), "std") - objective_lower_bound(
        Arm(obstacles=BLOCKED), "std"
    )
    assert depth == pytest.approx(np.pi / 2 + 0.25)
