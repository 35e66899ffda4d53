import math
from itertools import pairwise

import numpy as np
import pytest

from wmrl.envs.planar_arm.kinematics import (
    descriptors,
    end_points,
    joint_positions,
    penetration,
    regularity,
)

RIGHT = math.pi / 2


def slow_positions(angles, lengths):
    """One arm, joint by joint, by rotation matrices."""
    turn, place, found = np.eye(2), np.zeros(2), [np.zeros(2)]
    for angle, length in zip(angles, lengths, strict=True):
        cosine, sine = math.cos(angle), math.sin(angle)
        turn = turn @ np.array([[cosine, -sine], [sine, cosine]])
        place = place + turn @ np.array([length, 0.0])
        found.append(place)
    return np.array(found)


def slow_penetration(positions, obstacles, samples=2001):
    """One arm, by many points along each link."""
    deepest = 0.0
    share = np.linspace(0.0, 1.0, samples)[:, None]
    for start, end in pairwise(positions):
        points = (1 - share) * start + share * end
        for x, y, radius in obstacles:
            gap = np.hypot(points[:, 0] - x, points[:, 1] - y).min()
            deepest = max(deepest, radius - gap)
    return deepest


@pytest.fixture
def arms():
    rng = np.random.default_rng(0)
    return rng.uniform(-RIGHT, RIGHT, (50, 7)), rng.uniform(0.1, 2.0, 7)


def test_known_poses():
    unit = np.ones(2)
    for angles, expected in (
        ((0, 0), (2, 0)),
        ((RIGHT, 0), (0, 2)),
        ((RIGHT, RIGHT), (-1, 1)),
        ((math.pi / 4, -RIGHT), (math.sqrt(2), 0)),
    ):
        np.testing.assert_allclose(
            end_points(np.array([angles], float), unit)[0], expected, atol=1e-12
        )
    square = np.full((1, 4), RIGHT)
    np.testing.assert_allclose(
        joint_positions(square, np.ones(4))[0],
        [(0, 0), (0, 1), (-1, 1), (-1, 0), (0, 0)],
        atol=1e-12,
    )


def test_positions_and_ends_are_those_of_a_slow_loop(arms):
    angles, lengths = arms
    expected = np.stack([slow_positions(row, lengths) for row in angles])
    np.testing.assert_allclose(joint_positions(angles, lengths), expected, atol=1e-12)
    np.testing.assert_allclose(end_points(angles, lengths), expected[:, -1], atol=1e-12)


def test_regularity_is_minus_the_std_in_radians():
    angles = np.array([[0.3, 0.3, 0.3], [0.0, 0.0, 3.0], [1.0, -1.0, 0.0]])
    expected = [0.0, -math.sqrt(2), -math.sqrt(2 / 3)]
    np.testing.assert_allclose(regularity(angles), expected, atol=1e-12)


def test_descriptors_are_on_the_map():
    points = np.array([(0.0, 0.0), (2.0, 0.0), (0.0, -2.0), (1.0, 1.0)])
    expected = [(0.5, 0.5), (1.0, 0.5), (0.5, 0.0), (0.75, 0.75)]
    np.testing.assert_allclose(descriptors(points, 2.0), expected)
    beyond = np.array([[np.nextafter(np.float32(1), np.float32(2)), -1]], np.float32)
    np.testing.assert_array_equal(descriptors(beyond, 1.0), [[1, 0]])
    assert descriptors(beyond, 1.0).dtype == np.float32


def test_known_penetrations():
    straight = joint_positions(np.zeros((1, 2)), np.ones(2))  # from (0, 0) to (2, 0)
    for circle, expected in (
        ((1.5, 0.3, 0.5), 0.2),  # beside a link
        ((2.3, 0.4, 0.6), 0.1),  # beyond the end
        ((1.0, 0.5, 0.5), 0.0),  # touches
        ((1.0, 2.0, 0.5), 0.0),
        ((1.2, 0.0, 0.1), 0.1),  # on the line
    ):
        np.testing.assert_allclose(
            penetration(straight, np.array([circle])), [expected], atol=1e-12
        )
    both = np.array([(1.5, 0.3, 0.5), (1.2, 0.0, 0.1)])
    np.testing.assert_allclose(penetration(straight, both), [0.2])


def test_penetrations_are_those_of_many_points(arms):
    positions = joint_positions(*arms)
    obstacles = np.array([(0.7, 0.6, 0.4), (-1.0, 0.5, 0.8), (0.2, -2.0, 1.0)])
    found = penetration(positions, obstacles)
    expected = [slow_penetration(row, obstacles) for row in positions]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert 0 < np.count_nonzero(found) < len(found)


def test_single_precision_stays_and_is_close(arms):
    angles, lengths = (array.astype(np.float32) for array in arms)
    assert end_points(angles, lengths).dtype == joint_positions(angles, lengths).dtype == np.float32
    assert regularity(angles).dtype == np.float32
    np.testing.assert_allclose(end_points(angles, lengths), end_points(*arms), atol=5e-6)


def test_shapes_that_do_not_fit_are_refused():
    for angles, lengths in ((np.zeros(3), np.ones(3)), (np.zeros((2, 3)), np.ones(2))):
        with pytest.raises(ValueError, match=r"angles: expected shape \(B, n\)"):
            end_points(angles, lengths)
