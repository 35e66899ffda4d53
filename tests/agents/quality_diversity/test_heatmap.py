"""Maps of elites."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.agents.quality_diversity.heatmap import draw_map, film_map, write_map

GRID = ArchiveConfig(shape="grid", dims=(4, 2))
DISC = ArchiveConfig(cells=30)
EMPTY = (40, 44, 54)


def pixel(picture: np.ndarray, x: float, y: float, size: int, height: int) -> tuple[int, ...]:
    """Colour at a place of the map, x and y in [0, 1]."""
    row, column = 40 + round((1 - y) * height), 16 + round(x * size)
    return tuple(map(int, picture[row, column]))


def test_a_grid_s_cells_are_where_their_measures_say() -> None:
    objectives = np.full(8, np.nan)
    archive = GRID.make(1, seed=0)
    (cell,) = archive.index_of([[0.9, 0.2]])
    objectives[cell] = 1.0
    picture = draw_map(GRID, objectives, limits=(0.0, 1.0), size=400)
    assert pixel(picture, 0.9, 0.2, 400, 200) == pytest.approx((253, 231, 37), abs=4)
    assert pixel(picture, 0.1, 0.2, 400, 200) == EMPTY
    assert pixel(picture, 0.9, 0.8, 400, 200) == EMPTY


def test_a_disc_s_cells_are_where_their_measures_say() -> None:
    rng = np.random.default_rng(0)
    objectives = rng.uniform(0, 1, 30)
    objectives[[3, 7]] = np.nan
    picture = draw_map(DISC, objectives, limits=(0.0, 1.0), size=400)
    brightness = [sum(pixel(picture, *centre, 400, 400)) for centre in DISC.centres()]
    order = np.argsort(np.nan_to_num(objectives, nan=-1))[2:]
    assert (np.diff(np.array(brightness)[order]) >= -40).all()
    assert pixel(picture, *DISC.centres()[3], 400, 400) == EMPTY
    assert pixel(picture, 0.02, 0.02, 400, 400) == (18, 20, 26)


def test_pictures_and_films_are_written(tmp_path) -> None:
    archive = DISC.make(2, seed=0)
    archive.add(np.zeros((5, 2), np.float32), np.arange(5.0), DISC.centres()[:5])
    picture = iio.imread(write_map(tmp_path / "m.png", DISC, Elites.of(archive), title="arms"))
    assert picture.ndim == 3
    snapshots = np.full((3, 30), np.nan, np.float32)
    snapshots[1, :5] = snapshots[2, :9] = 1.0
    film = iio.imread(film_map(tmp_path / "m.gif", DISC, snapshots, titles=["a", "b", "c"]))
    assert len(film) == 3
    assert np.abs(film[0].astype(int) - film[2]).max() > 50


def test_a_map_is_written_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    archive = DISC.make(2, seed=0)
    archive.add(np.zeros((5, 2), np.float32), np.arange(5.0), DISC.centres()[:5])
    path = write_map(tmp_path / "m.png", DISC, Elites.of(archive))
    before = path.read_bytes()

    def interrupted(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_map(path, DISC, Elites.of(archive), title="others")
    assert path.read_bytes() == before


def test_clear_errors(tmp_path) -> None:
    with pytest.raises(ValueError, match="expected one for each of 30 cells"):
        draw_map(DISC, np.zeros(29))
    with pytest.raises(ValueError, match="snapshots: expected at least one"):
        film_map(tmp_path / "a.mp4", DISC, np.zeros((0, 30)))
    with pytest.raises(ValueError, match="titles: expected 2"):
        film_map(tmp_path / "a.mp4", DISC, np.zeros((2, 30)), titles=["a"])
