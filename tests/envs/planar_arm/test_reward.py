import math

import numpy as np
import pytest

from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.reward import ArmReward

ARM = Arm(num_joints=2, link_lengths=(1, 1), obstacles=[(1, 0.5, 0.6)])  # touches the stretched arm


@pytest.fixture
def found():
    return ARM.evaluate(np.array([(0.0, 0.0), (-1.0, 0.5), (1.0, 1.0)]))


def test_it_is_the_formula(found):
    np.testing.assert_allclose(found.penetration, [0.1, 0, 0], atol=1e-12)
    spread = math.pi / 2 * 0.75
    reward = ArmReward(distance_weight=3.0, collision_cost=2.0)
    collided = 2.0 * (1 + 0.1 / 2)
    np.testing.assert_allclose(reward.rewards(found, reach=2.0), [-collided, -spread, 0])
    distances = np.array([0.5, 0.0, 2.0])
    np.testing.assert_allclose(
        reward.rewards(found, reach=2.0, distances=distances),
        [-collided - 0.75, -spread, -3.0],
    )


def test_no_pose_that_is_free_earns_less_than_one_that_collides():
    arm = Arm(num_joints=6, obstacles=[(0.4, 0.3, 0.2)])
    found = arm.evaluate(np.sign(np.random.default_rng(0).uniform(-1, 1, (5000, 6))))
    rewards = ArmReward().rewards(found, reach=1.0)
    assert rewards[found.feasible].min() > rewards[~found.feasible].max()


def test_bad_weights_are_refused():
    for name in ("distance_weight", "collision_cost"):
        for value in (-1.0, math.nan, math.inf, 1e300):
            with pytest.raises(
                ValueError, match=rf"{name}: expected (at least 0|at most 1e\+16|a finite)"
            ):
                ArmReward(**{name: value})
