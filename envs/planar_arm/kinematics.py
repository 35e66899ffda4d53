"""A planar arm's geometry and regularity as pure functions of batches of joint angles.

The arm of Data-Driven Encodings (Gaier, Asteroth and Mouret 2020,
https://arxiv.org/abs/2003.04389): the base is at the origin, every angle is relative to the link
before, and the first one to the x axis. All functions compute in the dtype of their angles.
"""

import math

import numpy as np

#: Radians that an action of 1 turns a joint by: no joint turns further.
ANGLE_LIMIT = math.pi / 2


def end_points(angles: np.ndarray, link_lengths: np.ndarray) -> np.ndarray:
    """Where arms end: p = Σ_j l_j (cos φ_j, sin φ_j), where φ_j = θ_1 + … + θ_j.

    Args:
        angles: ``(B, n)`` θ, radians.
        link_lengths: ``(n,)`` l.

    Returns:
        ``(B, 2)`` x and y, in the links' unit of length.

    Raises:
        ValueError: the shapes do not fit.
    """
    headings = _headings(angles, link_lengths)
    points = np.empty((len(angles), 2), headings.dtype)
    # Sums along rows, not matrix products: these depend on how many rows there are.
    (np.cos(headings) * link_lengths).sum(axis=1, out=points[:, 0])
    (np.sin(headings) * link_lengths).sum(axis=1, out=points[:, 1])
    return points


def joint_positions(angles: np.ndarray, link_lengths: np.ndarray) -> np.ndarray:
    """Where all joints are, and the end point after them.

    Args:
        angles: ``(B, n)``, radians.
        link_lengths: ``(n,)``.

    Returns:
        ``(B, n + 1, 2)``: the base (0, 0), which is the first joint, to the end point.

    Raises:
        ValueError: the shapes do not fit.
    """
    headings = _headings(angles, link_lengths)
    batch, joints = angles.shape
    positions = np.zeros((batch, joints + 1, 2), headings.dtype)
    np.cumsum(np.cos(headings) * link_lengths, axis=1, out=positions[:, 1:, 0])
    np.cumsum(np.sin(headings) * link_lengths, axis=1, out=positions[:, 1:, 1])
    return positions


def regularity(angles: np.ndarray) -> np.ndarray:
    """The paper's fitness: −std of an arm's angles, so that an even bend is best.

    Args:
        angles: ``(B, n)``, radians.

    Returns:
        ``(B,)``, radians, at most 0. The std is that of the angles themselves, with divisor n.
    """
    fitness: np.ndarray = -angles.std(axis=1)
    return fitness


def descriptors(points: np.ndarray, reach: float) -> np.ndarray:
    """End points as places on a map of the square around the arm's reach.

    The paper's xy / 2 + 0.5, whose arms are of length 1; others are scaled to that.

    Args:
        points: ``(B, 2)``.
        reach: length of the whole arm, more than 0.

    Returns:
        ``(B, 2)`` in [0, 1]; rounding does not leave the map.
    """
    scaled: np.ndarray = np.clip(points / points.dtype.type(2.0 * reach) + 0.5, 0.0, 1.0)
    return scaled


def penetration(positions: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
    """How deep arms reach into circles, measured from the links' centre lines.

    Args:
        positions: ``(B, n + 1, 2)`` of :func:`joint_positions`.
        obstacles: ``(K, 3)``: x, y and radius of each circle.

    Returns:
        ``(B,)``: the largest of (radius − distance from the circle's centre to the nearest point
        of any link) over all circles, and 0 for arms that enter none.
    """
    x, y = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
    start_x, start_y = x[:, :-1], y[:, :-1]
    link_x, link_y = np.diff(x, axis=1), np.diff(y, axis=1)
    # Links that are short enough to be of no length here have one nearest point.
    squared_length = np.maximum(link_x * link_x + link_y * link_y, np.finfo(x.dtype).tiny)
    deepest = np.zeros(len(positions), positions.dtype)
    for middle_x, middle_y, radius in obstacles.astype(positions.dtype):
        gap_x, gap_y = middle_x - start_x, middle_y - start_y  # from the links' starts
        share = (gap_x * link_x + gap_y * link_y) / squared_length
        np.minimum(np.maximum(share, 0.0, out=share), 1.0, out=share)
        gap_x -= share * link_x  # from the links' nearest points
        gap_y -= share * link_y
        nearest = (gap_x * gap_x + gap_y * gap_y).min(axis=1)
        np.maximum(deepest, radius - np.sqrt(nearest), out=deepest)
    return deepest


def _headings(angles: np.ndarray, link_lengths: np.ndarray) -> np.ndarray:
    """Directions ``(B, n)`` of the links, radians from the x axis."""
    if angles.ndim != 2 or link_lengths.shape != angles.shape[1:]:
        raise ValueError(
            f"angles: expected shape (B, n) with one of the n link lengths each, got "
            f"{angles.shape} and link lengths of shape {link_lengths.shape}"
        )
    return np.cumsum(angles, axis=1)
