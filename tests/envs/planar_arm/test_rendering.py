from itertools import pairwise

import numpy as np
import pytest

from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.rendering import draw_arm

MIDDLE, UNIT = 239.5, 480 * 0.44  # of an image of 480 pixels


def draw(arm, actions, **kwargs):
    return draw_arm(arm, arm.joint_positions(np.array([actions], float))[0], **kwargs)


def place(x, y, reach=1.0):
    """Row and column of a point."""
    return round(MIDDLE - y * UNIT / reach), round(MIDDLE + x * UNIT / reach)


def differs(one, two):
    return (one != two).any(axis=2)


def test_every_link_and_joint_is_where_it_should_be():
    arm = Arm(num_joints=4, link_lengths=(1, 2, 1, 2))
    actions = (0.3, 0.4, -0.9, 0.2)
    image = draw(arm, actions)
    assert image.shape == (480, 480, 3)
    assert image.dtype == np.uint8
    background = image[place(-3, 0, 6)]
    positions = arm.joint_positions(np.array([actions]))[0]
    for start, end in pairwise(positions):
        assert (image[place(*(start + end) / 2, 6)] != background).any()
    for joint in positions[1:]:
        assert (image[place(*joint, 6)] > 220).all()
    # Nothing is drawn elsewhere: links of 7 pixels cover a small part of the disc.
    assert differs(image, draw(arm, (1, 1, 1, 1))).mean() < 0.05


def test_up_is_up():
    image = draw(Arm(num_joints=1), [1.0])
    assert (image[place(0, 0.5)] != image[place(0, -0.5)]).any()
    np.testing.assert_array_equal(image[place(0.5, 0)], image[place(0, -0.5)])


@pytest.mark.parametrize("num_joints", [1, 200, 1000])
def test_any_number_of_joints_can_be_drawn(num_joints):
    image = draw(Arm(num_joints=num_joints), np.full(num_joints, 0.3 / num_joints))
    drawn = differs(image, draw(Arm(num_joints=num_joints), np.full(num_joints, -0.3 / num_joints)))
    assert 100 < np.count_nonzero(drawn) < 10_000


def test_obstacles_locks_targets_collisions_and_captions_show():
    bare = Arm(num_joints=5)
    plain = draw(bare, np.zeros(5))
    blocked = Arm(num_joints=5, obstacles=[(0.0, 0.5, 0.2)])
    disc = differs(draw(blocked, np.zeros(5)), plain)
    assert abs(disc.sum() - np.pi * (0.2 * UNIT) ** 2) < 500
    assert disc[place(0, 0.5)]
    locked = differs(draw(Arm(num_joints=5, locks={2: 0.0}), np.zeros(5)), plain)
    assert locked[place(0.4, 0.0)]
    aimed = differs(
        draw_arm(bare, bare.joint_positions(np.zeros((1, 5)))[0], target=(0, -0.5)), plain
    )
    assert aimed[place(0, -0.5)]
    assert not aimed[place(0, 0.5)]
    crash = draw(bare, np.zeros(5), collides=True)
    assert crash[place(0.5, 0)][0] > crash[place(0.5, 0)][2]  # red
    assert plain[place(0.5, 0)][0] < plain[place(0.5, 0)][2]
    assert differs(draw(bare, np.zeros(5), caption="std 0.1"), plain)[460:].any()


def test_an_unequal_arm_shows_what_it_can_not_reach():
    hole = draw(Arm(num_joints=2, link_lengths=(3, 1)), (0.0, 0.0))
    np.testing.assert_array_equal(hole[place(-0.3, 0.0)], hole[2, 2])
    assert (hole[place(-0.8, 0.0)] != hole[2, 2]).any()
