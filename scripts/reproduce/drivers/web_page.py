"""Web page with a heatmap of elites, in which cells link to videos."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.agents.quality_diversity.heatmap import color_limits, map_colors

_SIZE, _MARGIN = 480, 44

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ background: #12141a; color: #eef0f4; font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }}
main {{ display: flex; flex-wrap: wrap; gap: 2rem; align-items: flex-start; }}
svg text {{ fill: #969ca8; font-size: 13px; }}
.cell {{ stroke: #12141a; stroke-width: 1; }}
a .cell {{ cursor: pointer; }}
a:hover .cell, a:focus .cell, a.shown .cell {{ stroke: #fff; stroke-width: 2; }}
video {{ width: 480px; max-width: 100%; background: #000; }}
figcaption, p {{ color: #969ca8; max-width: 60rem; }}
figure {{ margin: 0; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>
<main>
<svg width="{width}" height="{height}" role="img" aria-label="{title}">
{cells}
{labels}
</svg>
<figure>
<video id="video" controls muted loop playsinline></video>
<figcaption id="caption">Choose a cell.</figcaption>
</figure>
</main>
<script>
const video = document.getElementById("video"), caption = document.getElementById("caption");
for (const link of document.querySelectorAll("svg a")) {{
  link.addEventListener("click", (event) => {{
    event.preventDefault();
    document.querySelectorAll("svg a.shown").forEach((other) => other.classList.remove("shown"));
    link.classList.add("shown");
    video.src = link.getAttribute("href");
    caption.textContent = link.querySelector("title").textContent;
    video.play();
  }});
}}
</script>
</body>
</html>
"""


def write_page(
    path: str | Path,
    archive: ArchiveConfig,
    elites: Elites,
    videos: Mapping[int, str],
    *,
    title: str,
    measures: Sequence[str],
    text: str = "",
) -> Path:
    """Writes a web page with a heatmap of elites, in which cells link to videos.

    The page is an HTML file that needs no other files except the videos.

    Args:
        path: path of the HTML file.
        archive: configuration of the archive.
        elites: elites of the archive; their objectives determine the colors of the cells.
        videos: paths of the videos relative to the page, keyed by cell index.
        title: title of the page.
        measures: names of the two measures, which label the axes.
        text: plain text below the title.

    Returns:
        ``path``.

    Raises:
        ValueError: the number of measures is not two, or a cell with a video has no elite.
    """
    if len(measures) != 2:
        raise ValueError(f"measures: expected two names, got {list(measures)}")
    for cell in videos:
        if cell not in elites.cells:
            raise ValueError(
                f"videos: expected only cells with an elite, got the empty cell {cell}; leave this "
                "cell out"
            )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        _PAGE.format(
            title=escape(title),
            text=escape(text),
            width=_SIZE + 2 * _MARGIN,
            height=_SIZE + 2 * _MARGIN,
            cells="\n".join(_cells(archive, elites, videos, measures)),
            labels=_labels(archive, measures),
        ),
        encoding="utf-8",
    )
    return path


def _cells(
    archive: ArchiveConfig, elites: Elites, videos: Mapping[int, str], measures: Sequence[str]
) -> list[str]:
    """Returns an SVG shape for each cell, inside a link if the cell has a video."""
    low, high = color_limits(elites.objectives)
    shades = np.clip((elites.objectives - low) / max(high - low, 1e-12), 0.0, 1.0)
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in map_colors(shades)]
    rows = {int(cell): row for row, cell in enumerate(elites.cells)}
    drawn = []
    for cell, (x, y) in enumerate(_places(archive)):
        row = rows.get(cell)
        shape = _shape(archive, x, y, "#282c36" if row is None else colors[row])
        if row is None:
            drawn.append(shape)
            continue
        values = zip(measures, elites.measures[row], strict=True)
        measured = ", ".join(f"{name} {value:.2f}" for name, value in values)
        tooltip = escape(f"score {elites.objectives[row]:.1f}; {measured}")
        shape = f"{shape[:-2]}><title>{tooltip}</title></{shape[1:].split()[0]}>"
        href = videos.get(cell)
        drawn.append(shape if href is None else f'<a href="{escape(href)}">{shape}</a>')
    return drawn


def _places(archive: ArchiveConfig) -> np.ndarray:
    """Returns x and y of the cells' centers in pixels of the page, ``(cells, 2)``.

    The first measure increases to the right, and the second increases upward.
    """
    low, high = np.array(archive.low), np.array(archive.high)
    share = (archive.centers() - low) / (high - low)
    places: np.ndarray = _MARGIN + _SIZE * np.stack((share[:, 0], 1.0 - share[:, 1]), axis=1)
    return places


def _shape(archive: ArchiveConfig, x: float, y: float, color: str) -> str:
    if archive.shape == "disc":
        radius = 0.5 * _SIZE / archive.cells**0.5
        return f'<circle class="cell" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}"/>'
    width, height = (_SIZE / dim for dim in archive.dims)
    return (
        f'<rect class="cell" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}" fill="{color}"/>'
    )


def _labels(archive: ArchiveConfig, measures: Sequence[str]) -> str:
    """Returns SVG text with the names and limits of both axes."""
    start, end, middle = _MARGIN, _MARGIN + _SIZE, _MARGIN + _SIZE / 2
    left, below = start - 6, end + 18
    across, up = (escape(name) for name in measures)
    turned = f'transform="translate({start - 12} {middle}) rotate(-90)"'
    return "\n".join(
        [
            f'<text x="{start}" y="{below}">{archive.low[0]:g}</text>',
            f'<text x="{end}" y="{below}" text-anchor="end">{archive.high[0]:g}</text>',
            f'<text x="{middle}" y="{below}" text-anchor="middle">{across}</text>',
            f'<text x="{left}" y="{end}" text-anchor="end">{archive.low[1]:g}</text>',
            f'<text x="{left}" y="{start + 12}" text-anchor="end">{archive.high[1]:g}</text>',
            f'<text {turned} text-anchor="middle">{up}</text>',
        ]
    )
