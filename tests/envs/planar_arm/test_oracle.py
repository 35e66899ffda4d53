import math

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO

from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.oracle import ArmOracleConfig, solve_targets
from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv

ARMS = [
    Arm(num_joints=1),
    Arm(num_joints=2),
    Arm(num_joints=3, locks={1: 0.4}),
    Arm(num_joints=6, link_lengths=(2, 1, 0.5, 1, 1.5, 3)),
    Arm(num_joints=20),
    Arm(num_joints=20, locks={0: -1.0, 9: 0.7}),
    Arm(num_joints=60, link_lengths=(7,) * 60),
]


@pytest.mark.parametrize("arm", ARMS[1:4], ids=lambda arm: f"{arm.num_joints}-{arm.locked_joints}")
def test_no_arm_that_is_there_is_more_even(arm):
    """Each target is where a random arm ends, so that it can be reached, and by what std."""
    rng = np.random.default_rng(arm.num_joints)
    poses = rng.uniform(-1, 1, (20, arm.num_joints)) * rng.uniform(0, 1, (20, 1))
    there = arm.evaluate(poses)
    found = solve_targets(there.end_points, arm)
    assert found.solved.all()
    assert (found.std <= -there.fitness + 1e-6).all()
    if arm.num_joints > 6:
        assert np.median(found.std) < 0.7 * np.median(-there.fitness)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: f"{arm.num_joints}-{arm.locked_joints}")
def test_what_it_says_of_its_arms_is_so(arm):
    targets = np.random.default_rng(0).uniform(-0.6, 0.6, (20, 2)) * arm.reach
    found = solve_targets(targets, arm, ArmOracleConfig(num_starts=4, num_survivors=2))
    assert found.angles.shape == (20, arm.num_joints)
    assert found.angles.dtype == found.std.dtype == found.distance.dtype == np.float64
    assert (np.abs(found.angles) <= math.pi / 2).all()
    again = arm.evaluate(found.actions)
    np.testing.assert_allclose(arm.angles(found.actions), found.angles, atol=1e-12)
    np.testing.assert_allclose(-again.fitness, found.std, atol=1e-9)
    gaps = np.linalg.norm(again.end_points - targets, axis=1)
    np.testing.assert_allclose(gaps, found.distance, atol=1e-9 * arm.reach)
    np.testing.assert_array_equal(found.solved, gaps <= 1e-6 * arm.reach)


def test_two_joints_leave_two_poses_to_choose_from():
    """By hand: elbow up or down, at the angle of the cosine rule."""
    arm, target = Arm(num_joints=2, link_lengths=(1, 1)), np.array([1.2, 0.9])
    bend = 2 * math.acos(np.hypot(*target) / 2)
    poses = []
    for elbow in (bend, -bend):
        first = math.atan2(target[1], target[0]) - elbow / 2
        poses.append(np.std([first, elbow]))
    assert solve_targets(target, arm).std == pytest.approx(min(poses), abs=1e-7)


def test_even_arcs_are_found_and_have_no_std():
    arm = Arm(num_joints=30)
    bends = np.linspace(-0.9, 0.9, 19)[:, None] * 6 / 30
    ends = arm.evaluate(np.broadcast_to(bends, (19, 30))).end_points
    found = solve_targets(ends, arm)
    assert found.solved.all()
    assert found.std.max() < 1e-6


def test_solutions_can_not_be_improved_along_the_way():
    """First-order optimality: what is left of the gradient pushes ends off or angles out."""
    arm = Arm(num_joints=12)
    targets = np.array([(-0.5, 0.3), (0.2, -0.7), (0.0, 0.05), (0.6, 0.6)])
    found = solve_targets(targets, arm)
    assert found.solved.all()
    for angles in found.angles:
        onward = arm.evaluate(angles[None] / (math.pi / 2)).end_points - _joints(arm, angles)
        slopes = np.stack((-onward[:, 1], onward[:, 0]), axis=1)
        free = np.abs(angles) < math.pi / 2 - 1e-9
        pull = (angles - angles.mean())[free]
        multipliers, *_ = np.linalg.lstsq(slopes[free], pull, rcond=None)
        np.testing.assert_allclose(slopes[free] @ multipliers, pull, atol=1e-4)


def _joints(arm, angles):
    return arm.joint_positions(angles[None] / (math.pi / 2))[0, :-1]


def test_what_is_out_of_reach_is_not_solved():
    targets = np.array([(1.5, 0), (0.3, 0.1), (-1, 0)])  # too far; easy; behind, with range ±π/2
    found = solve_targets(targets, Arm(num_joints=20))
    assert found.solved.tolist() == [False, True, False]
    assert found.distance[0] == pytest.approx(0.5, abs=0.05)
    assert 1e-4 < found.distance[2] < 0.1


def test_the_same_call_finds_the_same_and_company_does_not_matter():
    targets = np.random.default_rng(0).uniform(-0.6, 0.6, (6, 2))
    arm = Arm(num_joints=6)
    before = torch.get_rng_state()
    config = ArmOracleConfig(num_starts=6, num_survivors=2)
    one, two = (solve_targets(targets, arm, config) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(one.angles, two.angles)
    alone = solve_targets(targets[3], arm, config)
    np.testing.assert_allclose(alone.std, one.std[3:4], atol=1e-6)


def test_more_starts_are_never_worse():
    targets = np.random.default_rng(1).uniform(-0.6, 0.6, (15, 2))
    few, many = (
        solve_targets(
            targets,
            Arm(num_joints=8),
            ArmOracleConfig(num_starts=starts, num_survivors=starts, refine_steps=60),
        )
        for starts in (1, 8)
    )
    assert many.solved.sum() > few.solved.sum()
    both = few.solved & many.solved
    assert many.std[both].mean() <= few.std[both].mean()


def test_bad_input_is_refused():
    arm = Arm(num_joints=4)
    for targets, message in (
        (np.zeros(3), r"targets: expected shape \(T, 2\) or \(2,\), got \(3,\)"),
        (np.zeros((2, 3)), r"targets: expected shape \(T, 2\) or \(2,\), got \(2, 3\)"),
        (
            np.array([0.1, math.nan]),
            r"targets: expected finite numbers .* got \[0.1, nan\] in row 0",
        ),
        (np.array([1e300, 0.0]), r"targets: expected finite numbers within ±1e\+16, got \[1e\+300"),
    ):
        with pytest.raises(ValueError, match=message):
            solve_targets(targets, arm)
    blocked = Arm(num_joints=4, obstacles=[(0.5, 0.5, 0.1)])
    with pytest.raises(
        ValueError, match=r"arm: expected no obstacles.*use the same Arm without obstacles"
    ):
        solve_targets(np.zeros((1, 2)), blocked)
    with pytest.raises(ValueError, match="device: expected"):
        solve_targets(np.zeros((1, 2)), arm, device="quantum")
    for name, value in (
        ("num_starts", 0),
        ("num_survivors", 0),
        ("search_steps", 0),
        ("refine_steps", 0),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            ArmOracleConfig(**{name: value})
    with pytest.raises(ValueError, match="tolerance: expected above 0, got 0"):
        ArmOracleConfig(tolerance=0)


@pytest.mark.slow
def test_an_agent_learns_to_reach():
    arms = PlanarArmVectorEnv(
        64, num_joints=5, target="random", autoreset_mode=AutoresetMode.SAME_STEP
    )
    envs = SB3VecEnv(arms)
    model = PPO(
        "MlpPolicy", envs, n_steps=16, batch_size=256, gamma=0.0, learning_rate=1e-3, seed=0
    )

    def mean_reward():
        observations, _ = arms.reset(seed=1)
        actions, _ = model.predict(observations, deterministic=True)
        return arms.step(actions)[1].mean()

    untrained = mean_reward()
    model.learn(30_000)
    assert mean_reward() > 0.6 * untrained  # rewards are negative
