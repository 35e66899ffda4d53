"""The illuminated map: how good the elite of each cell is, as a picture and as a film."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import KDTree

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.envs.rendering.video import write_video
from wmrl.storage.files import write_picture

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
    """Draws a map of cells, the brighter the better.

    Args:
        archive: the cells.
        objectives: ``(cells,)``, NaN where a cell is empty.
        limits: objectives of the darkest and the brightest colour; those of the elites, but for
            the lowest 2 %, if None.
        title: written above.
        size: pixels of the map's longer side.

    Returns:
        ``(H, W, 3) uint8``; the first measure goes to the right and the second upwards.

    Raises:
        ValueError: there are more or fewer objectives than cells.
    """
    if objectives.shape != (archive.cell_count,):
        raise ValueError(
            f"objectives: expected one for each of {archive.cell_count} cells, got shape "
            f"{objectives.shape}"
        )
    low, high = limits or colour_limits(objectives)
    cells = _cells(archive, size)
    shades = np.nan_to_num((objectives - low) / max(high - low, 1e-12))
    colours = map_colours(np.clip(shades, 0.0, 1.0))
    colours[np.isnan(objectives)] = _EMPTY
    drawn = np.where((cells < 0)[..., None], np.array(_BACKGROUND, np.uint8), colours[cells])
    height, width = drawn.shape[:2]
    picture = Image.new(
        "RGB", (width + 2 * _MARGIN, height + 2 * _MARGIN + _HEAD + 2 * _BAR), _BACKGROUND
    )
    picture.paste(Image.fromarray(drawn), (_MARGIN, _HEAD))
    ramp = np.broadcast_to(map_colours(np.linspace(0, 1, width)), (_BAR, width, 3))
    bottom = _HEAD + height + _MARGIN
    picture.paste(Image.fromarray(np.ascontiguousarray(ramp)), (_MARGIN, bottom))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    pen.text((_MARGIN, 12), title, fill=_TEXT, font=font)
    place = bottom + _BAR + 2
    pen.text((_MARGIN, place), f"{low:.3g}", fill=_MUTED, font=font)
    pen.text((_MARGIN + width, place), f"{high:.3g}", fill=_MUTED, font=font, anchor="ra")
    return np.asarray(picture)


def write_map(path: str | Path, archive: ArchiveConfig, elites: Elites, *, title: str = "") -> Path:
    """Writes the map of elites as a PNG, whole or not at all, and returns its path."""
    objectives = np.full(archive.cell_count, np.nan)
    objectives[elites.cells] = elites.objectives
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, draw_map(archive, objectives, title=title))
    return path


def film_map(
    path: str | Path,
    archive: ArchiveConfig,
    snapshots: np.ndarray,
    *,
    titles: Sequence[str] = (),
    fps: float = 12.0,
    size: int = 360,
) -> Path:
    """Films a map as it fills.

    Args:
        path: ``.mp4``, ``.gif`` or ``.webp``.
        archive: the cells.
        snapshots: ``(S, cells)``, objectives over time, NaN where a cell is empty.
        titles: one for each snapshot, before how many cells are filled and how well.
        fps: snapshots a second.
        size: pixels of the map's longer side.

    Returns:
        The path.

    Raises:
        ValueError: there are no snapshots, or another number of titles.
    """
    if titles and len(titles) != len(snapshots):
        raise ValueError(f"titles: expected {len(snapshots)}, as snapshots, got {len(titles)}")
    if not len(snapshots):
        raise ValueError("snapshots: expected at least one, got none")
    limits = colour_limits(snapshots[-1])

    def frames() -> Iterator[np.ndarray]:
        for index, objectives in enumerate(snapshots):
            filled = np.isfinite(objectives)
            mean = float(objectives[filled].mean()) if filled.any() else float("nan")
            said = f"{filled.mean():.1%} filled, mean {mean:.3g}"
            title = f"{titles[index]}: {said}" if titles else said
            yield draw_map(archive, objectives, limits=limits, title=title, size=size)

    return write_video(path, frames(), fps=fps)


def colour_limits(objectives: np.ndarray) -> tuple[float, float]:
    """Objectives of the darkest and the brightest colour.

    Without the lowest 2 %, for a few poor elites would take all the colours.
    """
    found = objectives[np.isfinite(objectives)]
    if not len(found):
        return 0.0, 1.0
    return float(np.quantile(found, 0.02)), float(found.max())


def map_colours(shades: np.ndarray) -> np.ndarray:
    """RGB ``(N, 3) uint8`` of shades ``(N,)`` in [0, 1]."""
    levels = np.round(255 * shades).astype(np.uint8)[:, None]
    colours: np.ndarray = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    return colours.copy()


@lru_cache(maxsize=8)
def _cells(archive: ArchiveConfig, size: int) -> np.ndarray:
    """Index of the cell at each pixel, ``(H, W)``; −1 outside."""
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
    _, nearest = KDTree(archive.centres()).query(low + points * (high - low))
    outside = np.hypot(x - 0.5, y - 0.5) > 0.5
    return np.where(outside, -1, nearest)


def _pixels(columns: int, rows: int, size: int) -> tuple[int, int]:
    """Width and height of a grid whose cells are square."""
    longer = max(columns, rows)
    return max(1, size * columns // longer), max(1, size * rows // longer)
