"""Searches made of ``ribs`` alone, to measure others by."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from ribs.archives import ArchiveBase
from ribs.emitters import EmitterBase, EvolutionStrategyEmitter, IsoLineEmitter
from ribs.schedulers import Scheduler

from wmrl.agents.quality_diversity.archive import Elites
from wmrl.agents.quality_diversity.initial_fill import fill_archive
from wmrl.agents.quality_diversity.problems import Problem
from wmrl.core.seeding import integer_seed
from wmrl.training.progress import learning_progress

RibsMethod = Literal["iso", "line", "cma-me", "cma-mae"]
"""MAP-Elites by isotropic mutation (Mouret and Clune 2015, https://arxiv.org/abs/1504.04909) and by
line mutation (Vassiliades and Mouret 2018, https://arxiv.org/abs/1804.03906), CMA-ME (Fontaine et
al. 2020, https://arxiv.org/abs/1912.02400) and CMA-MAE (Fontaine and Nikolaidis 2023,
https://arxiv.org/abs/2205.10752)."""

_ISO, _LINE, _BATCH = 0.006, 0.2, 100  # as in Data-Driven Encodings
_EMITTERS, _CMA_BATCH, _SIGMA = 15, 36, 0.2  # as in ribs' own examples, but for σ₀
_LARGE = 500  # numbers of a solution above which covariances are diagonal


class RibsResult(NamedTuple):
    """What a search found.

    Attributes:
        elites: at its end, as they were evaluated.
        rows: from time to time: ``evaluations``, ``coverage``, ``mean_fitness``, ``best_fitness``,
            ``qd_score``.
        seconds: that it took.
        snapshots: ``(S, cells) float32``, objectives over time, NaN where a cell was empty.
    """

    elites: Elites
    rows: list[dict[str, float]]
    seconds: float
    snapshots: np.ndarray


def search_with_ribs(
    problem: Problem,
    method: RibsMethod,
    *,
    evaluations: int,
    fill: float,
    seed: int,
    row_every: int = 5000,
    snapshots: int = 100,
    until: Callable[[Mapping[str, float]], bool] | None = None,
    progress: bool = True,
) -> RibsResult:
    """Searches for elites from the same start and with the same archive as DDE.

    CMA-ES knows no bounds here: what it draws is clipped to [−1, 1] before it is evaluated and
    before it enters the archive that is reported.

    Args:
        problem: what to search.
        method: by which algorithm.
        evaluations: the budget, the start's included; the last batch may go beyond it.
        fill: share of the cells that random solutions fill at the start.
        seed: root of all that is random.
        row_every: evaluations between rows.
        snapshots: how often, evenly over the budget, the map is kept for its film.
        until: stop where it says so of a row.
        progress: show a progress bar.

    Raises:
        ValueError: the method is unknown, or the start takes the whole budget.
    """
    if method not in get_args(RibsMethod):
        raise ValueError(f"method: expected one of {get_args(RibsMethod)}, got {method!r}")
    if snapshots < 1:
        raise ValueError(f"snapshots: expected at least 1, got {snapshots}")
    began = time.monotonic()
    result = problem.archive.make(problem.size, seed=integer_seed(seed, "ribs", "result"))
    used = fill_archive(result, problem, share=fill, batch_size=_BATCH, seed=seed)
    if used >= evaluations:
        raise ValueError(
            f"evaluations: expected more than the {used:,} random solutions that fill {fill:.1%} "
            f"of the cells at the start, got {evaluations:,}; give more, or fill less"
        )
    start = Elites.of(result)
    working = _working_archive(problem, method, start, seed)
    scheduler = Scheduler(working, _emitters(working, problem, method, seed))
    rows: list[dict[str, float]] = []
    maps: list[np.ndarray] = []
    map_every = max(1, evaluations // snapshots)
    with learning_progress(method, total=evaluations, show=progress) as advance:
        done = False
        while not done:
            solutions = np.clip(scheduler.ask(), -1.0, 1.0).astype(np.float32)
            objective, measures = problem.evaluate(solutions)
            scheduler.tell(objective, measures)
            result.add(solutions, objective, measures)
            before, used = used, used + len(solutions)
            done = used >= evaluations
            if used // row_every > before // row_every or done:
                rows.append(archive_row(result, used))
                advance(used, f"{rows[-1]['coverage']:.1%} at {rows[-1]['mean_fitness']:.4f}")
                done = done or (until is not None and until(rows[-1]))
            if used // map_every > before // map_every or done:
                maps.append(problem.archive.snapshot(result))
    return RibsResult(Elites.of(result), rows, time.monotonic() - began, np.stack(maps))


def archive_row(archive: ArchiveBase, evaluations: int) -> dict[str, float]:
    """Figures of an archive."""
    stats = archive.stats
    return {
        "evaluations": evaluations,
        "coverage": float(stats.coverage),
        "mean_fitness": float(stats.obj_mean or 0.0),
        "best_fitness": float(stats.obj_max or 0.0),
        "qd_score": float(stats.qd_score),
    }


def _working_archive(problem: Problem, method: RibsMethod, start: Elites, seed: int) -> ArchiveBase:
    """What emitters are told of; CMA-MAE's has thresholds that rise slowly."""
    options: dict[str, float] = {}
    if method == "cma-mae":
        options = {"learning_rate": 0.01, "threshold_min": problem.archive.worst}
    archive_seed = integer_seed(seed, "ribs", method)
    return problem.archive.make(problem.size, seed=archive_seed, elites=start, **options)


def _emitters(
    archive: ArchiveBase, problem: Problem, method: RibsMethod, seed: int
) -> list[EmitterBase]:
    seeds = [integer_seed(seed, "ribs", method, number) for number in range(_EMITTERS)]
    if method in ("iso", "line"):
        limit = np.ones(problem.size)
        return [
            IsoLineEmitter(
                archive,
                iso_sigma=_ISO,
                line_sigma=_LINE if method == "line" else 0.0,
                x0=np.zeros(problem.size),
                lower_bounds=-limit,
                upper_bounds=limit,
                batch_size=_BATCH,
                seed=seeds[0],
            )
        ]
    rules: dict[str, Any] = {"ranker": "2imp"}
    if method == "cma-mae":
        rules = {"ranker": "imp", "selection_rule": "mu", "restart_rule": "basic"}
    return [
        EvolutionStrategyEmitter(
            archive,
            x0=np.zeros(problem.size),
            sigma0=_SIGMA,
            es="sep_cma_es" if problem.size > _LARGE else "cma_es",
            batch_size=_CMA_BATCH,
            seed=each,
            **rules,
        )
        for each in seeds
    ]
