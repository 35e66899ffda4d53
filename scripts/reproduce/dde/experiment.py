"""Searches for elites side by side: from the same start, with the same archive and budget."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, load_elites
from wmrl.agents.quality_diversity.bandit import BelowWorstWarning
from wmrl.agents.quality_diversity.baselines import RibsMethod, search_with_ribs
from wmrl.agents.quality_diversity.dde import DDE, DDEConfig
from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.agents.quality_diversity.presets import (
    EliteTask,
    EncodingKind,
    encoding_config,
    usual_fill,
)
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.oracle import solve_targets
from wmrl.scripts.reproduce.cached_result import KeptReport
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
    "dde-fsq": "DDE: finite scalar quantisation",
}
"""Searches and their titles; the first four are those of ``ribs``. DDE without an encoding is its
mutations and its bandit, and so tells what the encoding is worth. The finer mutation is one more
for the bandit to choose: noise of 0.006 alone keeps the angles of 200 joints from being even."""

_FINE = Mutation(iso=0.001)

_RIBS = get_args(RibsMethod)
_ENCODINGS: dict[Method, EncodingKind] = {"dde-vqvae": "vqvae", "dde-fsq": "fsq"}


SNAPSHOTS = "snapshots.npy"
"""File with the map of DDE's search over time, ``(S, cells)``."""

_DISC = ArchiveConfig(worst=-np.pi / 2)

TASKS = {
    "20-joints": EliteTask(problem=ArmProblem(arm=Arm(joints=20), archive=_DISC), latent_size=10),
    "200-joints": EliteTask(problem=ArmProblem(arm=Arm(joints=200), archive=_DISC)),
    "1000-joints": EliteTask(
        problem=ArmProblem(
            arm=Arm(joints=1000),
            objective="variance",
            archive=ArchiveConfig(shape="grid", dims=(100, 100), worst=0.0),
        ),
        evaluations=360_000,
        fill=usual_fill(1000),
    ),
}
"""Those of Data-Driven Encodings (https://arxiv.org/abs/2003.04389), and the long arm of Fontaine
and Nikolaidis 2021 (https://arxiv.org/abs/2106.03894), whose QD scores count from 0 though single
arms are below it."""


def run_search(
    task: EliteTask,
    method: Method,
    path: Path,
    *,
    evaluations: int,
    seed: int,
    until: Callable[[Mapping[str, float]], bool] | None = None,
    progress: bool = True,
) -> tuple[dict[str, Any], Elites]:
    """One search, made once into a folder of its own.

    Args:
        task: what is searched.
        method: by which algorithm.
        path: the folder; a search that is done there already is read.
        evaluations: the budget.
        seed: root of all that is random.
        until: stop where it says so of a row.
        progress: show a progress bar.

    Returns:
        ``rows`` over the evaluations, ``seconds`` and, of those, ``training_seconds``, and what was
        ``asked``; and the elites.

    Raises:
        ValueError: the folder holds a search of other settings.
    """
    kept = path / "elites"
    config = None if method in _RIBS else _dde_config(task, method, evaluations)
    asked = {
        "problem": task.problem.describe(),
        "method": method,
        "config": None if config is None else asdict(config),
        "evaluations": evaluations,
        "fill": task.fill,
        "seed": seed,
    }
    report = KeptReport(path / "result.json", asked, what="search")
    if report.found is not None:
        return report.found, load_elites(kept)[0]
    if config is None:
        found = search_with_ribs(
            task.problem,
            method,  # type: ignore[arg-type]
            evaluations=evaluations,
            fill=task.fill,
            seed=seed,
            until=until,
            progress=progress,
        )
        elites, rows, seconds, training = found.elites, found.rows, found.seconds, 0.0
    else:
        with (
            DDE(task.problem, config, path=path / "run", seed=seed) as search,
            warnings.catch_warnings(),
        ):
            # Tasks count from where the papers do, see TASKS.
            warnings.simplefilter("ignore", BelowWorstWarning)
            search.learn(
                progress=progress, until=None if until is None else lambda row: until(_short(row))
            )
            assert search.elites is not None
            np.save(path / SNAPSHOTS, search.snapshots)
            elites, seconds, training = search.elites, search.seconds, search.training_seconds
        rows = [_short(row) for row in read_metrics(path / "run" / "metrics.csv")]
    elites.save(kept, task.problem.archive)
    times = {"seconds": seconds, "training_seconds": training}
    return report.keep({"rows": rows, **times}), elites


def _dde_config(task: EliteTask, method: Method, evaluations: int) -> DDEConfig:
    make = DDEConfig.as_published if method == "dde-published" else DDEConfig
    options: dict[str, Any] = {"encoding": encoding_config(_ENCODINGS.get(method, "vae"), task)}
    if method == "dde-none":
        options = {"encoding": None, "crossovers": (0.0,)}
    if method == "dde-fine":
        options["mutations"] = (*DDEConfig().mutations, _FINE)
    return make(generations=evaluations // 100, fill=task.fill, **options)


def is_reached(row: Mapping[str, float]) -> bool:
    """Whether 95 % of the cells are filled by elites whose std is at most 0.06 on average."""
    return row["coverage"] >= 0.95 and row["mean_fitness"] >= -0.06


def evaluations_until(rows: Sequence[Mapping[str, float]]) -> float | None:
    """Evaluations of the first row where :func:`is_reached`; None if none is."""
    return next((row["evaluations"] for row in rows if is_reached(row)), None)


def least_stds(task: EliteTask, path: Path) -> np.ndarray:
    """What the oracle reaches each cell's centre with: ``(cells,)``, NaN where it can not.

    Args:
        task: whose cells.
        path: folder that the result is kept in.

    Raises:
        ValueError: the folder holds that of another problem.
    """
    problem = task.problem
    report = KeptReport(path / "oracle.json", problem.describe(), what="oracle")
    if report.found is not None:
        return np.array(report.found["stds"], float)  # where there is none, JSON has null
    points = (2.0 * problem.archive.centres() - 1.0) * problem.arm.reach
    solved = solve_targets(points, problem.arm)
    stds = np.where(solved.solved, solved.std, np.nan)
    report.keep({"stds": [None if np.isnan(std) else float(std) for std in stds]})
    return stds


def oracle_gap(elites: Elites, least: np.ndarray) -> dict[str, float]:
    """How far elites are from the least std, on cells that the oracle solves.

    Returns:
        Means over these cells, where there is an elite: ``std``, and ``oracle_gap``, what it is
        more than the oracle's; and ``oracle_coverage``, the share of these cells with an elite.
    """
    solved = np.isfinite(least)
    own = np.full(len(least), np.nan)
    own[elites.cells] = -elites.objectives
    both = solved & np.isfinite(own)
    return {
        "std": float(own[both].mean()),
        "oracle_gap": float((own - least)[both].mean()),
        "oracle_coverage": float(both.sum() / solved.sum()),
    }


def _short(row: Mapping[str, float]) -> dict[str, float]:
    """A row of DDE's metrics, by the names that the searches of ``ribs`` give to theirs."""
    names = ("coverage", "mean_fitness", "best_fitness", "qd_score")
    return {"evaluations": row["evaluations"], **{name: row[f"archive/{name}"] for name in names}}
