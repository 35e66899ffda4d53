"""Archives of elites."""

import numpy as np
import pytest

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, disc_centers, load_elites
from wmrl.storage.artifact import ArtifactError


def filled(config: ArchiveConfig, count: int = 500):
    rng = np.random.default_rng(0)
    archive = config.make(3, seed=0)
    solutions = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
    measures = rng.uniform(0.2, 0.8, (count, 2))
    archive.add(solutions, -np.abs(solutions).sum(1), measures)
    return archive


DISC = ArchiveConfig(cells=50, qd_score_offset=-3.0)
GRID = ArchiveConfig(shape="grid", dims=(5, 8), low=(0, 0), high=(1, 2), qd_score_offset=-3.0)


def test_a_disc_s_cells_are_even_and_inside() -> None:
    centers = disc_centers(300)
    again = disc_centers(300)
    assert np.array_equal(centers, again)
    assert (np.hypot(*(centers - 0.5).T) < 0.5).all()
    # Brute force: how many of evenly drawn points are nearest to each center.
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1, (40_000, 2))
    points = points[np.hypot(*(points - 0.5).T) <= 0.5]
    gaps = ((points[:, None] - centers[None]) ** 2).sum(2)
    sizes = np.bincount(gaps.argmin(1), minlength=300)
    assert sizes.min() > 0.5 * sizes.mean()
    assert sizes.max() < 1.7 * sizes.mean()


@pytest.mark.parametrize("config", [DISC, GRID], ids=["disc", "grid"])
def test_centers_are_in_their_own_cells(config: ArchiveConfig) -> None:
    archive = config.make(3, seed=0)
    assert archive.cells == config.num_cells
    assert np.array_equal(archive.index_of(config.centers()), np.arange(config.num_cells))


@pytest.mark.parametrize("config", [DISC, GRID], ids=["disc", "grid"])
def test_an_archive_is_restored_from_its_elites(config: ArchiveConfig, tmp_path) -> None:
    archive = filled(config)
    elites = Elites.from_archive(archive)
    assert (np.diff(elites.cells) > 0).all()
    again = config.make(3, seed=7, elites=elites)
    np.testing.assert_allclose(again.stats.qd_score, archive.stats.qd_score)
    assert again.stats.obj_max == archive.stats.obj_max
    elites.save(tmp_path / "elites", config)
    loaded, loaded_config = load_elites(tmp_path / "elites")
    assert loaded_config == config
    for name, value in vars(Elites.from_archive(again)).items():
        assert np.array_equal(value, getattr(elites, name))
        assert np.array_equal(value, getattr(loaded, name))


def test_neighbors_are_the_cells_around() -> None:
    around = ArchiveConfig(shape="grid", dims=(5, 4), high=(1.0, 100.0)).neighbors()
    assert around.shape == (20, 8)
    # Cell (2, 1) is 2 · 4 + 1; those around it are in rows 1 to 3 and columns 0 to 2.
    assert sorted(around[9]) == [4, 5, 6, 8, 10, 12, 13, 14]
    assert set(around[0]) == {0, 1, 4, 5}
    assert set(around[19]) == {14, 15, 18, 19}
    assert ArchiveConfig(cells=3).neighbors().shape == (3, 2)
    assert ArchiveConfig(cells=1).neighbors().shape == (1, 0)
    wide = ArchiveConfig(cells=DISC.cells, high=(1.0, 100.0))
    assert np.array_equal(wide.neighbors(), DISC.neighbors())
    gaps = DISC.centers()[DISC.neighbors()] - DISC.centers()[:, None]
    assert np.hypot(gaps[..., 0], gaps[..., 1]).max() < 0.35


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dims": (3.5, 2)}, r"dims: expected an integer, got 3\.5"),
        ({"cells": 0}, "cells: expected at least 1, got 0"),
        ({"high": (np.inf, 1.0)}, "high: expected a finite number, got inf"),
    ],
)
def test_invalid_cells_are_refused(wrong, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArchiveConfig(**wrong)


def test_the_qd_score_subtracts_the_offset() -> None:
    archive = DISC.make(3, seed=0)
    archive.add(np.zeros((2, 3), np.float32), [-1.0, -2.5], [[0.5, 0.5], [0.1, 0.5]])
    assert archive.stats.qd_score == pytest.approx(2.0 + 0.5)


@pytest.mark.parametrize("config", [DISC, GRID], ids=["disc", "grid"])
def test_a_snapshot_is_by_cell(config: ArchiveConfig) -> None:
    archive = config.make(3, seed=0)
    assert np.isnan(config.snapshot(archive)).all()
    archive.add(np.zeros((3, 3), np.float32), [-1.0, -2.5, -0.5], config.centers()[[7, 2, 7]])
    taken = config.snapshot(archive)
    assert (taken.shape, taken.dtype) == ((config.num_cells,), np.float32)
    assert set(np.flatnonzero(np.isfinite(taken))) == {2, 7}
    assert (taken[2], taken[7]) == (-2.5, -0.5)


def test_clear_errors(tmp_path) -> None:
    for wrong in (
        {"shape": "square"},
        {"cells": 0},
        {"cells": np.nan},
        {"dims": (3,)},
        {"dims": 5},
        {"high": (0.0, 1.0)},
        {"qd_score_offset": -np.inf},
        {"qd_score_offset": np.nan},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ArchiveConfig(**wrong)
    with pytest.raises(ValueError, match="elites: expected solutions of 4 numbers, got 3"):
        DISC.make(4, seed=0, elites=Elites.from_archive(filled(DISC)))
    empty = Elites.from_archive(DISC.make(3, seed=0))
    empty.save(tmp_path / "empty", DISC)
    with pytest.raises(ArtifactError, match="empty archive"):
        load_elites(tmp_path / "empty")
