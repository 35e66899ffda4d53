"""Heatmaps of archives."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.agents.quality_diversity.heatmap import draw_map, write_map, write_map_video

GRID = ArchiveConfig(shape="grid", dims=(4, 2))
DISC = ArchiveConfig(cells=30)
EMPTY = (40, 44, 54)


def pixel(image: np.ndarray, x: float, y: float, size: int, height: int) -> tuple[int, ...]:
    """Color at a place of the map, x and y in [0, 1]."""
    row, column = 40 + round((1 - y) * height), 16 + round(x * size)
    return tuple(map(int, image[row, column]))


def test_a_grid_s_cells_are_where_their_measures_say() -> None:
    objectives = np.full(8, np.nan)
    archive = GRID.make(1, seed=0)
    (cell,) = archive.index_of([[0.9, 0.2]])
    objectives[cell] = 1.0
    image = draw_map(GRID, objectives, limits=(0.0, 1.0), size=400)
    assert pixel(image, 0.9, 0.2, 400, 200) == pytest.approx((253, 231, 37), abs=4)
    assert pixel(image, 0.1, 0.2, 400, 200) == EMPTY
    assert pixel(image, 0.9, 0.8, 400, 200) == EMPTY


def test_a_disc_s_cells_are_where_their_measures_say() -> None:
    rng = np.random.default_rng(0)
    objectives = rng.uniform(0, 1, 30)
    objectives[[3, 7]] = np.nan
    image = draw_map(DISC, objectives, limits=(0.0, 1.0), size=400)
    brightness = [sum(pixel(image, *center, 400, 400)) for center in DISC.centers()]
    order = np.argsort(np.nan_to_num(objectives, nan=-1))[2:]
    assert (np.diff(np.array(brightness)[order]) >= -40).all()
    assert pixel(image, *DISC.centers()[3], 400, 400) == EMPTY
    assert pixel(image, 0.02, 0.02, 400, 400) == (18, 20, 26)


def test_images_and_videos_are_written(tmp_path) -> None:
    archive = DISC.make(2, seed=0)
    archive.add(np.zeros((5, 2), np.float32), np.arange(5.0), DISC.centers()[:5])
    image = iio.imread(
        write_map(tmp_path / "m.png", DISC, Elites.from_archive(archive), title="arms")
    )
    assert image.ndim == 3
    snapshots = np.full((3, 30), np.nan, np.float32)
    snapshots[1, :5] = snapshots[2, :9] = 1.0
    video = iio.imread(write_map_video(tmp_path / "m.gif", DISC, snapshots, titles=["a", "b", "c"]))
    assert len(video) == 3
    assert np.abs(video[0].astype(int) - video[2]).max() > 50


def test_a_map_is_written_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    archive = DISC.make(2, seed=0)
    archive.add(np.zeros((5, 2), np.float32), np.arange(5.0), DISC.centers()[:5])
    path = write_map(tmp_path / "m.png", DISC, Elites.from_archive(archive))
    before = path.read_bytes()

    def interrupted(self: Image.Image, path: Path, **options: object) -> None:
        path.write_bytes(before[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_map(path, DISC, Elites.from_archive(archive), title="others")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_clear_errors(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"objectives: expected shape \(30,\), got \(29,\)"):
        draw_map(DISC, np.zeros(29))
    with pytest.raises(ValueError, match="snapshots: expected at least one"):
        write_map_video(tmp_path / "a.mp4", DISC, np.zeros((0, 30)))
    with pytest.raises(ValueError, match="titles: expected 2"):
        write_map_video(tmp_path / "a.mp4", DISC, np.zeros((2, 30)), titles=["a"])
