"""The 96x96 state of one CarRacing episode, drawn from its geometry."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pygame
from gymnasium.envs.box2d import car_dynamics, car_racing

from wmrl.envs.car_racing import rasterizer

_FIXED_COLOURS = [
    (0, 0, 0),
    (0, 0, 0),  # the ground's, an episode's own
    (0, 0, 0),  # the grass's, an episode's own
    car_dynamics.WHEEL_WHITE,
    (204, 0, 0),  # the hull
    (255, 255, 255),  # speed
    (0, 0, 255),  # front wheels' spin
    (51, 0, 255),  # rear wheels' spin
    (0, 255, 0),  # steering
    (255, 0, 0),  # gyroscope
]
_SCORE_COLUMNS = 12  # columns of the state that the score may take; the indicators are beyond
_SCORE_SIZE, _SCORE_CENTRE = 42, (60, 50)  # on the status bar of Gymnasium's surface


class StatePainter:
    """Draws the state of an episode on one track.

    Args:
        road: (P, 4, 2) float64, the road's polygons in world units, in the order of painting.
        road_rgb: (P, 3), their colours; copied to :attr:`road_rgb`.
        ground_rgb: (3,), the colour of the playfield.
        grass_rgb: (3,), the colour of the squares on it.

    Attributes:
        road_rgb: (P, 3) float64: write here to repaint parts of the road.
    """

    def __init__(
        self,
        road: np.ndarray,
        *,
        road_rgb: np.ndarray,
        ground_rgb: np.ndarray,
        grass_rgb: np.ndarray,
    ):
        self._road = np.ascontiguousarray(road, np.float64)
        self._colours = np.concatenate([_FIXED_COLOURS, road_rgb]).astype(np.float64)
        self._colours[rasterizer.GROUND] = ground_rgb
        self._colours[rasterizer.GRASS] = grass_rgb
        self.road_rgb = self._colours[len(_FIXED_COLOURS) :]
        self._canvas = rasterizer.new_canvas()

    def paint(
        self, *, view: np.ndarray, poses: np.ndarray, gauges: np.ndarray, score: str
    ) -> np.ndarray:
        """The state as a new array ``(96, 96, 3) uint8``.

        Args:
            view: (4,) float64: cosine and sine of the camera's turn times its zoom, and column and
                row, counted from the bottom, of the world's origin on Gymnasium's surface.
            poses: (5, 4) float64: x, y, angle and phase of the wheels; of the hull, phase unused.
            gauges: (7,) float64: speed, spin of the wheels, front wheels' angle, turn rate.
            score: the text of the score.
        """
        state = np.empty((rasterizer.SIZE, rasterizer.SIZE, 3), np.uint8)
        rasterizer.draw(
            self._canvas, self._colours, _scene(), self._road, view, poses, gauges, state
        )
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


def _with_eight_corners(part: Sequence[tuple[int, int]]) -> np.ndarray:
    """A part of the hull with its last corner repeated, so that all fit one array."""
    return np.array([*part, *[part[-1]] * (8 - len(part))])


@lru_cache(maxsize=4096)
def _score_pixels(score: str) -> np.ndarray:
    """The status bar's left end with the score in it, ``(12, 12, 3) uint8``."""
    try:
        text = _render_score(score)
    except pygame.error:  # closing a window quits pygame, which invalidates the font
        _font.cache_clear()
        text = _render_score(score)
    # All of the bar would do as well: its columns beyond these do not change the first ones.
    columns = _SCORE_COLUMNS * rasterizer.WIDTH // rasterizer.SIZE
    bar = pygame.Surface((columns, rasterizer.HEIGHT - rasterizer.BAR_TOP), depth=32)
    bar.blit(text, text.get_rect(center=_SCORE_CENTRE))
    small = pygame.transform.smoothscale(bar, (_SCORE_COLUMNS, rasterizer.BAR_SIZE))
    pixels: np.ndarray = pygame.surfarray.array3d(small).transpose(1, 0, 2)
    return pixels


def _render_score(score: str) -> pygame.Surface:
    return _font().render(score, True, (255, 255, 255), (0, 0, 0))


@lru_cache(maxsize=1)
def _font() -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(pygame.font.get_default_font(), _SCORE_SIZE)
