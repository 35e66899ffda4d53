"""Archives of elites."""

import numpy as np
import pytest

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, disc_centres, load_elites
from wmrl.storage.artifact import ArtifactError


def filled(config: ArchiveConfig, count: int = 500):
    rng = np.random.default_rng(0)
    archive = config.make(3, seed=0)
    solutions = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
    measures = rng.uniform(0.2, 0.8, (count, 2))
    archive.add(solutions, -np.abs(solutions).sum(1), measures)
    return archive


DISC = ArchiveConfig(cells=50, worst=-3.0)
GRID = ArchiveConfig(shape="grid", dims=(5, 8), low=(0, 0), high=(1, 2), worst=-3.0)


def test_a_disc_s_cells_are_even_and_inside() -> None:
    centres = disc_centres(300)
    again = disc_centres(300)
    assert np.array_equal(centres, again)
    assert (np.hypot(*(centres - 0.5).T) < 0.5).all()
    # Brute force: how many of evenly drawn points are nearest to each centre.
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1, (40_000, 2))
    points = points[np.hypot(*(points - 0.5).T) <= 0.5]
    gaps = ((points[:, None] - centres[None]) ** 2).sum(2)
    sizes = np.bincount(gaps.argmin(1), minlength=300)
    assert sizes.min() > 0.5 * sizes.mean()
    assert sizes.max() < 1.7 * sizes.mean()


@pytest.mark.parametrize("config", [DISC, GRID], ids=["disc", "grid"])
def test_centres_are_in_their_own_cells(config: ArchiveConfig) -> None:
    archive = config.make(3, seed=0)
    assert archive.cells == config.cell_count
    assert np.array_equal(archive.index_of(config.centres()), np.arange(config.cell_count))


@pytest.mark.parametrize("config", [DISC, GRID], ids=["disc", "grid"])
def test_an_archive_is_made_again_from_its_elites(config: ArchiveConfig, tmp_path) -> None:
    archive = filled(config)
    elites = Elites.of(archive)
    assert (np.diff(elites.cells) > 0).all()
    again = config.make(3, seed=7, elites=elites)
    np.testing.assert_allclose(again.stats.qd_score, archive.stats.qd_score)
    assert again.stats.obj_max == archive.stats.obj_max
    elites.save(tmp_path / "elites", config)
    loaded, loaded_config = load_elites(tmp_path / "elites")
    assert loaded_config == config
    for name, value in vars(Elites.of(again)).items():
        assert np.array_equal(value, getattr(elites, name))
        assert np.array_equal(value, getattr(loaded, name))


def test_neighbours_are_the_cells_around() -> None:
    around = ArchiveConfig(shape="grid", dims=(5, 4), high=(1.0, 100.0)).neighbours()
    assert around.shape == (20, 8)
    # Cell (2, 1) is 2 · 4 + 1; those around it are in rows 1 to 3 and columns 0 to 2.
    assert sorted(around[9]) == [4, 5, 6, 8, 10, 12, 13, 14]
    assert set(around[0]) == {0, 1, 4, 5}
    assert set(around[19]) == {14, 15, 18, 19}
    assert ArchiveConfig(cells=3).neighbours().shape == (3, 2)
    assert ArchiveConfig(cells=1).neighbours().shape == (1, 0)
    wide = ArchiveConfig(cells=DISC.cells, high=(1.0, 100.0))
    assert np.array_equal(wide.neighbours(), DISC.neighbours())
    gaps = DISC.centres()[DISC.neighbours()] - DISC.centres()[:, None]
    assert np.hypot(gaps[..., 0], gaps[..., 1]).max() < 0.35


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dims": (3.5, 2)}, r"dims: expected whole numbers of at least 1, got \(3.5, 2\)"),
        ({"cells": 0}, "cells: expected whole numbers of at least 1, got 0"),
        ({"high": (np.inf, 1.0)}, "low, high: expected finite numbers"),
    ],
)
def test_cells_that_can_not_be_are_refused(wrong, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ArchiveConfig(**wrong)


def test_the_score_counts_from_the_worst() -> None:
    archive = DISC.make(3, seed=0)
    archive.add(np.zeros((2, 3), np.float32), [-1.0, -2.5], [[0.5, 0.5], [0.1, 0.5]])
    assert archive.stats.qd_score == pytest.approx(2.0 + 0.5)


@pytest.mark.parametrize("config", [DISC, GRID], ids=["disc", "grid"])
def test_a_snapshot_is_by_cell(config: ArchiveConfig) -> None:
    archive = config.make(3, seed=0)
    assert np.isnan(config.snapshot(archive)).all()
    archive.add(np.zeros((3, 3), np.float32), [-1.0, -2.5, -0.5], config.centres()[[7, 2, 7]])
    taken = config.snapshot(archive)
    assert (taken.shape, taken.dtype) == ((config.cell_count,), np.float32)
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
        {"worst": -np.inf},
        {"worst": np.nan},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ArchiveConfig(**wrong)
    with pytest.raises(ValueError, match="elites: expected solutions of 4 numbers, got 3"):
        DISC.make(4, seed=0, elites=Elites.of(filled(DISC)))
    empty = Elites.of(DISC.make(3, seed=0))
    empty.save(tmp_path / "empty", DISC)
    with pytest.raises(ArtifactError, match="empty archive"):
        load_elites(tmp_path / "empty")
