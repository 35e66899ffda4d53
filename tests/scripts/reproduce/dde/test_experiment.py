"""Searches for elites, and the comparison with the oracle."""

from dataclasses import asdict

import numpy as np
import pytest

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites
from wmrl.agents.quality_diversity.baselines import search_with_ribs
from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.agents.quality_diversity.presets import SearchPreset, encoding_config
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.oracle import solve_targets
from wmrl.scripts.reproduce.dde.experiment import (
    METHODS,
    evaluations_until,
    is_reached,
    oracle_gap,
    oracle_stds,
    run_search,
)
from wmrl.storage.reading import read_json
from wmrl.training.callbacks import StopWhen

pytestmark = pytest.mark.usefixtures("interpreted_ribs")

PRESET = SearchPreset(
    problem=ArmProblem(
        arm=Arm(num_joints=8), archive=ArchiveConfig(cells=60, qd_score_offset=-np.pi / 2)
    ),
    latent_dim=4,
)


@pytest.mark.parametrize(
    "method",
    [pytest.param(method, marks=() if method == "dde" else pytest.mark.slow) for method in METHODS],
)
def test_each_search_finds_elites_and_is_reused(method, tmp_path) -> None:
    made = run_search(PRESET, method, tmp_path, evaluations=12_000, seed=0, progress=False)
    summary, elites = made
    last = summary["rows"][-1]
    assert last["evaluations"] == pytest.approx(12_000, rel=0.05)
    assert last["coverage"] > 0.6
    assert last["coverage"] == pytest.approx(len(elites) / 60)
    objectives, measures = PRESET.problem.evaluate(elites.solutions)
    np.testing.assert_allclose(elites.objectives, objectives, atol=1e-6)
    np.testing.assert_allclose(elites.measures, measures, atol=1e-6)
    assert last["mean_fitness"] == pytest.approx(float(objectives.mean()), abs=1e-5)
    again, same = run_search(PRESET, method, tmp_path, evaluations=12_000, seed=0, progress=False)
    assert again == summary
    assert np.array_equal(same.solutions, elites.solutions)
    with pytest.raises(ValueError, match="which has other settings"):
        run_search(PRESET, method, tmp_path, evaluations=12_000, seed=1, progress=False)


@pytest.mark.parametrize("method", ["iso", "line", "cma-me", "cma-mae"])
def test_ribs_searches_are_the_same_for_a_seed(method) -> None:
    runs = [
        search_with_ribs(
            PRESET.problem,
            method,
            evaluations=3000,
            initial_coverage=0.05,
            seed=seed,
            progress=False,
        )
        for seed in (1, 1, 2)
    ]
    assert runs[0].rows == runs[1].rows != runs[2].rows
    assert np.array_equal(runs[0].elites.solutions, runs[1].elites.solutions)


@pytest.mark.parametrize("method", ["line", "cma-mae"])
def test_snapshots_end_with_what_was_found(method) -> None:
    given = {"evaluations": 3000, "initial_coverage": 0.05, "seed": 1, "progress": False}
    found = search_with_ribs(PRESET.problem, method, snapshots=4, **given)
    assert found.snapshots.dtype == np.float32
    assert len(found.snapshots) == 4
    filled = np.isfinite(found.snapshots)
    assert (filled[1:] >= filled[:-1]).all()
    assert (np.diff(found.snapshots, axis=0)[filled[:-1]] >= 0).all()
    assert np.array_equal(np.flatnonzero(filled[-1]), found.elites.cells)
    np.testing.assert_allclose(found.snapshots[-1, found.elites.cells], found.elites.objectives)
    once = StopWhen(lambda row: True)
    stopped = search_with_ribs(
        PRESET.problem, method, snapshots=1, log_every=500, callbacks=[once], **given
    )
    assert len(stopped.snapshots) == len(stopped.rows) == 1
    assert np.isfinite(stopped.snapshots[-1]).sum() == len(stopped.elites)


def test_an_initialization_that_takes_the_whole_budget_is_refused() -> None:
    with pytest.raises(ValueError, match=r"evaluations: expected more than the 100 random .*, got"):
        search_with_ribs(
            PRESET.problem, "iso", evaluations=100, initial_coverage=0.05, seed=0, progress=False
        )
    with pytest.raises(ValueError, match="snapshots: expected at least 1, got 0"):
        search_with_ribs(
            PRESET.problem, "iso", evaluations=1000, initial_coverage=0.05, seed=0, snapshots=0
        )


def test_a_search_stops_at_its_goal(tmp_path) -> None:
    for method in ("line", "dde"):
        summary, _ = run_search(
            PRESET,
            method,
            tmp_path / method,
            evaluations=50_000,
            seed=0,
            until=lambda row: row["coverage"] > 0.5,
            progress=False,
        )
        assert summary["rows"][-1]["evaluations"] < 30_000
        assert summary["rows"][-1]["coverage"] > 0.5


def test_evaluations_until_the_goal() -> None:
    rows = [
        {"evaluations": 10.0, "coverage": 0.96, "mean_fitness": -0.07},
        {"evaluations": 20.0, "coverage": 0.94, "mean_fitness": -0.05},
        {"evaluations": 30.0, "coverage": 0.95, "mean_fitness": -0.06},
        {"evaluations": 40.0, "coverage": 0.99, "mean_fitness": -0.01},
    ]
    assert [is_reached(row) for row in rows] == [False, False, True, True]
    assert evaluations_until(rows) == 30
    assert evaluations_until(rows[:2]) is None


def test_the_gap_to_the_oracle(tmp_path) -> None:
    stds = oracle_stds(PRESET, tmp_path)
    assert np.array_equal(stds, oracle_stds(PRESET, tmp_path), equal_nan=True)
    points = 2.0 * PRESET.problem.archive.centers() - 1.0
    found = solve_targets(points, PRESET.problem.arm)
    assert np.array_equal(np.isfinite(stds), found.solved)
    own = np.array([-stds[3] - 0.1, -stds[5] - 0.3])
    elites = Elites(np.zeros((2, 8), np.float32), own, np.zeros((2, 2)), np.array([3, 5]))
    gap = oracle_gap(elites, stds)
    assert gap["oracle_gap"] == pytest.approx(0.2)
    assert gap["std"] == pytest.approx(-own.mean())
    assert gap["oracle_coverage"] == pytest.approx(2 / found.solved.sum())


def test_a_finer_mutation_is_one_more(tmp_path) -> None:
    used = {}
    for method in ("dde", "dde-fine"):
        path = tmp_path / method
        run_search(PRESET, method, path, evaluations=300, seed=0, progress=False)
        config = read_json(path / "run" / "config.json")["config"]
        used[method] = config["mutations"]
    assert used["dde-fine"] == [*used["dde"], asdict(Mutation(iso_sigma=0.001))]


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match=r"method: expected one of .*'cma-mae'"):
        search_with_ribs(PRESET.problem, "luck", evaluations=1, initial_coverage=0.05, seed=0)  # type: ignore[arg-type]


def test_each_variant_has_its_model() -> None:
    assert encoding_config("vae", PRESET).latent_dim == 4
    assert encoding_config("fsq", PRESET).quantizer == "fsq"
    assert encoding_config("vqvae", PRESET).input_dim == 8
