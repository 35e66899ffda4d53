"""Images of planar arms, their obstacles and their targets."""

from collections.abc import Sequence

import cv2
import numpy as np

from wmrl.envs.planar_arm.arm import Arm

_BACKGROUND, _DISC, _RIM = (18, 20, 26), (26, 29, 37), (70, 76, 90)
_NEAR, _FAR = np.array([86, 180, 233]), np.array([190, 140, 255])  # first and last link
_JOINT, _BASE, _LOCK = (238, 240, 244), (150, 156, 168), (240, 190, 70)
_OBSTACLE, _OBSTACLE_RIM, _CRASH = (74, 62, 50), (140, 112, 80), (240, 84, 84)
_TARGET = (120, 210, 130)
_MARGIN = 0.06  # around the reach, relative to the image size
_SHIFT = 4  # fractional bits of coordinates, for subpixel accuracy


def draw_arm(
    arm: Arm,
    positions: np.ndarray,
    *,
    target: np.ndarray | None = None,
    collides: bool = False,
    caption: str = "",
    size: int = 480,
) -> np.ndarray:
    """Draws an arm in one pose.

    Args:
        arm: arm to draw; locked joints are drawn as squares, and obstacles as discs.
        positions: ``(n + 1, 2)``, positions of the joints and the end point, as computed by
            :meth:`~wmrl.envs.planar_arm.arm.Arm.joint_positions`.
        target: ``(2,)``, x and y of the target, drawn as a ring with a cross; None for no target.
        collides: True to draw the links in red.
        caption: text at the bottom of the image.
        size: width and height of the image in pixels.

    Returns:
        ``(size, size, 3) uint8``, with the x axis to the right and the y axis up.
    """
    canvas = _Canvas(arm.reach, size)
    canvas.disc((0.0, 0.0), arm.reach, _DISC, rim=_RIM)
    if arm.min_reach > 0.0:
        canvas.disc((0.0, 0.0), arm.min_reach, _BACKGROUND, rim=_RIM)
    for x, y, radius in arm.obstacles:
        canvas.disc((x, y), radius, _OBSTACLE, rim=_OBSTACLE_RIM)
    if target is not None:
        canvas.target(target)
    _draw_links(canvas, positions, collides=collides, locked=arm.locked_joints)
    if caption:
        canvas.write(caption)
    return canvas.pixels


def _draw_links(
    canvas: "_Canvas", positions: np.ndarray, *, collides: bool, locked: Sequence[int]
) -> None:
    num_joints = len(positions) - 1
    # The more links there are, the thinner they must be to stay distinguishable.
    spacing = canvas.scale / num_joints
    width = float(np.clip(0.7 * spacing, 2.0, 7.0))
    shares = np.linspace(0.0, 1.0, num_joints)[:, None]
    colors = np.rint((1.0 - shares) * _NEAR + shares * _FAR).astype(int).tolist()
    for index in range(num_joints):
        color = _CRASH if collides else colors[index]
        canvas.line(positions[index], positions[index + 1], color, width)
    for index in range(1, num_joints):
        canvas.dot(positions[index], _JOINT, min(0.45 * width, 0.3 * spacing))
    canvas.square(positions[0], _BASE, max(5.0, 1.1 * width))
    for index in locked:
        canvas.square(positions[index], _LOCK, max(3.0, 0.8 * width))
    canvas.dot(positions[-1], _CRASH if collides else _JOINT, max(3.5, 0.9 * width))


class _Canvas:
    """Square image centered on the arm's base; points are given in the coordinates of the arm."""

    def __init__(self, reach: float, size: int) -> None:
        self.pixels = np.full((size, size, 3), _BACKGROUND, np.uint8)
        self.scale = size * (0.5 - _MARGIN)
        self._unit = self.scale / reach
        self._center = (size - 1) / 2

    def disc(
        self,
        center: Sequence[float],
        radius: float,
        color: Sequence[int],
        *,
        rim: Sequence[int],
    ) -> None:
        pixel, extent = self._pixel(center), self._fixed(radius * self._unit)
        cv2.circle(self.pixels, pixel, extent, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(self.pixels, pixel, extent, rim, 1, cv2.LINE_AA, _SHIFT)

    def line(self, start: np.ndarray, end: np.ndarray, color: Sequence[int], width: float) -> None:
        thickness = max(1, round(width))
        ends = self._pixel(start), self._pixel(end)
        cv2.line(self.pixels, *ends, color, thickness, cv2.LINE_AA, _SHIFT)

    def dot(self, center: np.ndarray, color: Sequence[int], radius: float) -> None:
        extent = self._fixed(radius)
        cv2.circle(self.pixels, self._pixel(center), extent, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def square(self, center: np.ndarray, color: Sequence[int], half: float) -> None:
        x, y = self._pixel(center)
        corner = self._fixed(half)
        corners = (x - corner, y - corner), (x + corner, y + corner)
        cv2.rectangle(self.pixels, *corners, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def target(self, center: np.ndarray) -> None:
        (x, y), radius, arm = self._pixel(center), self._fixed(8.0), self._fixed(12.0)
        cv2.circle(self.pixels, (x, y), radius, _TARGET, 2, cv2.LINE_AA, _SHIFT)
        for dx, dy in ((arm, 0), (0, arm)):
            ends = (x - dx, y - dy), (x + dx, y + dy)
            cv2.line(self.pixels, *ends, _TARGET, 1, cv2.LINE_AA, _SHIFT)

    def write(self, text: str) -> None:
        corner = (10, len(self.pixels) - 10)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(self.pixels, text, corner, font, 0.45, _BASE, 1, cv2.LINE_AA)

    def _pixel(self, point: Sequence[float] | np.ndarray) -> tuple[int, int]:
        x, y = float(point[0]) * self._unit, float(point[1]) * self._unit
        return self._fixed(self._center + x), self._fixed(self._center - y)

    @staticmethod
    def _fixed(pixels: float) -> int:
        return round(pixels * (1 << _SHIFT))
