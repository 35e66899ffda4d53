import numpy as np
import pytest

from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.targets import ArmTargets


def draw(targets, count=4, options=None, indices=None, seed=0):
    indices = np.arange(count) if indices is None else indices
    return targets.next(count, options or {}, indices=indices, rng=np.random.default_rng(seed))


def test_without_a_target_observations_are_zero():
    targets = ArmTargets(Arm())
    assert targets.space.shape == (1,)
    assert draw(targets).tolist() == [[0.0]] * 4


def test_a_fixed_target_and_one_for_an_episode():
    targets = ArmTargets(Arm(num_joints=3, link_lengths=(1, 1, 1)), (1.5, -2))
    assert targets.space.shape == (2,)
    assert targets.space.high.tolist() == [3, 3]
    assert draw(targets, indices=np.array([1])).tolist() == [[1.5, -2]]
    assert draw(targets, options={"target": (0, 1)}).tolist() == [[0, 1]] * 4
    each = np.array([(0, 1), (1, 0), (2, 0), (0, 2)])
    found = draw(targets, options={"target": each}, indices=np.array([2, 3]))
    assert found.tolist() == [[2, 0], [0, 2]]


def test_random_targets_are_even_over_what_can_be_reached():
    arm = Arm(num_joints=3, link_lengths=(5, 1, 2), obstacles=[(5, 0, 2)])
    points = draw(ArmTargets(arm, "random"), 40_000)
    assert arm.within_reach(points).all()
    radius = np.hypot(*points.T)
    left = points[:, 0] < 0  # away from the obstacle
    for edge in (3.0, 5.0, 7.0):
        expected = (edge**2 - 2**2) / (8**2 - 2**2)
        assert abs((radius[left] < edge).mean() - expected) < 0.015
    assert abs((points[left, 1] > 0).mean() - 0.5) < 0.015


def test_random_targets_follow_their_generator():
    targets = ArmTargets(Arm(), "random")
    np.testing.assert_array_equal(draw(targets, seed=1), draw(targets, seed=1))
    assert not np.array_equal(draw(targets, seed=1), draw(targets, seed=2))


def test_bad_targets_are_refused():
    with pytest.raises(ValueError, match=r"target: expected a point \(x, y\), 'random' or None"):
        ArmTargets(Arm(), "anywhere")
    with pytest.raises(ValueError, match="target: expected a point at a distance from 0 to 1"):
        ArmTargets(Arm(), (1, 1))
    with pytest.raises(ValueError, match=r"options\['target'\]: expected none.*target='random'"):
        draw(ArmTargets(Arm()), options={"target": (0, 1)})
    targets = ArmTargets(Arm(), "random")
    for target, message in (
        ((1, 1), r"options\['target'\]: expected a point at a distance from 0 to 1"),
        ([(0, 1)] * 3, r"options\['target'\]: expected shape \(2,\) or \(4, 2\), got \(3, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            draw(targets, options={"target": target})


def test_one_target_is_one_point():
    with pytest.raises(ValueError, match=r"target: expected one point \(x, y\), got .* \(2, 2\)"):
        ArmTargets(Arm(num_joints=3), [[0.1, 0.2], [0.3, 0.4]])


def test_obstacles_that_leave_no_room_are_refused():
    turn = np.linspace(0, 2 * np.pi, 13)[:-1]
    ring = [(10 * np.cos(t), 10 * np.sin(t), 9.7) for t in turn]
    targets = ArmTargets(Arm(num_joints=2, link_lengths=(8, 1), obstacles=ring), "random")
    with pytest.raises(ValueError, match="obstacles: expected room for random targets"):
        draw(targets)
