"""Comparable searches for elites, with the same initialization, archive and budget."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, load_elites
from wmrl.agents.quality_diversity.bandit import BelowOffsetWarning
from wmrl.agents.quality_diversity.baselines import RibsMethod, search_with_ribs
from wmrl.agents.quality_diversity.dde import DDE
from wmrl.agents.quality_diversity.dde_config import DDEConfig
from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.agents.quality_diversity.presets import (
    EncodingKind,
    SearchPreset,
    default_initial_coverage,
    encoding_config,
)
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.oracle import solve_targets
from wmrl.scripts.reproduce.cached_result import CachedResult
from wmrl.training.callbacks import StopWhen
from wmrl.training.metrics import read_metrics

Method = Literal[
    "iso",
    "line",
    "cma-me",
    "cma-mae",
    "dde-published",
    "dde-none",
    "dde",
    "dde-fine",
    "dde-vqvae",
    "dde-fsq",
]

METHODS: dict[Method, str] = {
    "iso": "MAP-Elites, isotropic mutation",
    "line": "MAP-Elites, line mutation",
    "cma-me": "CMA-ME",
    "cma-mae": "CMA-MAE",
    "dde-published": "DDE as published: VAE",
    "dde-none": "DDE without an encoding",
    "dde": "DDE: VAE",
    "dde-fine": "DDE: VAE, and a finer mutation",
    "dde-vqvae": "DDE: VQ-VAE",
    "dde-fsq": "DDE: finite scalar quantization",
}
"""Titles of the search methods, by name. The first four methods use emitters of the package
``ribs``. ``"dde-none"`` has only the mutations and the bandit of DDE. A comparison with this method
shows the effect of the encoding. In ``"dde-fine"``, the bandit can also choose a finer mutation,
because the usual noise of 0.006 is too coarse to make the angles of 200 joints nearly equal."""

_FINE = Mutation(iso_sigma=0.001)
_RIBS = get_args(RibsMethod)
_ENCODINGS: dict[Method, EncodingKind] = {"dde-vqvae": "vqvae", "dde-fsq": "fsq"}

SNAPSHOTS = "snapshots.npy"
"""Name of the file with S snapshots of DDE's archive: an array ``(S, cells)`` with the objective in
each cell, or NaN for an empty cell."""

_DISC = ArchiveConfig(qd_score_offset=-np.pi / 2)

TASKS = {
    "20-joints": SearchPreset(
        problem=ArmProblem(arm=Arm(num_joints=20), archive=_DISC), latent_dim=10
    ),
    "200-joints": SearchPreset(problem=ArmProblem(arm=Arm(num_joints=200), archive=_DISC)),
    "1000-joints": SearchPreset(
        problem=ArmProblem(
            arm=Arm(num_joints=1000),
            objective="variance",
            archive=ArchiveConfig(shape="grid", dims=(100, 100), qd_score_offset=0.0),
        ),
        evaluations=360_000,
        initial_coverage=default_initial_coverage(1000),
    ),
}
"""Problems by name. The arms with 20 and 200 joints are those of Data-Driven Encodings
(https://arxiv.org/abs/2003.04389). The arm with 1000 joints is that of Fontaine and Nikolaidis 2021
(https://arxiv.org/abs/2106.03894). As in that paper, the QD score for this arm has an offset of 0,
although some objectives are negative."""


def run_search(
    preset: SearchPreset,
    method: Method,
    path: Path,
    *,
    evaluations: int,
    seed: int,
    until: Callable[[Mapping[str, float]], bool] | None = None,
    progress: bool = True,
) -> tuple[dict[str, Any], Elites]:
    """Runs a search for elites, or reads its result if the folder contains the finished search.

    Args:
        preset: problem and settings.
        method: search method.
        path: path of the folder.
        evaluations: budget of evaluations.
        seed: root seed.
        until: function of a row of metrics. The search stops early when the function returns True.
            None to use the whole budget.
        progress: True to show a progress bar.

    Returns:
        A report and the elites. The report contains:

        - ``rows``: rows of metrics, recorded in the course of the search.
        - ``seconds``: total time of the search.
        - ``training_seconds``: part of that time in which the encoding was trained.
        - ``key``: settings of the search.

    Raises:
        ValueError: the folder contains a search with other settings.
    """
    artifact = path / "elites"
    config = None if method in _RIBS else _dde_config(preset, method, evaluations)
    key = {
        "problem": preset.problem.describe(),
        "method": method,
        "config": None if config is None else asdict(config),
        "evaluations": evaluations,
        "initial_coverage": preset.initial_coverage,
        "seed": seed,
    }
    cached = CachedResult(path / "result.json", key, name="search")
    if cached.value is not None:
        return cached.value, load_elites(artifact)[0]
    if config is None:
        found = search_with_ribs(
            preset.problem,
            method,  # type: ignore[arg-type]
            evaluations=evaluations,
            initial_coverage=preset.initial_coverage,
            seed=seed,
            callbacks=[] if until is None else [StopWhen(until)],
            progress=progress,
        )
        elites, rows, seconds, training = found.elites, found.rows, found.seconds, 0.0
    else:
        with (
            DDE(preset.problem, config, path=path / "run", seed=seed) as search,
            warnings.catch_warnings(),
        ):
            # The offsets are those of the papers; objectives of 1000 joints may be lower.
            warnings.simplefilter("ignore", BelowOffsetWarning)
            goal = [] if until is None else [StopWhen(lambda row: until(_plain(row)))]
            search.learn(callbacks=goal, progress=progress)
            assert search.elites is not None
            np.save(path / SNAPSHOTS, search.snapshots)
            elites, seconds, training = search.elites, search.seconds, search.training_seconds
        rows = [_plain(row) for row in read_metrics(path / "run" / "metrics.csv")]
    elites.save(artifact, preset.problem.archive)
    times = {"seconds": seconds, "training_seconds": training}
    return cached.store({"rows": rows, **times}), elites


def _dde_config(preset: SearchPreset, method: Method, evaluations: int) -> DDEConfig:
    make = DDEConfig.as_published if method == "dde-published" else DDEConfig
    options: dict[str, Any] = {"encoding": encoding_config(_ENCODINGS.get(method, "vae"), preset)}
    if method == "dde-none":
        options = {"encoding": None, "crossovers": (0.0,)}
    if method == "dde-fine":
        options["mutations"] = (*DDEConfig().mutations, _FINE)
    return make(generations=evaluations // 100, initial_coverage=preset.initial_coverage, **options)


def is_reached(row: Mapping[str, float]) -> bool:
    """Checks whether a row of metrics reaches the goal of a race.

    A race is a search that stops as soon as it reaches this goal: at least 95 % of the cells have
    elites, and the mean std of the elites' joint angles is at most 0.06.
    """
    return row["coverage"] >= 0.95 and row["mean_fitness"] >= -0.06


def evaluations_until(rows: Sequence[Mapping[str, float]]) -> float | None:
    """Returns the number of evaluations in the first row for which :func:`is_reached` is True.

    Returns None if there is no such row.
    """
    return next((row["evaluations"] for row in rows if is_reached(row)), None)


def oracle_stds(preset: SearchPreset, path: Path) -> np.ndarray:
    """Returns the smallest std of the joint angles that an oracle finds for each cell.

    The oracle uses gradients of the arm's equations. It searches for poses that end at the center
    of the cell.

    Args:
        preset: preset of a search. Only the problem of the preset is used.
        path: folder in which the result is cached.

    Returns:
        Stds in radians, ``(cells,) float64``. NaN for a cell whose center the oracle does not
        reach.

    Raises:
        ValueError: the folder contains the result of a different problem.
    """
    problem = preset.problem
    cached = CachedResult(path / "oracle.json", problem.describe(), name="oracle")
    if cached.value is not None:
        return np.array(cached.value["stds"], float)  # null becomes NaN
    points = (2.0 * problem.archive.centers() - 1.0) * problem.arm.reach
    solved = solve_targets(points, problem.arm)
    stds = np.where(solved.solved, solved.std, np.nan)
    cached.store({"stds": [None if np.isnan(std) else float(std) for std in stds]})
    return stds


def oracle_gap(elites: Elites, stds: np.ndarray) -> dict[str, float]:
    """Compares the stds of elites' joint angles with the smallest stds that an oracle finds.

    Args:
        elites: elites of an archive.
        stds: result of :func:`oracle_stds`.

    Returns:
        A dictionary of metrics. ``std`` and ``oracle_gap`` are averages over the cells that contain
        an elite and whose center the oracle reaches.

        - ``std``: mean std of the elites' joint angles, in radians.
        - ``oracle_gap``: mean of the elite's std minus the oracle's std, in radians.
        - ``oracle_coverage``: among the cells whose center the oracle reaches, the share of cells
          that contain an elite.
    """
    solved = np.isfinite(stds)
    own = np.full(len(stds), np.nan)
    own[elites.cells] = -elites.objectives
    both = solved & np.isfinite(own)
    return {
        "std": float(own[both].mean()),
        "oracle_gap": float((own - stds)[both].mean()),
        "oracle_coverage": float(both.sum() / solved.sum()),
    }


def _plain(row: Mapping[str, float]) -> dict[str, float]:
    """Converts a row of DDE's metrics to the format of ``search_with_ribs``.

    The result contains the number of evaluations and four metrics of the archive.
    """
    names = ("coverage", "mean_fitness", "best_fitness", "qd_score")
    return {"evaluations": row["evaluations"], **{name: row[f"archive/{name}"] for name in names}}
