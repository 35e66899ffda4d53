import numpy as np
import pytest

from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.env import PlanarArmEnv
from wmrl.envs.planar_arm.reward import ArmReward, ReachObjective

PROBLEM = {"num_joints": 5, "obstacles": [(0.4, 0.2, 0.2)], "locks": {2: 0.5}}
TARGET = (0.3, -0.4)


def test_it_is_the_reward_of_the_environment() -> None:
    reward = {"distance_weight": 3.0, "collision_cost": 1.7}
    objective = ReachObjective(arm=Arm(**PROBLEM), target=TARGET, reward=ArmReward(**reward))
    env = PlanarArmEnv(target=TARGET, **PROBLEM, **reward)
    poses = np.random.default_rng(0).uniform(-1.3, 1.3, (40, 5)).astype(np.float32)
    found = objective(poses)
    assert 0 < found.feasible.sum() < 40
    for row, pose in enumerate(poses):
        env.reset()
        _, expected, *_, info = env.step(pose)
        assert found.rewards[row] == pytest.approx(expected, abs=1e-6)
        assert found.distances[row] == pytest.approx(info["distance"], abs=1e-6)
        assert found.feasible[row] != info["collision"]
        std = env.arm.angles(np.clip(pose, -1, 1)[None])[0].std()
        assert found.stds[row] == pytest.approx(std, abs=1e-6)


def test_poses_on_target_are_near_and_free() -> None:
    objective = ReachObjective(
        arm=Arm(num_joints=1, obstacles=[(0.5, 0.0, 0.1)]), target=(0.0, 1.0)
    )
    found = objective(np.array([[1.0], [0.999], [0.0], [-1.0]]))
    assert found.on_target(0.01).tolist() == [True, True, False, False]
    assert found.on_target(1e-4).tolist() == [True, False, False, False]
    assert found.on_target(10.0).tolist() == [True, True, False, True]


def test_clear_errors() -> None:
    with pytest.raises(ValueError, match="target: expected a point at a distance from 0 to 1"):
        ReachObjective(arm=Arm(num_joints=4), target=(1.0, 1.0))
    objective = ReachObjective(arm=Arm(num_joints=4), target=(0.0, 0.5))
    with pytest.raises(ValueError, match="actions: expected shape"):
        objective(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"actions: expected numbers .* got nan"):
        objective(np.full((2, 4), np.nan))
