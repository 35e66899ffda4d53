"""A picture of a planar arm: its links and joints, obstacles, and what it is to reach."""

from collections.abc import Sequence

import cv2
import numpy as np

from wmrl.envs.planar_arm.arm import Arm

_BACKGROUND, _DISC, _RIM = (18, 20, 26), (26, 29, 37), (70, 76, 90)
_NEAR, _FAR = np.array([86, 180, 233]), np.array([190, 140, 255])  # links, from base to end
_JOINT, _BASE, _LOCK = (238, 240, 244), (150, 156, 168), (240, 190, 70)
_OBSTACLE, _OBSTACLE_RIM, _CRASH = (74, 62, 50), (140, 112, 80), (240, 84, 84)
_TARGET = (120, 210, 130)
_MARGIN = 0.06  # of the picture, around the reach
_SHIFT = 4  # bits after the point in coordinates: drawn between pixels


def draw_arm(
    arm: Arm,
    positions: np.ndarray,
    *,
    target: np.ndarray | None = None,
    collides: bool = False,
    caption: str = "",
    size: int = 480,
) -> np.ndarray:
    """Draws one pose of an arm from above.

    Args:
        arm: whose locked joints are squares, and whose obstacles are discs.
        positions: ``(n + 1, 2)``, of :meth:`~wmrl.envs.planar_arm.arm.Arm.joint_positions`.
        target: ``(2,)``, shown as a ring with a cross; none if None.
        collides: whether links are drawn in red.
        caption: written below.
        size: pixels of a side.

    Returns:
        ``(size, size, 3) uint8``, x to the right and y upwards.
    """
    picture = _Picture(arm.reach, size)
    picture.disc((0.0, 0.0), arm.reach, _DISC, rim=_RIM)
    if arm.hole > 0.0:
        picture.disc((0.0, 0.0), arm.hole, _BACKGROUND, rim=_RIM)
    for x, y, radius in arm.obstacles:
        picture.disc((x, y), radius, _OBSTACLE, rim=_OBSTACLE_RIM)
    if target is not None:
        picture.target(target)
    _draw_links(picture, positions, collides=collides, locked=arm.locked_joints)
    if caption:
        picture.write(caption)
    return picture.pixels


def _draw_links(
    picture: "_Picture", positions: np.ndarray, *, collides: bool, locked: Sequence[int]
) -> None:
    joints = len(positions) - 1
    # Links and joints get thinner with their number, so that many of them do not run together.
    spacing = picture.scale / joints
    width = float(np.clip(0.7 * spacing, 2.0, 7.0))
    shares = np.linspace(0.0, 1.0, joints)[:, None]
    colors = np.rint((1.0 - shares) * _NEAR + shares * _FAR).astype(int).tolist()
    for index in range(joints):
        color = _CRASH if collides else colors[index]
        picture.line(positions[index], positions[index + 1], color, width)
    for index in range(1, joints):
        picture.dot(positions[index], _JOINT, min(0.45 * width, 0.3 * spacing))
    picture.square(positions[0], _BASE, max(5.0, 1.1 * width))
    for index in locked:
        picture.square(positions[index], _LOCK, max(3.0, 0.8 * width))
    picture.dot(positions[-1], _CRASH if collides else _JOINT, max(3.5, 0.9 * width))


class _Picture:
    """A square of pixels in the arm's units of length, with the base in its middle."""

    def __init__(self, reach: float, size: int) -> None:
        self.pixels = np.full((size, size, 3), _BACKGROUND, np.uint8)
        self.scale = size * (0.5 - _MARGIN)
        self._unit = self.scale / reach
        self._middle = (size - 1) / 2

    def disc(
        self,
        middle: Sequence[float],
        radius: float,
        color: Sequence[int],
        *,
        rim: Sequence[int],
    ) -> None:
        spot, extent = self._spot(middle), self._fixed(radius * self._unit)
        cv2.circle(self.pixels, spot, extent, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(self.pixels, spot, extent, rim, 1, cv2.LINE_AA, _SHIFT)

    def line(self, start: np.ndarray, end: np.ndarray, color: Sequence[int], width: float) -> None:
        thickness = max(1, round(width))
        ends = self._spot(start), self._spot(end)
        cv2.line(self.pixels, *ends, color, thickness, cv2.LINE_AA, _SHIFT)

    def dot(self, middle: np.ndarray, color: Sequence[int], radius: float) -> None:
        extent = self._fixed(radius)
        cv2.circle(self.pixels, self._spot(middle), extent, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def square(self, middle: np.ndarray, color: Sequence[int], half: float) -> None:
        x, y = self._spot(middle)
        corner = self._fixed(half)
        corners = (x - corner, y - corner), (x + corner, y + corner)
        cv2.rectangle(self.pixels, *corners, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def target(self, middle: np.ndarray) -> None:
        (x, y), radius, arm = self._spot(middle), self._fixed(8.0), self._fixed(12.0)
        cv2.circle(self.pixels, (x, y), radius, _TARGET, 2, cv2.LINE_AA, _SHIFT)
        for dx, dy in ((arm, 0), (0, arm)):
            ends = (x - dx, y - dy), (x + dx, y + dy)
            cv2.line(self.pixels, *ends, _TARGET, 1, cv2.LINE_AA, _SHIFT)

    def write(self, text: str) -> None:
        corner = (10, len(self.pixels) - 10)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(self.pixels, text, corner, font, 0.45, _BASE, 1, cv2.LINE_AA)

    def _spot(self, point: Sequence[float] | np.ndarray) -> tuple[int, int]:
        x, y = float(point[0]) * self._unit, float(point[1]) * self._unit
        return self._fixed(self._middle + x), self._fixed(self._middle - y)

    @staticmethod
    def _fixed(pixels: float) -> int:
        return round(pixels * (1 << _SHIFT))
