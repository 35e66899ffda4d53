"""Renderer of CarRacing's 96x96 observations."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pygame
from gymnasium.envs.box2d import car_dynamics, car_racing

from wmrl.core.validation import check_finite, check_shape
from wmrl.envs.car_racing import rasterizer

_FIXED_COLORS = [
    (0, 0, 0),
    (0, 0, 0),  # ground; replaced by the episode's color
    (0, 0, 0),  # grass; replaced by the episode's color
    car_dynamics.WHEEL_WHITE,
    (204, 0, 0),  # hull
    (255, 255, 255),  # speed
    (0, 0, 255),  # front wheels' spin
    (51, 0, 255),  # rear wheels' spin
    (0, 255, 0),  # steering
    (255, 0, 0),  # gyroscope
]
_SCORE_COLUMNS = 12  # columns reserved for the score; the gauges are to the right of them
_SCORE_SIZE, _SCORE_CENTER = 42, (60, 50)  # in pixels of the status bar on Gymnasium's surface


class StatePainter:
    """Renderer of CarRacing's observations on one track.

    Args:
        road: ``(P, 4, 2) float64``, polygons of the road in world units, in drawing order.
        road_rgb: ``(P, 3)``, colors of the road's polygons, 0 to 255; copied to the attribute
            ``road_rgb``.
        ground_rgb: ``(3,)``, color of the playfield.
        grass_rgb: ``(3,)``, color of the grass squares on the playfield.

    Attributes:
        road_rgb: ``(P, 3) float64``, colors of the road's polygons. Change this array in place to
            recolor the polygons.

    Raises:
        ValueError: an array has the wrong shape, or contains NaN or infinity.
    """

    def __init__(
        self,
        road: np.ndarray,
        *,
        road_rgb: np.ndarray,
        ground_rgb: np.ndarray,
        grass_rgb: np.ndarray,
    ):
        for name, array, shape in (
            ("road", road, ("P", 4, 2)),
            ("road_rgb", road_rgb, (len(road), 3)),
            ("ground_rgb", ground_rgb, (3,)),
            ("grass_rgb", grass_rgb, (3,)),
        ):
            check_shape(name, array, shape)
            check_finite(name, array)
        self._road = np.ascontiguousarray(road, np.float64)
        self._colors = np.concatenate([_FIXED_COLORS, road_rgb]).astype(np.float64)
        self._colors[rasterizer.GROUND] = ground_rgb
        self._colors[rasterizer.GRASS] = grass_rgb
        self.road_rgb = self._colors[len(_FIXED_COLORS) :]
        self._canvas = rasterizer.new_canvas()

    def paint(
        self, *, camera: np.ndarray, poses: np.ndarray, gauges: np.ndarray, score: str
    ) -> np.ndarray:
        """Renders the observation of a state of the game.

        Args:
            camera: ``(4,) float64``: ``zoom * cos(angle)`` and ``zoom * sin(angle)`` of the camera,
                then the column and the row of the world's origin on Gymnasium's surface. This row
                is counted from the bottom.
            poses: ``(5, 4) float64``, one row for each of the four wheels, then one for the hull. A
                row is x, y, angle and rotation about the axle. The hull's rotation is not used.
            gauges: ``(7,) float64``: speed, spin of the four wheels, angle of the front wheels,
                turn rate of the hull.
            score: the score, as text to display.

        Returns:
            A new array ``(96, 96, 3) uint8``.

        Raises:
            ValueError: an array has the wrong shape, or a number is NaN, infinite or too large to
                draw.
        """
        for name, array, shape in (
            ("camera", camera, (4,)),
            ("poses", poses, (5, 4)),
            ("gauges", gauges, (7,)),
        ):
            if array.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
        state = np.empty((rasterizer.SIZE, rasterizer.SIZE, 3), np.uint8)
        if not rasterizer.draw(
            self._canvas, self._colors, _scene(), self._road, camera, poses, gauges, state
        ):
            raise ValueError(_undrawable(camera=camera, poses=poses, gauges=gauges))
        state[-rasterizer.BAR_SIZE :, :_SCORE_COLUMNS] = _score_pixels(score)
        return state


@lru_cache(maxsize=1)
def _scene() -> rasterizer.Scene:
    square = np.array([(1, 0), (0, 0), (0, 1), (1, 1)])
    places = np.arange(-20, 20, 2)
    corners = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    field = np.array([[(1, 1), (1, -1), (-1, -1), (-1, 1)]])
    wheel = np.array([(-1, 1), (1, 1), (1, -1), (-1, -1)])
    hull = (
        car_dynamics.HULL_POLY1,
        car_dynamics.HULL_POLY2,
        car_dynamics.HULL_POLY3,
        car_dynamics.HULL_POLY4,
    )
    return rasterizer.Scene(
        field=car_racing.PLAYFIELD * field,
        grass=car_racing.GRASS_DIM * (corners + square),
        reach=car_racing.MAX_SHAPE_DIM / (car_racing.ZOOM * car_racing.SCALE),
        wheel=car_dynamics.SIZE * wheel * (car_dynamics.WHEEL_W, car_dynamics.WHEEL_R),
        hull=car_dynamics.SIZE * np.stack([_with_eight_corners(part) for part in hull]),
    )


def _undrawable(**arrays: np.ndarray) -> str:
    """Returns an error message about the first number that the rasterizer cannot draw.

    Arrays are passed as keyword arguments. The message begins with the keyword of the array that
    contains the number.
    """
    for name, array in arrays.items():
        wrong = ~(np.abs(array) <= rasterizer.LARGEST)
        if wrong.any():
            index = tuple(map(int, np.argwhere(wrong)[0]))
            return (
                f"{name}: expected finite numbers up to ±{rasterizer.LARGEST:g}, got "
                f"{array[index]} at index {index}; reset the environment, as the car's physics "
                "can't recover"
            )
    raise AssertionError("arrays: expected NaN, infinity or a huge number, got none of them")


def _with_eight_corners(part: Sequence[tuple[int, int]]) -> np.ndarray:
    """Pads the polygon of a hull part to eight corners by repeating the polygon's last corner."""
    return np.array([*part, *[part[-1]] * (8 - len(part))])


@lru_cache(maxsize=4096)
def _score_pixels(score: str) -> np.ndarray:
    """Renders the score: the ``(12, 12, 3) uint8`` pixels at the left end of the status bar."""
    try:
        text = _render_score(score)
    except pygame.error:  # closing a window quits pygame, which invalidates the font
        _font.cache_clear()
        text = _render_score(score)
    # The left part of the bar is enough: columns to the right of it do not affect these pixels.
    columns = _SCORE_COLUMNS * rasterizer.WIDTH // rasterizer.SIZE
    bar = pygame.Surface((columns, rasterizer.HEIGHT - rasterizer.BAR_TOP), depth=32)
    bar.blit(text, text.get_rect(center=_SCORE_CENTER))
    small = pygame.transform.smoothscale(bar, (_SCORE_COLUMNS, rasterizer.BAR_SIZE))
    pixels: np.ndarray = pygame.surfarray.array3d(small).transpose(1, 0, 2)
    return pixels


def _render_score(score: str) -> pygame.Surface:
    return _font().render(score, True, (255, 255, 255), (0, 0, 0))


@lru_cache(maxsize=1)
def _font() -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(pygame.font.get_default_font(), _SCORE_SIZE)
