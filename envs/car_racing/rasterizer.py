"""Compiled rasterizer of CarRacing's 96x96 observations.

Gymnasium fills several hundred polygons on a 1000x800 surface, flips it vertically and shrinks it
with a box filter. This module stores each line of the surface as a short list of runs instead of a
row of pixels. A run is an interval of one color. Filling a polygon overwrites runs. The boundaries
of runs are real numbers, so anti-aliased edges need no extra work, and the box filter only visits
the boundaries.

All compiled functions and their constants must stay in this module. numba's disk cache only
checks the source file of a compiled function, so it would not notice changes of functions or
constants that are imported from other files.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numba
import numpy as np

from wmrl.core.numba_cache import guard_numba_cache

WIDTH, HEIGHT = 1000, 800  # Gymnasium's surface, in pixels
SIZE = 96  # rows and columns of an observation
BAR_TOP = 700  # first row of the status bar on the surface
BAR_SIZE = 12  # rows of an observation that show the status bar

# For the scene, a few lines per row of an observation are enough, because errors average out along
# slanted edges. The status bar has horizontal edges, so it needs one line per row of the surface.
LINES_PER_PIXEL = 4
SCENE_LINES = LINES_PER_PIXEL * (SIZE - BAR_SIZE)
LINES = SCENE_LINES + HEIGHT - BAR_TOP
PITCH = HEIGHT / SIZE / LINES_PER_PIXEL  # surface rows between adjacent lines of the scene
FIRST_LINE = 0.5 * PITCH - 0.5  # row of the first line; 0 is the center of the top row
LINE_ROWS = FIRST_LINE + PITCH * np.arange(SCENE_LINES)
MAX_RUNS = 500  # far more than any line needs; a power of two would cause cache conflicts

# Larger numbers might overflow the integers of the projection.
LARGEST = 1e9

# pygame's box filter truncates after each of its two passes, so that a uniform color c becomes
# c - 2 and a mix of colors becomes darker by 1.25 on average.
FILTER_LOSS = 1.02
# The filter sums red, green and blue at once, as fixed-point numbers that are packed into one
# integer. Color differences may be negative and borrow from the next channel, but each sum of them
# is a valid color.
ONE_BITS, COLOR_BITS = 12, 21
ONE, COLOR_MASK = 1 << ONE_BITS, (1 << COLOR_BITS) - 1
LOSS = int(FILTER_LOSS * ONE)

# Palette indices, called inks. The inks of the road's polygons follow, one per polygon.
BLACK, GROUND, GRASS, STRIPE_INK, HULL_INK = range(5)
GAUGE_INK = (5, 6, 6, 7, 7, 8, 9)
FIRST_ROAD_INK = 10

STRIPE = 1.2  # angle that a wheel's stripe covers, in radians of the wheel's rotation
GAUGE_LEFT = (125.0, 175.0, 200.0, 225.0, 250.0, 500.0, 750.0)
GAUGE_UNIT = (0.02, 0.01, 0.01, 0.01, 0.01, -10.0, -0.8)
GAUGE_LEAST = 1e-4  # smaller values are not shown
GAUGE_WIDTH, GAUGE_HEIGHT, GAUGE_FOOT = 25.0, 20.0, 780.0
LEVEL_GAUGE_TOP, LEVEL_GAUGE_FOOT = 720.0, 760.0
UPRIGHT_GAUGES = 5  # the first five gauges are vertical bars; the others are horizontal

_Function = TypeVar("_Function", bound=Callable[..., object])


def _compiled(function: _Function) -> _Function:
    """Makes numba compile a function on its first call, and cache it on disk if possible.

    By default, the cache is next to this file. If numba cannot write there, the cache is in the
    user's cache folder. The environment variable ``NUMBA_CACHE_DIR`` selects another folder. If no
    folder is writable, every process compiles the function again. A damaged cache is removed, and
    the function is compiled again.
    """
    guard_numba_cache(Path(__file__).stem)
    try:
        compiled: _Function = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled


def cache_folder() -> str | None:
    """Returns the folder in which numba caches this module's functions.

    Returns None if numba does not cache them on disk.
    """
    return getattr(getattr(_wipe, "_cache", None), "cache_path", None)


class Canvas(NamedTuple):
    """Surface to draw on, stored as lines from top to bottom.

    Each line is a list of runs, which are intervals of one color. The current polygon, which is
    being filled, is stored as its left and right ends on each line. ``LINES`` is the number of
    lines, and ``MAX_RUNS`` is the maximum number of runs of a line.

    Attributes:
        edges: ``(LINES, MAX_RUNS) float32``, column at which each run starts; the first run of each
            line starts at 0.
        inks: ``(LINES, MAX_RUNS) int32``, palette index of each run.
        runs: ``(LINES,) int64``, number of runs of each line.
        left: ``(LINES,) float64``, column of the current polygon's left end on each line.
        right: ``(LINES,) float64``, column of the current polygon's right end on each line.
    """

    edges: np.ndarray
    inks: np.ndarray
    runs: np.ndarray
    left: np.ndarray
    right: np.ndarray


class Edge(NamedTuple):
    """Non-horizontal edge of a polygon. At row y, the edge is at column ``x + y * slope``.

    Attributes:
        x: column at row 0.
        slope: columns per row.
        top: row of the upper end.
        bottom: row of the lower end.
        low: column of the left end.
        high: column of the right end.
    """

    x: float
    slope: float
    top: float
    bottom: float
    low: float
    high: float


class Scene(NamedTuple):
    """Shapes that are the same in every episode, in world units.

    Attributes:
        field: ``(1, 4, 2) float64``, the playfield.
        grass: ``(N, 4, 2) float64``, the lighter squares on the playfield.
        reach: upper bound on the diameters of the grass squares and of the road's polygons.
        wheel: ``(4, 2) float64``, corners of a wheel in the wheel's coordinates; the two front
            corners come first.
        hull: ``(4, 8, 2) float64``, corners of the hull's four parts in the hull's coordinates.
    """

    field: np.ndarray
    grass: np.ndarray
    reach: float
    wheel: np.ndarray
    hull: np.ndarray


def new_canvas() -> Canvas:
    """Returns an uninitialized canvas, which :func:`draw` clears before use."""
    return Canvas(
        edges=np.empty((LINES, MAX_RUNS), np.float32),
        inks=np.empty((LINES, MAX_RUNS), np.int32),
        runs=np.empty(LINES, np.int64),
        left=np.empty(LINES),
        right=np.empty(LINES),
    )


@_compiled
def _wipe(canvas: Canvas) -> None:
    for line in range(LINES):
        canvas.edges[line, 0] = 0.0
        canvas.inks[line, 0] = BLACK
        canvas.runs[line] = 1


@_compiled
def _paint_lines(canvas: Canvas, first: int, stop: int, ink: int) -> None:
    """Colors an interval of each of the canvas lines ``first`` to ``stop - 1``.

    On each line, the interval extends from the line's entry in ``canvas.left`` to its entry in
    ``canvas.right``. ``ink`` is the palette index of the color.
    """
    edges, inks, runs_of = canvas.edges, canvas.inks, canvas.runs
    for line in range(first, stop):
        left = max(canvas.left[line], 0.0)
        right = min(canvas.right[line], float(WIDTH))
        runs = runs_of[line]
        if left >= right or runs + 2 > MAX_RUNS:
            continue
        begin = runs - 1
        while edges[line, begin] > left:
            begin -= 1
        end = begin
        while end + 1 < runs and edges[line, end + 1] <= right:
            end += 1
        ink_after = inks[line, end]
        new = begin + 1 if edges[line, begin] < left else begin
        after = new + 2 if right < WIDTH else new + 1
        shift = after - (end + 1)
        if shift > 0:
            for k in range(runs - 1, end, -1):
                edges[line, k + shift] = edges[line, k]
                inks[line, k + shift] = inks[line, k]
        elif shift < 0:
            for k in range(end + 1, runs):
                edges[line, k + shift] = edges[line, k]
                inks[line, k + shift] = inks[line, k]
        edges[line, new] = left
        inks[line, new] = ink
        if right < WIDTH:
            edges[line, new + 1] = right
            inks[line, new + 1] = ink_after
        runs_of[line] = runs + shift


@_compiled
def _widen_hard(left: np.ndarray, right: np.ndarray, rows: np.ndarray, edge: Edge) -> None:
    """Extends a polygon to cover an edge without anti-aliasing.

    Args:
        left: left end of the polygon on each canvas line that the edge crosses; updated in place.
        right: right end of the polygon on each of these lines; updated in place.
        rows: position of each of these lines, in rows from the top of the surface.
        edge: the edge.
    """
    for k in range(len(rows)):
        x = edge.x + min(max(rows[k], edge.top), edge.bottom) * edge.slope
        left[k] = min(left[k], x)
        right[k] = max(right[k], x + 1.0)


@_compiled
def _widen_steep(left: np.ndarray, right: np.ndarray, rows: np.ndarray, edge: Edge) -> None:
    """Extends a polygon to cover a steep anti-aliased edge.

    In each row, such an edge fades out over one pixel. The arguments are those of
    :func:`_widen_hard`.
    """
    for k in range(len(rows)):
        x = edge.x + min(max(rows[k], edge.top), edge.bottom) * edge.slope
        fraction = x - np.floor(x)
        left[k] = min(left[k], x - (fraction if fraction < 0.5 else 0.0))
        right[k] = max(right[k], x + (1.0 if fraction < 0.5 else 2.0 - fraction))


@_compiled
def _widen_flat(left: np.ndarray, right: np.ndarray, rows: np.ndarray, edge: Edge) -> None:
    """Extends a polygon to cover a flat anti-aliased edge.

    In each row, such an edge fades out over several pixels. The arguments are those of
    :func:`_widen_hard`.
    """
    run = abs(edge.slope)
    for k in range(len(rows)):
        x = edge.x + min(max(rows[k], edge.top), edge.bottom) * edge.slope
        before, after = min(run - 1.0, x - edge.low), min(run - 1.0, edge.high - x)
        before -= before * (before + 1.0) / (2.0 * run)
        after -= after * (after + 1.0) / (2.0 * run)
        left[k] = min(left[k], x - before)
        right[k] = max(right[k], x + 1.0 + after)


@_compiled
def _widen(
    canvas: Canvas, first: int, stop: int, ends: tuple[int, int, int, int], soft: bool
) -> None:
    """Extends the current polygon of a canvas to cover one of the polygon's edges.

    Args:
        canvas: canvas that stores the polygon's left and right ends on each line.
        first: index of the first canvas line that the edge crosses.
        stop: index of the last canvas line that the edge crosses, plus 1.
        ends: columns and rows ``(x1, y1, x2, y2)`` of the ends of the edge.
        soft: True for an anti-aliased edge.
    """
    x1, y1, x2, y2 = ends
    slope = (x2 - x1) / (y2 - y1)
    edge = Edge(
        x=x1 - y1 * slope,
        slope=slope,
        top=float(min(y1, y2)),
        bottom=float(max(y1, y2)),
        low=float(min(x1, x2)),
        high=float(max(x1, x2)),
    )
    left, right, rows = canvas.left[first:stop], canvas.right[first:stop], LINE_ROWS[first:stop]
    if not soft:
        _widen_hard(left, right, rows, edge)
    elif abs(slope) <= 1.0:
        _widen_steep(left, right, rows, edge)
    else:
        _widen_flat(left, right, rows, edge)


@_compiled
def _line_below(y: float) -> int:
    """Returns the index of the first scene line at or below row ``y`` of the surface.

    Scene lines are the canvas lines above the status bar. If no scene line is at or below row
    ``y``, the result is ``SCENE_LINES``, the number of scene lines.
    """
    return min(max(math.ceil((y - FIRST_LINE) / PITCH), 0), SCENE_LINES)


@_compiled
def _paint_polygon(canvas: Canvas, corners: np.ndarray, ink: int, soft: bool) -> None:
    """Fills a convex polygon.

    Args:
        canvas: canvas to draw on.
        corners: ``(N, 2) int64``, column and row of each corner.
        ink: palette index of the color.
        soft: True to add an anti-aliased outline. Gymnasium does so for all polygons except those
            of the car.
    """
    count = len(corners)
    top = bottom = corners[0, 1]
    for k in range(1, count):
        top, bottom = min(top, corners[k, 1]), max(bottom, corners[k, 1])
    first, stop = _line_below(top - 0.5), _line_below(bottom + 0.5)
    canvas.left[first:stop] = WIDTH
    canvas.right[first:stop] = 0.0
    x1, y1 = corners[count - 1, 0], corners[count - 1, 1]
    for k in range(count):
        x2, y2 = corners[k, 0], corners[k, 1]
        low, high = min(y1, y2), max(y1, y2)
        begin = first if low == top else _line_below(low)
        end = stop if high == bottom else _line_below(high)
        if low < high and begin < end:
            _widen(canvas, begin, end, (x1, y1, x2, y2), soft)
        x1, y1 = x2, y2
    _paint_lines(canvas, first, stop, ink)


@_compiled
def _project(points: np.ndarray, camera: np.ndarray, corners: np.ndarray) -> bool:
    """Projects the corners of a polygon onto the surface.

    Args:
        points: ``(N, 2) float64``, corners in world units.
        camera: ``(4,) float64``, described in :func:`draw`.
        corners: ``(N, 2) int64``, output array for the columns and rows of the corners.

    Returns:
        True if the polygon may be visible; False if it is entirely outside the visible part of the
        surface.
    """
    cosine, sine, x0, y0 = camera[0], camera[1], camera[2], camera[3]
    left, right, top, bottom = WIDTH, -1, HEIGHT, -1
    for k in range(len(points)):
        x, y = points[k, 0], points[k, 1]
        # Gymnasium truncates toward zero before it flips the surface vertically.
        column = int(cosine * x - sine * y + x0)
        row = HEIGHT - 1 - int(sine * x + cosine * y + y0)
        corners[k, 0], corners[k, 1] = column, row
        left, right = min(left, column), max(right, column)
        top, bottom = min(top, row), max(bottom, row)
    return left < WIDTH and right >= 0 and top < BAR_TOP and bottom >= 0


@_compiled
def _paint_all(
    canvas: Canvas, polygons: np.ndarray, reach: float, ink: int, ink_step: int, camera: np.ndarray
) -> None:
    """Projects and fills polygons that are given in world units.

    Args:
        canvas: canvas to draw on.
        polygons: ``(N, 4, 2) float64``, corners of the polygons.
        reach: upper bound on the polygons' diameters.
        ink: palette index of the first polygon.
        ink_step: difference between the palette indices of consecutive polygons.
        camera: ``(4,) float64``, described in :func:`draw`.
    """
    corners = np.empty((4, 2), np.int64)
    cosine, sine, x0, y0 = camera[0], camera[1], camera[2], camera[3]
    margin = reach * math.hypot(cosine, sine)
    for k in range(len(polygons)):
        x, y = polygons[k, 0, 0], polygons[k, 0, 1]
        column, height = cosine * x - sine * y + x0, sine * x + cosine * y + y0
        if (
            -margin < column < WIDTH + margin
            and HEIGHT - BAR_TOP - margin < height < HEIGHT + margin
            and _project(polygons[k], camera, corners)
        ):
            _paint_polygon(canvas, corners, ink + k * ink_step, True)


@_compiled
def _paint_part(
    canvas: Canvas, part: np.ndarray, pose: np.ndarray, ink: int, camera: np.ndarray
) -> None:
    """Fills a polygon that is a wheel, a wheel's stripe or a part of the car's hull.

    Args:
        canvas: canvas to draw on.
        part: ``(N, 2) float64``, corners of the polygon in the coordinates of the wheel or hull.
        pose: x, y and angle of the wheel or hull; the fourth entry is ignored.
        ink: palette index of the color.
        camera: ``(4,) float64``, described in :func:`draw`.
    """
    cosine, sine = math.cos(pose[2]), math.sin(pose[2])
    placed = np.empty_like(part)
    for k in range(len(part)):
        placed[k, 0] = cosine * part[k, 0] - sine * part[k, 1] + pose[0]
        placed[k, 1] = sine * part[k, 0] + cosine * part[k, 1] + pose[1]
    corners = np.empty((len(part), 2), np.int64)
    if _project(placed, camera, corners):
        _paint_polygon(canvas, corners, ink, False)


@_compiled
def _paint_wheel(canvas: Canvas, wheel: np.ndarray, pose: np.ndarray, camera: np.ndarray) -> None:
    """Fills the polygon of a wheel, and the lighter stripe that shows the wheel's rotation.

    Args:
        canvas: canvas to draw on.
        wheel: ``(4, 2) float64``, corners of the wheel in the wheel's coordinates.
        pose: x, y, angle and rotation about the axle of the wheel.
        camera: ``(4,) float64``, described in :func:`draw`.
    """
    _paint_part(canvas, wheel, pose, BLACK, camera)
    sine1, sine2 = math.sin(pose[3]), math.sin(pose[3] + STRIPE)
    if sine1 > 0.0 and sine2 > 0.0:
        return
    cosine1, cosine2 = math.cos(pose[3]), math.cos(pose[3] + STRIPE)
    if sine1 > 0.0:
        cosine1 = np.sign(cosine1)
    if sine2 > 0.0:
        cosine2 = np.sign(cosine2)
    stripe = wheel.copy()
    stripe[:2, 1] = wheel[0, 1] * cosine1
    stripe[2:, 1] = wheel[0, 1] * cosine2
    _paint_part(canvas, stripe, pose, STRIPE_INK, camera)


@_compiled
def _paint_car(canvas: Canvas, scene: Scene, poses: np.ndarray, camera: np.ndarray) -> None:
    for k in range(4):
        _paint_wheel(canvas, scene.wheel, poses[k], camera)
    for k in range(4):
        _paint_part(canvas, scene.hull[k], poses[4], HULL_INK, camera)


@_compiled
def _paint_bar(canvas: Canvas, x1: float, y1: float, x2: float, y2: float, ink: int) -> None:
    """Fills a rectangle in the status bar.

    Pixels (x1, y1) and (x2, y2) of the surface are opposite corners of the rectangle and belong to
    it. ``ink`` is the palette index of the color.
    """
    top, bottom = int(min(y1, y2)), int(max(y1, y2))
    first = SCENE_LINES + max(top - BAR_TOP, 0)
    stop = SCENE_LINES + min(bottom + 1, HEIGHT) - BAR_TOP
    canvas.left[first:stop] = int(min(x1, x2))
    canvas.right[first:stop] = int(max(x1, x2)) + 1
    _paint_lines(canvas, first, stop, ink)


@_compiled
def _paint_gauges(canvas: Canvas, gauges: np.ndarray) -> None:
    for k in range(len(gauges)):
        if abs(gauges[k]) <= GAUGE_LEAST:
            continue
        out, left, ink = gauges[k] * GAUGE_UNIT[k], GAUGE_LEFT[k], GAUGE_INK[k]
        if k < UPRIGHT_GAUGES:
            top = GAUGE_FOOT - GAUGE_HEIGHT * out
            _paint_bar(canvas, left, top, left + GAUGE_WIDTH, GAUGE_FOOT, ink)
        else:
            right = left + GAUGE_WIDTH * out
            _paint_bar(canvas, left, LEVEL_GAUGE_TOP, right, LEVEL_GAUGE_FOOT, ink)


@_compiled
def _pack(colors: np.ndarray) -> np.ndarray:
    """Packs each of N colors ``(N, 3)`` into one integer.

    Fractional parts of red, green and blue are dropped, as in Gymnasium.
    """
    packed = np.empty(len(colors), np.int64)
    for k in range(len(colors)):
        red, green, blue = int(colors[k, 0]), int(colors[k, 1]), int(colors[k, 2])
        packed[k] = (((red << COLOR_BITS) + green) << COLOR_BITS) + blue
    return packed


@_compiled
def _add_line(
    canvas: Canvas, line: int, share: int, palette: np.ndarray, steps: np.ndarray
) -> None:
    """Adds one line of the canvas, times a weight, to a row of pixels.

    A row of pixels is a weighted average of several lines. While lines are added, the row is stored
    as ``steps``, the differences between adjacent pixels. The color of a line is constant except
    for jumps at a few columns. Columns are narrower than pixels, so most jumps lie within a pixel.
    Each jump is multiplied by the weight, and then split into two parts. One part is added to the
    entry of ``steps`` for the pixel with the jump, the other part to the entry for the next pixel.
    The farther right the jump is in its pixel, the larger is the part for the next pixel.

    Args:
        canvas: canvas that holds the line.
        line: index of the line.
        share: weight of the line, as a fixed-point number.
        palette: packed color of each palette index.
        steps: ``(SIZE + 1,) int64``, color of each pixel minus the color of the pixel to its left;
            updated in place. ``SIZE`` is the number of pixels in a row, 96.
    """
    edges, inks = canvas.edges, canvas.inks
    scale = np.float32(SIZE / WIDTH)
    before = palette[BLACK]
    for k in range(canvas.runs[line]):
        color = palette[inks[line, k]]
        x = edges[line, k] * scale
        pixel = int(x)
        late = int((x - pixel) * share)
        steps[pixel] += (color - before) * (share - late)
        steps[pixel + 1] += (color - before) * late
        before = color


@_compiled
def _finish_row(steps: np.ndarray, row: np.ndarray) -> None:
    """Computes a row of pixels from the differences between adjacent pixels.

    Args:
        steps: ``(97,) int64``, differences that :func:`_add_line` computed. Afterwards, they are
            set to 0 for the next row.
        row: ``(96, 3) uint8``, output array for the pixels.
    """
    color = 0
    for column in range(SIZE):
        color += steps[column]
        row[column, 0] = max((color >> 2 * COLOR_BITS) - LOSS, 0) >> ONE_BITS
        row[column, 1] = max(((color >> COLOR_BITS) & COLOR_MASK) - LOSS, 0) >> ONE_BITS
        row[column, 2] = max((color & COLOR_MASK) - LOSS, 0) >> ONE_BITS
    steps[:] = 0


@_compiled
def _shrink(
    canvas: Canvas, first: int, lines_per_pixel: float, palette: np.ndarray, pixels: np.ndarray
) -> None:
    """Shrinks lines of the canvas to rows of pixels with a box filter.

    Args:
        canvas: canvas that holds the lines.
        first: index of the first line.
        lines_per_pixel: number of lines per row of pixels; may be fractional.
        palette: packed color of each palette index.
        pixels: ``(rows, 96, 3) uint8``, output array.
    """
    steps = np.zeros(SIZE + 1, np.int64)
    for row in range(len(pixels)):
        top, bottom = row * lines_per_pixel, (row + 1) * lines_per_pixel
        for line in range(int(top), math.ceil(bottom - 1e-9)):
            share = (min(bottom, line + 1.0) - max(top, float(line))) / lines_per_pixel
            _add_line(canvas, first + line, int(share * ONE), palette, steps)
        _finish_row(steps, pixels[row])


@_compiled
def _bounded(numbers: np.ndarray) -> bool:
    """Returns True if all numbers are finite and within ±10⁹, the limit ``LARGEST``."""
    bounded = True
    for number in numbers.flat:
        bounded &= abs(number) <= LARGEST  # False for NaN
    return bounded


@_compiled
def draw(
    canvas: Canvas,
    colors: np.ndarray,
    scene: Scene,
    road: np.ndarray,
    camera: np.ndarray,
    poses: np.ndarray,
    gauges: np.ndarray,
    state: np.ndarray,
) -> bool:
    """Draws an observation of the game, without the score.

    The compiled functions that this function calls don't check their arguments. If a number were
    NaN, they would write outside the bounds of their arrays. This function therefore checks the
    numbers that change from frame to frame.

    Args:
        canvas: canvas to draw on; its previous content is discarded.
        colors: ``(10 + P, 3) float64``, red, green and blue of each palette index; the last P rows
            are the colors of the road's polygons.
        scene: shapes of the playfield and the car.
        road: ``(P, 4, 2) float64``, the P polygons of the road in world units, in drawing order.
        camera: ``(4,) float64``: ``zoom * cos(angle)`` and ``zoom * sin(angle)`` of the camera,
            then the column and the row of the world's origin on the surface. This row is counted
            from the bottom.
        poses: ``(5, 4) float64``, one row for each of the four wheels, then one for the hull. A row
            is x, y, angle and rotation about the axle. The hull's rotation is not used.
        gauges: ``(7,) float64``: speed, spin of the four wheels, angle of the front wheels, turn
            rate of the hull.
        state: ``(96, 96, 3) uint8``, output array for the pixels of the observation.

    Returns:
        True if the observation was drawn. False if nothing was drawn, because a number of
        ``camera``, ``poses`` or ``gauges`` is NaN, infinite or outside of ±10⁹.
    """
    if not (_bounded(camera) and _bounded(poses) and _bounded(gauges)):
        return False
    palette = _pack(colors)
    _wipe(canvas)
    _paint_all(canvas, scene.field, np.inf, GROUND, 0, camera)
    _paint_all(canvas, scene.grass, scene.reach, GRASS, 0, camera)
    _paint_all(canvas, road, scene.reach, FIRST_ROAD_INK, 1, camera)
    _paint_car(canvas, scene, poses, camera)
    _paint_gauges(canvas, gauges)
    scene_rows = SIZE - BAR_SIZE
    _shrink(canvas, 0, float(LINES_PER_PIXEL), palette, state[:scene_rows])
    _shrink(canvas, SCENE_LINES, HEIGHT / SIZE, palette, state[scene_rows:])
    return True
