"""Baseline searches with the emitters of ``ribs``: MAP-Elites, CMA-ME and CMA-MAE."""

import time
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from ribs.archives import ArchiveBase
from ribs.emitters import EmitterBase, EvolutionStrategyEmitter, IsoLineEmitter
from ribs.schedulers import Scheduler

from wmrl.agents.quality_diversity.archive import Elites
from wmrl.agents.quality_diversity.initialization import fill_archive
from wmrl.agents.quality_diversity.problems import Problem
from wmrl.core.seeding import integer_seed
from wmrl.core.validation import check_choice, check_int
from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import Callback, RunContext
from wmrl.training.progress import progress_bar

RibsMethod = Literal["iso", "line", "cma-me", "cma-mae"]
"""Name of a search method that uses the emitters of ``ribs``.

- ``"iso"``: MAP-Elites with isotropic mutation (Mouret and Clune 2015,
  https://arxiv.org/abs/1504.04909).
- ``"line"``: MAP-Elites with isotropic and line mutation (Vassiliades and Mouret 2018,
  https://arxiv.org/abs/1804.03906).
- ``"cma-me"``: CMA-ME (Fontaine et al. 2020, https://arxiv.org/abs/1912.02400).
- ``"cma-mae"``: CMA-MAE (Fontaine and Nikolaidis 2023, https://arxiv.org/abs/2205.10752).
"""

_ISO_SIGMA, _LINE_SIGMA, _BATCH_SIZE = 0.006, 0.2, 100  # as in Data-Driven Encodings
_NUM_EMITTERS, _CMA_BATCH_SIZE, _SIGMA0 = 15, 36, 0.2  # as in the examples of ribs, except for σ₀
_MAX_FULL_DIM = 500  # dimension of solutions above which covariances are diagonal


class RibsResult(NamedTuple):
    """Result of :func:`search_with_ribs`.

    Attributes:
        elites: final elites. Their solutions are within [−1, 1].
        rows: rows of metrics over time, each with ``evaluations``, ``coverage``, ``mean_fitness``,
            ``best_fitness`` and ``qd_score``.
        seconds: wall time of the search in seconds.
        snapshots: ``(S, cells) float32``, objective in each cell at S points in time; NaN for
            empty cells.
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
    initial_coverage: float,
    seed: int,
    log_every: int = 5000,
    snapshots: int = 100,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> RibsResult:
    """Searches for elites with emitters of ``ribs``.

    The initial elites are those of :class:`~wmrl.agents.quality_diversity.dde.DDE` with the same
    seed, the same initial coverage, a batch size of 100 and no ``init``.

    CMA-ME and CMA-MAE sample solutions without bounds. The solutions are clipped to [−1, 1] before
    they are evaluated and added to the result.

    Args:
        problem: problem to solve.
        method: search method.
        evaluations: budget of evaluations, including those of the initial random solutions. The
            last batch may exceed the budget.
        initial_coverage: share of the archive's cells to fill with random solutions at the start.
        seed: root seed.
        log_every: approximate number of evaluations between two rows of metrics.
        snapshots: approximate number of snapshots of the archive, taken at equal intervals, for a
            video.
        callbacks: callbacks of the search, see :class:`~wmrl.training.callbacks.Callback`. Each row
            of metrics is logged at its number of evaluations. There is no folder, and there are no
            checkpoints.
        progress: True to show a progress bar.

    Raises:
        ValueError: the method is unknown; or random solutions cannot fill ``initial_coverage`` of
            the cells, or use up the whole budget.
    """
    check_choice("method", method, get_args(RibsMethod))
    check_int("snapshots", snapshots, at_least=1)
    began = time.monotonic()
    result_archive = problem.archive.make(
        problem.solution_dim, seed=integer_seed(seed, "ribs", "result")
    )
    used = fill_archive(
        result_archive,
        problem,
        initial_coverage=initial_coverage,
        batch_size=_BATCH_SIZE,
        seed=seed,
    )
    if used >= evaluations:
        raise ValueError(
            f"evaluations: expected more than the {used:,} random solutions that fill "
            f"{initial_coverage:.1%} of the cells at the start, got {evaluations:,}; raise "
            "evaluations, or lower initial_coverage"
        )
    initial = Elites.from_archive(result_archive)
    archive = _emitters_archive(problem, method, initial, seed)
    scheduler = Scheduler(archive, _emitters(archive, problem, method, seed))
    rows: list[dict[str, float]] = []
    maps: list[np.ndarray] = []
    map_every = max(1, evaluations // snapshots)
    with (
        CallbackList(callbacks, RunContext(name=method), progress=progress) as running,
        progress_bar(method, total=evaluations, show=progress, unit="evaluations") as advance,
    ):
        done, note = False, ""
        while not done:
            solutions = np.clip(scheduler.ask(), -1.0, 1.0).astype(np.float32)
            objective, measures = problem.evaluate(solutions)
            scheduler.tell(objective, measures)
            result_archive.add(solutions, objective, measures)
            before, used = used, used + len(solutions)
            advance(used, note)
            done = used >= evaluations or running.stopped
            if used // log_every > before // log_every or done:
                rows.append(archive_metrics(result_archive, used))
                coverage, fitness = rows[-1]["coverage"], rows[-1]["mean_fitness"]
                note = f"coverage {coverage:.1%}, mean fitness {fitness:.4f}"
                advance(used, note)
                running.log(used, rows[-1])
                done = done or running.stopped
            if used // map_every > before // map_every or done:
                maps.append(problem.archive.snapshot(result_archive))
    elites = Elites.from_archive(result_archive)
    return RibsResult(elites, rows, time.monotonic() - began, np.stack(maps))


def archive_metrics(archive: ArchiveBase, evaluations: int) -> dict[str, float]:
    """Returns metrics of an archive at one point of a search.

    Args:
        archive: archive to describe.
        evaluations: number of evaluations so far.

    Returns:
        A dictionary with ``evaluations``, ``coverage``, ``mean_fitness``, ``best_fitness`` and
        ``qd_score``. The mean and the best fitness of an empty archive are 0.
    """
    stats = archive.stats
    return {
        "evaluations": evaluations,
        "coverage": float(stats.coverage),
        "mean_fitness": float(stats.obj_mean or 0.0),
        "best_fitness": float(stats.obj_max or 0.0),
        "qd_score": float(stats.qd_score),
    }


def _emitters_archive(
    problem: Problem, method: RibsMethod, initial: Elites, seed: int
) -> ArchiveBase:
    """Creates the archive that the emitters use, filled with the initial elites.

    With CMA-MAE, the acceptance thresholds of the cells of this archive rise slowly.
    """
    options: dict[str, float] = {}
    if method == "cma-mae":
        options = {"learning_rate": 0.01, "threshold_min": problem.archive.qd_score_offset}
    archive_seed = integer_seed(seed, "ribs", method)
    return problem.archive.make(problem.solution_dim, seed=archive_seed, elites=initial, **options)


def _emitters(
    archive: ArchiveBase, problem: Problem, method: RibsMethod, seed: int
) -> list[EmitterBase]:
    seeds = [integer_seed(seed, "ribs", method, number) for number in range(_NUM_EMITTERS)]
    if method in ("iso", "line"):
        limit = np.ones(problem.solution_dim)
        return [
            IsoLineEmitter(
                archive,
                iso_sigma=_ISO_SIGMA,
                line_sigma=_LINE_SIGMA if method == "line" else 0.0,
                x0=np.zeros(problem.solution_dim),
                lower_bounds=-limit,
                upper_bounds=limit,
                batch_size=_BATCH_SIZE,
                seed=seeds[0],
            )
        ]
    rules: dict[str, Any] = {"ranker": "2imp"}
    if method == "cma-mae":
        rules = {"ranker": "imp", "selection_rule": "mu", "restart_rule": "basic"}
    return [
        EvolutionStrategyEmitter(
            archive,
            x0=np.zeros(problem.solution_dim),
            sigma0=_SIGMA0,
            es="sep_cma_es" if problem.solution_dim > _MAX_FULL_DIM else "cma_es",
            batch_size=_CMA_BATCH_SIZE,
            seed=each,
            **rules,
        )
        for each in seeds
    ]
