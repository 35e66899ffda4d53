"""Geometry of planar arms, as pure functions of batches of joint angles.

The arm is that of Data-Driven Encodings (Gaier, Asteroth and Mouret 2020,
https://arxiv.org/abs/2003.04389). Its base is at the origin. The first angle is relative to the
x axis, and every other angle is relative to the previous link. All functions compute in the dtype
of their inputs.
"""

import math

import numpy as np

#: Maximum joint angle in radians, which corresponds to an action of 1.
ANGLE_LIMIT = math.pi / 2


def end_points(angles: np.ndarray, link_lengths: np.ndarray) -> np.ndarray:
    """Computes the end points of arms.

    The end point is p = Σ_j l_j (cos φ_j, sin φ_j), where φ_j = θ_1 + … + θ_j.

    Args:
        angles: ``(B, n)``, the joint angles θ in radians.
        link_lengths: ``(n,)``, the link lengths l.

    Returns:
        ``(B, 2)``, x and y in the unit of the link lengths.

    Raises:
        ValueError: the shapes do not match.
    """
    headings = _headings(angles, link_lengths)
    points = np.empty((len(angles), 2), headings.dtype)
    # Sums along rows, because results of matrix products depend on the size of the batch.
    (np.cos(headings) * link_lengths).sum(axis=1, out=points[:, 0])
    (np.sin(headings) * link_lengths).sum(axis=1, out=points[:, 1])
    return points


def joint_positions(angles: np.ndarray, link_lengths: np.ndarray) -> np.ndarray:
    """Computes the positions of all joints and of the end point.

    Args:
        angles: ``(B, n)``, joint angles in radians.
        link_lengths: ``(n,)``, length of each link.

    Returns:
        ``(B, n + 1, 2)``, x and y of each point, in order from the base (0, 0) to the end point.

    Raises:
        ValueError: the shapes do not match.
    """
    headings = _headings(angles, link_lengths)
    batch, num_joints = angles.shape
    positions = np.zeros((batch, num_joints + 1, 2), headings.dtype)
    np.cumsum(np.cos(headings) * link_lengths, axis=1, out=positions[:, 1:, 0])
    np.cumsum(np.sin(headings) * link_lengths, axis=1, out=positions[:, 1:, 1])
    return positions


def regularity(angles: np.ndarray) -> np.ndarray:
    """Computes −std of the joint angles, which is the fitness in Data-Driven Encodings.

    The fitness is higher for poses that bend more evenly.

    Args:
        angles: ``(B, n)``, joint angles in radians.

    Returns:
        ``(B,)``, in radians, at most 0. The std is that of a population: its divisor is n.
    """
    fitness: np.ndarray = -angles.std(axis=1)
    return fitness


def descriptors(points: np.ndarray, reach: float) -> np.ndarray:
    """Scales end points to the unit square, which is the descriptor space of MAP-Elites.

    The descriptor of an end point p is p / (2 · reach) + 0.5.

    Args:
        points: ``(B, 2)``, end points.
        reach: length of the whole arm, greater than 0.

    Returns:
        ``(B, 2)``, in [0, 1]. Values that rounding has moved out of this range are clipped.
    """
    scaled: np.ndarray = np.clip(points / points.dtype.type(2.0 * reach) + 0.5, 0.0, 1.0)
    return scaled


def penetration(positions: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
    """Computes the depth to which the center lines of links enter circular obstacles.

    The depth in a circle is the radius of the circle minus the distance from its center to the
    nearest point of any link.

    Args:
        positions: ``(B, n + 1, 2)``, from :func:`joint_positions`.
        obstacles: ``(K, 3)``, x, y and radius of each circle.

    Returns:
        ``(B,)``, the greatest depth in any circle; 0 for arms that enter no circle.
    """
    x, y = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
    start_x, start_y = x[:, :-1], y[:, :-1]
    link_x, link_y = np.diff(x, axis=1), np.diff(y, axis=1)
    # The lower bound avoids 0 / 0 for links whose squared length underflows.
    squared_length = np.maximum(link_x * link_x + link_y * link_y, np.finfo(x.dtype).tiny)
    deepest = np.zeros(len(positions), positions.dtype)
    for middle_x, middle_y, radius in obstacles.astype(positions.dtype):
        gap_x, gap_y = middle_x - start_x, middle_y - start_y  # from the starts of the links
        share = (gap_x * link_x + gap_y * link_y) / squared_length
        np.minimum(np.maximum(share, 0.0, out=share), 1.0, out=share)
        gap_x -= share * link_x  # from the nearest points of the links
        gap_y -= share * link_y
        nearest = (gap_x * gap_x + gap_y * gap_y).min(axis=1)
        np.maximum(deepest, radius - np.sqrt(nearest), out=deepest)
    return deepest


def _headings(angles: np.ndarray, link_lengths: np.ndarray) -> np.ndarray:
    """Returns the directions ``(B, n)`` of the links, in radians from the x axis."""
    if angles.ndim != 2 or link_lengths.shape != angles.shape[1:]:
        raise ValueError(
            f"angles: expected shape (B, n) for n link lengths, got {angles.shape} and link "
            f"lengths of shape {link_lengths.shape}"
        )
    return np.cumsum(angles, axis=1)
