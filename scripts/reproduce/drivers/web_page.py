"""The illuminated map as a web page: each elite's cell leads to a film of it."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.agents.quality_diversity.heatmap import colour_limits, map_colours

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
<video id="film" controls muted loop playsinline></video>
<figcaption id="said">Choose a cell.</figcaption>
</figure>
</main>
<script>
const film = document.getElementById("film"), said = document.getElementById("said");
for (const link of document.querySelectorAll("svg a")) {{
  link.addEventListener("click", (event) => {{
    event.preventDefault();
    document.querySelectorAll("svg a.shown").forEach((other) => other.classList.remove("shown"));
    link.classList.add("shown");
    film.src = link.getAttribute("href");
    said.textContent = link.querySelector("title").textContent;
    film.play();
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
    films: Mapping[int, str],
    *,
    title: str,
    measures: Sequence[str],
    text: str = "",
) -> Path:
    """Writes one HTML file, which needs nothing but the films beside it.

    Args:
        path: the file.
        archive: the cells.
        elites: who is in them.
        films: of each cell that has one, its path relative to the page.
        title: of the page.
        measures: names of both axes.
        text: what is said below the title, as plain text.

    Returns:
        The path.

    Raises:
        ValueError: there are not two measures, or a film is of an empty cell.
    """
    if len(measures) != 2:
        raise ValueError(f"measures: expected two names, got {list(measures)}")
    for cell in films:
        if cell not in elites.cells:
            raise ValueError(f"films: expected films of elites' cells, got one of cell {cell}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        _PAGE.format(
            title=escape(title),
            text=escape(text),
            width=_SIZE + 2 * _MARGIN,
            height=_SIZE + 2 * _MARGIN,
            cells="\n".join(_cells(archive, elites, films, measures)),
            labels=_labels(archive, measures),
        ),
        encoding="utf-8",
    )
    return path


def _cells(
    archive: ArchiveConfig, elites: Elites, films: Mapping[int, str], measures: Sequence[str]
) -> list[str]:
    """A shape for each cell; a link around those that have a film."""
    low, high = colour_limits(elites.objectives)
    shades = np.clip((elites.objectives - low) / max(high - low, 1e-12), 0.0, 1.0)
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in map_colours(shades)]
    rows = {int(cell): row for row, cell in enumerate(elites.cells)}
    drawn = []
    for cell, (x, y) in enumerate(_places(archive)):
        row = rows.get(cell)
        shape = _shape(archive, x, y, "#282c36" if row is None else colours[row])
        if row is None:
            drawn.append(shape)
            continue
        values = zip(measures, elites.measures[row], strict=True)
        said = ", ".join(f"{name} {value:.2f}" for name, value in values)
        said = escape(f"score {elites.objectives[row]:.1f}; {said}")
        shape = f"{shape[:-2]}><title>{said}</title></{shape[1:].split()[0]}>"
        href = films.get(cell)
        drawn.append(shape if href is None else f'<a href="{escape(href)}">{shape}</a>')
    return drawn


def _places(archive: ArchiveConfig) -> np.ndarray:
    """Pixels of the cells' centres, ``(cells, 2)``; the second measure goes upwards."""
    low, high = np.array(archive.low), np.array(archive.high)
    share = (archive.centres() - low) / (high - low)
    places: np.ndarray = _MARGIN + _SIZE * np.stack((share[:, 0], 1.0 - share[:, 1]), axis=1)
    return places


def _shape(archive: ArchiveConfig, x: float, y: float, colour: str) -> str:
    if archive.shape == "disc":
        radius = 0.5 * _SIZE / archive.cells**0.5
        return f'<circle class="cell" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}"/>'
    width, height = (_SIZE / dim for dim in archive.dims)
    return (
        f'<rect class="cell" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _labels(archive: ArchiveConfig, measures: Sequence[str]) -> str:
    """Names and limits of both axes."""
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
