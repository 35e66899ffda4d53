import math

import numpy as np
import pytest

from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.kinematics import end_points, joint_positions, penetration, regularity

CIRCLES = [(0.3, 0.3, 0.1), (-0.4, 0.1, 0.2)]


@pytest.fixture
def actions():
    return np.random.default_rng(0).uniform(-1, 1, (2000, 20))


def test_golden_poses():
    arm = Arm(num_joints=20)
    poses = np.stack([np.zeros(20), np.tile([1.0, -1.0], 10), np.full(20, 0.2)])
    found = arm.evaluate(poses)
    # Stretched out; a staircase of right angles; twenty twentieths of a turn: a closed polygon.
    np.testing.assert_allclose(found.end_points, [(1, 0), (0.5, 0.5), (0, 0)], atol=1e-12)
    np.testing.assert_allclose(found.descriptors, [(1, 0.5), (0.75, 0.75), (0.5, 0.5)], atol=1e-12)
    np.testing.assert_allclose(found.fitness, [0, -math.pi / 2, 0], atol=1e-12)
    assert found.feasible.all()


def test_evaluations_are_the_pure_functions(actions):
    arm = Arm(
        num_joints=20, link_lengths=np.linspace(0.5, 1.5, 20), obstacles=[(6, 6, 3), (-7, 2, 4)]
    )
    found = arm.evaluate(actions)
    angles, lengths = actions * (math.pi / 2), np.linspace(0.5, 1.5, 20)
    np.testing.assert_allclose(found.fitness, regularity(angles), atol=1e-12)
    np.testing.assert_allclose(found.end_points, end_points(angles, lengths), atol=1e-9)
    positions = joint_positions(angles, lengths)
    np.testing.assert_allclose(arm.joint_positions(actions), positions, atol=1e-9)
    expected = penetration(positions, np.array(arm.obstacles))
    np.testing.assert_allclose(found.penetration, expected, atol=1e-9)
    np.testing.assert_array_equal(found.feasible, expected <= 0)
    assert 0 < found.feasible.sum() < len(actions)
    assert math.isclose(arm.reach, lengths.sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("obstacles", [[], CIRCLES])
def test_rows_do_not_depend_on_their_batch(actions, dtype, obstacles):
    arm = Arm(num_joints=20, obstacles=obstacles)
    poses = actions.astype(dtype)
    whole = arm.evaluate(poses)
    for rows in (slice(0, 1), slice(5, 12), slice(900, 2000)):
        for part, all_of_it in zip(arm.evaluate(poses[rows]), whole, strict=True):
            assert part.dtype == dtype
            np.testing.assert_array_equal(part, all_of_it[rows])


def test_single_precision_is_as_accurate_as_documented(actions):
    for num_joints, tolerance in ((20, 1e-6), (1000, 1e-4)):
        poses = np.random.default_rng(1).uniform(-1, 1, (300, num_joints)).astype(np.float32)
        arm = Arm(num_joints=num_joints)
        fast, exact = arm.evaluate(poses), arm.evaluate(poses.astype(np.float64))
        np.testing.assert_allclose(fast.end_points, exact.end_points, atol=tolerance)
        np.testing.assert_allclose(fast.fitness, exact.fitness, atol=1e-6)


def test_locked_joints_stay_where_they_are(actions):
    arm = Arm(num_joints=20, locks={7: 0.5, 2: -1.0})
    assert arm.locked_joints == (2, 7)
    angles = arm.angles(actions)
    np.testing.assert_array_equal(angles[:, [2, 7]], np.tile([-1.0, 0.5], (len(actions), 1)))
    free = np.delete(np.arange(20), [2, 7])
    np.testing.assert_allclose(angles[:, free], actions[:, free] * math.pi / 2)
    other = actions.copy()
    other[:, [2, 7]] = 0.0
    for one, two in zip(arm.evaluate(actions), arm.evaluate(other), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(arm.evaluate(actions).fitness, -angles.std(axis=1))


def test_what_is_given_is_left_as_it_was(actions):
    before = actions.copy()
    Arm(num_joints=20, locks={3: 0.1}, obstacles=CIRCLES).evaluate(actions)
    np.testing.assert_array_equal(actions, before)


def test_integers_and_no_rows_at_all():
    arm = Arm(num_joints=2)
    assert arm.evaluate([[0, 1]]).end_points.dtype == np.float64
    assert [part.shape for part in arm.evaluate(np.zeros((0, 2)))] == [(0,), (0, 2), (0, 2), (0,)]


def test_arms_compare_and_hash_by_what_they_are_made_of():
    arm = Arm(num_joints=2, link_lengths=[1, 2], locks={0: 0.5}, obstacles=[[2, 2, 1]])
    assert arm == Arm(
        num_joints=2, link_lengths=(1.0, 2.0), locks=[("0", 0.5)], obstacles=((2, 2, 1),)
    )
    assert len({arm, Arm(num_joints=2), Arm(num_joints=2, link_lengths=(0.5, 0.5))}) == 2


def test_maximum_and_minimum_reach():
    assert Arm(num_joints=4).min_reach == 0.0
    arm = Arm(num_joints=3, link_lengths=(5, 1, 2), obstacles=[(6, 0, 0.5)])
    assert (arm.reach, arm.min_reach) == (8, 2)
    points = np.array([(8, 0), (0, 8.1), (0, 2), (1.9, 0), (6, 0), (0, 6)], float)
    assert arm.within_reach(points).tolist() == [True, False, True, False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_joints": 0}, "num_joints: expected at least 1, got 0"),
        ({"num_joints": 2.5}, "num_joints: expected an integer, got 2.5"),
        ({"num_joints": None}, "num_joints: expected an integer, got None"),
        ({"num_joints": math.nan}, "num_joints: expected an integer, got nan"),
        ({"num_joints": 2, "locks": [(0.7, 0.1)]}, "locks: expected pairs"),
        ({"obstacles": (0.5, 0.3, 0.1)}, r"obstacles: expected circles .* got 0.5 at index 0"),
        (
            {"num_joints": 3, "link_lengths": (1, 2)},
            "link_lengths: expected 3 lengths.*num_joints=2",
        ),
        (
            {"num_joints": 2, "link_lengths": (1, -2)},
            "above 0, got -2 for link 1; to leave out a link",
        ),
        ({"num_joints": 2, "link_lengths": (0, 1)}, "link_lengths: expected .* got 0 for link 0"),
        ({"num_joints": 1, "link_lengths": (math.nan,)}, "link_lengths: expected .* got nan"),
        ({"num_joints": 2, "locks": {2: 0.1}}, "locks: expected joints from 0 to 1, got joint 2"),
        ({"num_joints": 2, "locks": {-1: 0.1}}, "locks: expected joints from 0 to 1, got joint -1"),
        ({"num_joints": 2, "locks": {0: 45}}, "locks: .*±pi/2.*got 45 for joint 0; np.deg2rad"),
        ({"num_joints": 2, "locks": {0: math.nan}}, "locks: .*got nan for joint 0"),
        (
            {"num_joints": 3, "locks": [(0, 0.1), (0, 0.2)]},
            "locks: expected each joint at most once",
        ),
        (
            {"num_joints": 1, "locks": {0: 0.1}},
            "locks: expected at least one joint that moves, got all 1",
        ),
        ({"locks": [3]}, "locks: expected pairs"),
        ({"link_lengths": 3}, "link_lengths: expected a sequence with one number per joint, got 3"),
        ({"num_joints": 2, "link_lengths": "12"}, "link_lengths: expected a sequence .* got '12'"),
        ({"num_joints": 2, "link_lengths": (1e38, 1)}, r"link_lengths: expected .* the sum 1e\+38"),
        ({"num_joints": 2, "link_lengths": (1e308, 1e308)}, "link_lengths: expected .* sum inf"),
        ({"num_joints": 1, "link_lengths": (1e-46,)}, "link_lengths: expected .* the sum 1e-46"),
        ({"num_joints": 10**9}, "num_joints: expected at most 1000000, got 1000000000"),
        ({"num_joints": 1, "link_lengths": ["long"]}, "link_lengths: expected a sequence"),
        ({"obstacles": 0.5}, "obstacles: expected a sequence of circles .*, got 0.5"),
        ({"obstacles": [(0.5, 0.5)]}, r"obstacles: expected circles \(x, y, radius\).*index 0"),
        ({"obstacles": [(1, 1, 0.1), (1, 1, 0)]}, "obstacles: .*index 1"),
        ({"obstacles": [(1, math.inf, 0.1)]}, "obstacles: expected circles .*finite"),
        ({"obstacles": [(0, -1e30, 1)]}, r"obstacles: expected numbers within ±1e\+16.*index 0"),
        ({"obstacles": [(1e30, 0, 1e29)]}, r"obstacles: .* choose another unit for the lengths"),
        ({"obstacles": [(0.1, 0, 0.2)]}, r"obstacles: expected the base \(0, 0\) to be free"),
    ],
)
def test_impossible_arms_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Arm(**arguments)


def test_obstacles_at_the_limit_are_finite_in_single_precision():
    arm = Arm(num_joints=3, obstacles=[(1e16, -1e16, 1e16)])
    poses = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    assert arm.evaluate(poses).feasible.all()


def test_bad_actions_are_refused():
    arm = Arm(num_joints=3)
    for actions, message in (
        (np.zeros((5, 2)), r"actions: expected shape \(B, 3\) .* got \(5, 2\)"),
        (np.zeros(3), r"got \(3,\); pass a single action as actions\[None\]"),
        (np.zeros((2, 3), complex), "actions: expected numbers, got an array of dtype complex128"),
        ([["a", "b", "c"]], "actions: expected numbers, got an array of dtype <U1"),
        (np.ma.array(np.zeros((2, 3)), mask=True), "actions: expected numbers, got masked numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            arm.evaluate(actions)
    for value, message in (
        (1.01, r"got 1.01 in row 6000, joint 1; clip them: np.clip\(actions, -1, 1\)"),
        (-2.0, "got -2 in row 6000, joint 1; clip them"),
        (math.nan, "got nan in row 6000, joint 1; drop that row"),
        (math.inf, "got inf in row 6000, joint 1; drop that row"),
    ):
        actions = np.zeros((7000, 3))
        actions[6000, 1] = value
        for method in (arm.evaluate, arm.angles, arm.joint_positions):
            with pytest.raises(ValueError, match=message):
                method(actions)


def test_targets_out_of_reach_are_refused():
    arm = Arm(num_joints=2, link_lengths=(3, 1), obstacles=[(3, 0, 0.5)])
    assert arm.check_targets([0, 3.5], "target").tolist() == [[0, 3.5]]
    for target, message in (
        (
            (0, 5),
            r"target: expected a point .* from 2 to 4 .* got \[0.0, 5.0\] at a distance of 5",
        ),
        ((1, 1), "target: expected a point at a distance from 2 to 4"),
        ((3, 0.1), "outside of all obstacles"),
        ((0, math.nan), r"target: expected points \(x, y\) of finite"),
        ((0, 1, 2), r"target: expected points \(x, y\) of finite"),
        (("left", 1), r"target: expected points \(x, y\) of finite"),
    ):
        with pytest.raises(ValueError, match=message):
            arm.check_targets(target, "target")


def test_links_of_nearly_no_length_do_not_hide_a_collision():
    """Their squared length is 0 in float32."""
    arm = Arm(link_lengths=(1.0, 1e-30, 1.0), num_joints=3, obstacles=[(1.0, 0.0, 0.2)])
    found = arm.evaluate(np.zeros((1, 3), np.float32))
    assert found.penetration[0] == pytest.approx(0.2)
