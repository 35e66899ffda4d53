"""The planar arm as a problem, and the least that it can be worth."""

import numpy as np
import pytest

from wmrl.agents.quality_diversity.problems import ArmProblem, least_objective
from wmrl.envs.planar_arm.arm import Arm

BLOCKED = ((0.5, 0.0, 0.25), (0.0, 0.4, 0.1))


def worst_poses(arm: Arm, dtype: type) -> np.ndarray:
    """Poses at the ends of the joints' range, where stds are greatest and arms coil."""
    rng = np.random.default_rng(0)
    poses = rng.choice([-1.0, 1.0], (200, arm.joints))
    half = np.where(np.arange(arm.joints) % 2, 1.0, -1.0)
    return np.concatenate((poses, [half, -half, np.sort(half)])).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("objective", ["std", "variance"])
@pytest.mark.parametrize("obstacles", [(), BLOCKED], ids=["free", "blocked"])
@pytest.mark.parametrize("joints", [1, 2, 7, 64, 1000])
def test_no_pose_is_below_the_least(joints, obstacles, objective, dtype) -> None:
    arm = Arm(joints=joints, obstacles=obstacles)
    objectives, _ = ArmProblem(arm=arm, objective=objective).evaluate(worst_poses(arm, dtype))
    assert (objectives >= least_objective(arm, objective)).all()


def test_the_least_is_nearly_reached() -> None:
    """By half of the angles at each end, and with the end of an arm in an obstacle's centre."""
    free = Arm(joints=2)
    folded = np.array([[1.0, -1.0]])
    for objective, value in (("std", -np.pi / 2), ("variance", 100 * (1 - np.pi**2 / 4))):
        (found,), _ = ArmProblem(arm=free, objective=objective).evaluate(folded)
        assert found == pytest.approx(value)
        assert least_objective(free, objective) == pytest.approx(found, rel=1e-5)
    blocked = Arm(joints=2, obstacles=[(0.5, 0.5, 0.2)])  # up, then to the right
    for objective in ("std", "variance"):
        (found,), _ = ArmProblem(arm=blocked, objective=objective).evaluate(folded)
        assert least_objective(blocked, objective) == pytest.approx(found, rel=1e-5)


def test_the_greatest_obstacle_counts() -> None:
    depth = least_objective(Arm(), "std") - least_objective(Arm(obstacles=BLOCKED), "std")
    assert depth == pytest.approx(np.pi / 2 + 0.25)
