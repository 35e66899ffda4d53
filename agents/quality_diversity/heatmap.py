"""Heatmaps of archives as images and videos."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import KDTree

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.core.validation import check_shape
from wmrl.envs.rendering.video import write_video
from wmrl.storage.files import write_image

_BACKGROUND, _EMPTY, _TEXT, _MUTED = (18, 20, 26), (40, 44, 54), (238, 240, 244), (150, 156, 168)
_MARGIN, _HEAD, _BAR = 16, 40, 12


def draw_map(
    archive: ArchiveConfig,
    objectives: np.ndarray,
    *,
    limits: tuple[float, float] | None = None,
    title: str = "",
    size: int = 480,
) -> np.ndarray:
    """Draws the objectives in an archive as a heatmap, where brighter colors mean higher values.

    Args:
        archive: configuration of the archive.
        objectives: ``(cells,)``, objective in each cell, NaN for empty cells.
        limits: lower and upper end of the color scale: the objective drawn in the darkest color,
            and the objective drawn in the brightest color. If None, the result of
            :func:`color_limits`.
        title: text above the map.
        size: length of the map's longer side, in pixels.

    Returns:
        Image ``(H, W, 3) uint8``. The first measure increases to the right, and the second measure
        increases upwards.

    Raises:
        ValueError: the number of objectives is not the number of cells.

    Example:
        >>> import numpy as np
        >>> from wmrl.agents.quality_diversity import ArchiveConfig, draw_map
        >>> archive = ArchiveConfig(shape="grid", dims=(4, 2))
        >>> objectives = np.array([0.1, 0.9, np.nan, 0.4, 0.3, np.nan, 0.2, 0.8])
        >>> image = draw_map(archive, objectives, title="8 cells, two of them empty", size=200)
        >>> image.shape, image.dtype
        ((196, 232, 3), dtype('uint8'))
    """
    check_shape("objectives", objectives, (archive.num_cells,))
    low, high = limits or color_limits(objectives)
    cells = _cell_of_pixels(archive, size)
    shades = np.nan_to_num((objectives - low) / max(high - low, 1e-12))
    colors = map_colors(np.clip(shades, 0.0, 1.0))
    colors[np.isnan(objectives)] = _EMPTY
    drawn = np.where((cells < 0)[..., None], np.array(_BACKGROUND, np.uint8), colors[cells])
    height, width = drawn.shape[:2]
    image = Image.new(
        "RGB", (width + 2 * _MARGIN, height + 2 * _MARGIN + _HEAD + 2 * _BAR), _BACKGROUND
    )
    image.paste(Image.fromarray(drawn), (_MARGIN, _HEAD))
    ramp = np.broadcast_to(map_colors(np.linspace(0, 1, width)), (_BAR, width, 3))
    bottom = _HEAD + height + _MARGIN
    image.paste(Image.fromarray(np.ascontiguousarray(ramp)), (_MARGIN, bottom))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    pen.text((_MARGIN, 12), title, fill=_TEXT, font=font)
    place = bottom + _BAR + 2
    pen.text((_MARGIN, place), f"{low:.3g}", fill=_MUTED, font=font)
    pen.text((_MARGIN + width, place), f"{high:.3g}", fill=_MUTED, font=font, anchor="ra")
    return np.asarray(image)


def write_map(path: str | Path, archive: ArchiveConfig, elites: Elites, *, title: str = "") -> Path:
    """Writes a heatmap of elites to a PNG file, atomically.

    Args:
        path: path of the file.
        archive: configuration of the archive.
        elites: elites of that archive.
        title: text above the map.

    Returns:
        The path.
    """
    objectives = np.full(archive.num_cells, np.nan)
    objectives[elites.cells] = elites.objectives
    return write_image(path, draw_map(archive, objectives, title=title))


def write_map_video(
    path: str | Path,
    archive: ArchiveConfig,
    snapshots: np.ndarray,
    *,
    titles: Sequence[str] = (),
    fps: float = 12.0,
    size: int = 360,
) -> Path:
    """Writes a video of an archive's heatmap over time.

    Args:
        path: path of an ``.mp4``, ``.gif`` or ``.webp`` file.
        archive: configuration of the archive.
        snapshots: ``(S, cells)``, objective in each cell at S points in time; NaN for empty cells.
        titles: one title for each snapshot; empty for no titles. The coverage and the mean
            objective of a snapshot are always shown, after the title if there is one.
        fps: snapshots per second.
        size: length of the map's longer side, in pixels.

    Returns:
        The path.

    Raises:
        ValueError: there are no snapshots, or the numbers of titles and snapshots differ.
    """
    if titles and len(titles) != len(snapshots):
        raise ValueError(f"titles: expected {len(snapshots)} (one per snapshot), got {len(titles)}")
    if not len(snapshots):
        raise ValueError("snapshots: expected at least one, got none")
    limits = color_limits(snapshots[-1])

    def frames() -> Iterator[np.ndarray]:
        for index, objectives in enumerate(snapshots):
            filled = np.isfinite(objectives)
            mean = float(objectives[filled].mean()) if filled.any() else float("nan")
            metrics = f"{filled.mean():.1%} filled, mean {mean:.3g}"
            title = f"{titles[index]}: {metrics}" if titles else metrics
            yield draw_map(archive, objectives, limits=limits, title=title, size=size)

    return write_video(path, frames(), fps=fps)


def color_limits(objectives: np.ndarray) -> tuple[float, float]:
    """Returns the lower and upper end of the color scale of a heatmap.

    The lower end is the 2 % quantile of the objectives, so that a few poor elites do not reduce the
    contrast between the other elites. The upper end is the highest objective.

    Args:
        objectives: objective in each cell, NaN for empty cells. If all cells are empty, the ends
            are 0 and 1.
    """
    found = objectives[np.isfinite(objectives)]
    if not len(found):
        return 0.0, 1.0
    return float(np.quantile(found, 0.02)), float(found.max())


def map_colors(shades: np.ndarray) -> np.ndarray:
    """Converts shades ``(N,)`` from 0 (dark) to 1 (bright) to RGB colors ``(N, 3) uint8``."""
    levels = np.round(255 * shades).astype(np.uint8)[:, None]
    colors: np.ndarray = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    return colors.copy()


@lru_cache(maxsize=8)
def _cell_of_pixels(archive: ArchiveConfig, size: int) -> np.ndarray:
    """Returns the index of the archive's cell at each pixel of a heatmap, ``(H, W)``.

    Pixels outside of the archive have the index −1.

    Args:
        archive: configuration of the archive.
        size: length of the heatmap's longer side, in pixels.
    """
    low, high = np.array(archive.low), np.array(archive.high)
    if archive.shape == "grid":
        columns, rows = archive.dims
        width, height = _pixels(columns, rows, size)
        column = np.arange(width) * columns // width
        row = (height - 1 - np.arange(height)) * rows // height
        cells: np.ndarray = column[None, :] * rows + row[:, None]
        return cells
    share = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(share, share[::-1])
    points = np.stack((x, y), axis=-1)
    _, nearest = KDTree(archive.centers()).query(low + points * (high - low))
    outside = np.hypot(x - 0.5, y - 0.5) > 0.5
    return np.where(outside, -1, nearest)


def _pixels(columns: int, rows: int, size: int) -> tuple[int, int]:
    """Returns the width and height, in pixels, of an image of a grid of square cells.

    The longer side has ``size`` pixels.
    """
    longer = max(columns, rows)
    return max(1, size * columns // longer), max(1, size * rows // longer)
