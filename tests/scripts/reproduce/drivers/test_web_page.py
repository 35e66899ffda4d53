"""The heatmap of elites as a web page."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.scripts.reproduce.drivers.web_page import write_page

GRID = ArchiveConfig(shape="grid", dims=(4, 3), low=(0.0, -1.0), high=(2.0, 1.0))
DISC = ArchiveConfig(cells=30, low=(-1.0, 0.0))
EMPTY = "#282c36"
START, SIZE = 44, 480  # the map's corner and side, in pixels


def some_elites(archive: ArchiveConfig) -> Elites:
    made = archive.make(3, seed=0)
    generator = np.random.default_rng(0)
    measures = archive.centers()[::4] + 0.01
    solutions = np.zeros((len(measures), 3), np.float32)
    made.add(solutions, generator.uniform(0, 900, len(measures)), measures)
    return Elites.from_archive(made)


def written(
    path: Path, archive: ArchiveConfig, videos: dict[int, str] | None = None, **words: Any
) -> str:
    words = {"title": "Drivers", "measures": ("|steer|", "pedal"), **words}
    file = write_page(
        path / "deep" / "map.html", archive, some_elites(archive), videos or {}, **words
    )
    assert file == path / "deep" / "map.html"
    return file.read_text("utf-8")


def drawing(text: str) -> ElementTree.Element:
    """The page's SVG image, which has to be well-formed."""
    found = re.search(r"<svg.*?</svg>", text, re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def cells(image: ElementTree.Element) -> list[ElementTree.Element]:
    """Their shapes, in the order of their indices."""
    return [each for each in image.iter() if each.get("class") == "cell"]


def numbers(shape: ElementTree.Element, *names: str) -> list[float]:
    return [float(shape.attrib[name]) for name in names]


def pixels(archive: ArchiveConfig, measures: np.ndarray) -> np.ndarray:
    """Pixels of measures ``(N, 2)``: the first to the right, the second upwards."""
    share = (measures - archive.low) / np.subtract(archive.high, archive.low)
    return START + SIZE * np.stack((share[:, 0], 1.0 - share[:, 1]), axis=1)


def covers(shape: ElementTree.Element, point: np.ndarray) -> bool:
    left, top, width, height = numbers(shape, "x", "y", "width", "height")
    return left <= point[0] <= left + width and top <= point[1] <= top + height


def test_points_of_a_grid_are_drawn_in_their_cells(tmp_path: Path) -> None:
    """The oracle is the archive of ribs."""
    drawn = cells(drawing(written(tmp_path, GRID)))
    measures = np.random.default_rng(1).uniform(GRID.low, GRID.high, (50, 2))
    found = GRID.make(3, seed=0).index_of(measures)
    assert len(drawn) == GRID.num_cells == 12
    assert len(set(found.tolist())) > 8
    for cell, point in zip(found, pixels(GRID, measures), strict=True):
        assert [number for number, shape in enumerate(drawn) if covers(shape, point)] == [cell]


def test_each_point_of_a_disc_is_nearest_to_its_cell(tmp_path: Path) -> None:
    drawn = cells(drawing(written(tmp_path, DISC)))
    places = np.array([numbers(shape, "cx", "cy") for shape in drawn])
    assert len(places) == DISC.num_cells == 30
    measures = DISC.centers() + np.random.default_rng(1).uniform(-0.03, 0.03, (30, 2))
    found = DISC.make(3, seed=0).index_of(measures)
    gaps = np.linalg.norm(pixels(DISC, measures)[:, None] - places, axis=2)
    np.testing.assert_array_equal(gaps.argmin(1), found)
    radii = {shape.get("r") for shape in drawn}
    assert len(radii) == 1
    (radius,) = map(float, radii)  # circles of such cells hardly overlap
    others = np.linalg.norm(places[:, None] - places, axis=2) + 1e9 * np.eye(30)
    assert 1.4 * radius < others.min() < 3 * radius


@pytest.mark.parametrize("archive", [GRID, DISC], ids=["grid", "disc"])
def test_tooltips_and_colors(archive: ArchiveConfig, tmp_path: Path) -> None:
    elites = some_elites(archive)
    drawn = cells(drawing(written(tmp_path, archive, measures=("a", "b"))))
    brightness = []
    for row, cell in enumerate(elites.cells):
        first, second = elites.measures[row]
        said = f"score {elites.objectives[row]:.1f}; a {first:.2f}, b {second:.2f}"
        assert drawn[cell].findtext("title") == said
        brightness.append(sum(bytes.fromhex(drawn[cell].attrib["fill"][1:])))
    assert np.argmax(brightness) == np.argmax(elites.objectives)
    assert len(set(brightness)) == len(elites)
    empty = [shape for number, shape in enumerate(drawn) if number not in elites.cells]
    assert {shape.get("fill") for shape in empty} == {EMPTY}
    assert all(shape.find("title") is None for shape in empty)


@pytest.mark.parametrize("archive", [GRID, DISC], ids=["grid", "disc"])
def test_videos_are_linked_from_their_cells_only(archive: ArchiveConfig, tmp_path: Path) -> None:
    first, *_, last = some_elites(archive).cells.tolist()
    videos = {last: "videos/a&b.mp4", first: 'videos/"1".mp4'}
    image = drawing(written(tmp_path, archive, videos))
    drawn = cells(image)
    links = {link.get("href"): link for link in image.iter("a")}
    assert set(links) == set(videos.values())
    for cell, video in videos.items():
        assert list(links[video]) == [drawn[cell]]


class Reader(HTMLParser):
    """Collects a page's tags, attributes and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_texts_are_escaped(tmp_path: Path) -> None:
    words = {
        "title": '<b>"Who\'s" & {0}</b>',
        "text": "<script>alert(1)</script> {title}",
        "measures": ("a<b>", '"c" & d'),
    }
    text = written(tmp_path, GRID, **words)
    reader, plain = Reader(text), Reader(written(tmp_path, GRID))
    assert reader.tags == plain.tags
    for said in (words["title"], words["text"], *words["measures"]):
        assert said in reader.text
    assert ("aria-label", words["title"]) in reader.attributes
    assert any(said.endswith('"c" & d 0.68') for said in reader.text)
    drawing(text)


def test_axes_are_named_with_their_limits(tmp_path: Path) -> None:
    labels = drawing(written(tmp_path, GRID)).findall("text")
    places = {label.text: label for label in labels}
    assert set(places) == {"0", "2", "-1", "1", "|steer|", "pedal"}
    assert places["0"].attrib["y"] == places["2"].attrib["y"] == places["|steer|"].attrib["y"]
    left, right = (numbers(places[limit], "x")[0] for limit in ("0", "2"))
    assert (left, right) == (START, START + SIZE)
    low, high = (numbers(places[limit], "y")[0] for limit in ("-1", "1"))
    assert low > high  # upwards
    assert "rotate(-90)" in places["pedal"].attrib["transform"]


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    cell = int(some_elites(GRID).cells[0])
    text = written(tmp_path, GRID, {cell: "videos/a.mp4"})
    reader = Reader(text)
    assert not {"link", "img", "iframe", "base", "object", "embed"} & set(reader.tags)
    loads = [value for name, value in reader.attributes if name in ("src", "href", "srcset")]
    assert loads == ["videos/a.mp4"]
    assert not re.search(r"://|@import|url\(|\bimport\b|fetch\(", text)
    assert [child.name for child in (tmp_path / "deep").iterdir()] == ["map.html"]


def test_errors(tmp_path: Path) -> None:
    elites = some_elites(GRID)
    with pytest.raises(ValueError, match=r"measures: expected two names, got \['one'\]"):
        written(tmp_path, GRID, measures=("one",))
    empty = next(cell for cell in range(12) if cell not in elites.cells)
    for cell in (empty, 12, -1):
        with pytest.raises(
            ValueError, match=rf"videos: .*with an elite, got the empty cell {cell}"
        ):
            written(tmp_path, GRID, {int(elites.cells[0]): "a.mp4", cell: "b.mp4"})
    assert not (tmp_path / "deep").exists()
