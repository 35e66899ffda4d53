"""Random initialization of archives, and checks of objectives and measures."""

from typing import Any

import numpy as np
from ribs.archives import ArchiveBase

from wmrl.agents.quality_diversity.problems import Problem
from wmrl.core.seeding import numpy_generator

_MAX_BATCHES = 1000


def fill_archive(
    archive: ArchiveBase,
    problem: Problem,
    *,
    initial_coverage: float,
    batch_size: int,
    seed: int,
) -> int:
    """Adds random solutions to an archive until a share of its cells is filled.

    The numbers of a solution are drawn uniformly from [−1, 1].

    Args:
        archive: archive to fill.
        problem: problem that evaluates the solutions.
        initial_coverage: share of the cells to fill, from 0 to 1.
        batch_size: number of solutions per batch.
        seed: root seed.

    Returns:
        Number of solutions that were evaluated.

    Raises:
        ValueError: the share is not reached within 1000 batches; or an objective or a measure is
            not finite, or their shapes are wrong.
    """
    for number in range(_MAX_BATCHES):
        generator = numpy_generator(seed, "fill", number)
        solutions = generator.uniform(-1.0, 1.0, (batch_size, problem.solution_dim)).astype(
            np.float32
        )
        add_evaluated(archive, solutions, *problem.evaluate(solutions))
        if archive.stats.coverage >= initial_coverage:
            return (number + 1) * batch_size
    coverage = float(archive.stats.coverage)
    raise ValueError(
        f"initial_coverage: expected random solutions to fill {initial_coverage:.1%} of the cells, "
        f"got only {coverage:.2%} filled by {batch_size * _MAX_BATCHES:,} solutions; lower "
        f"initial_coverage, for example to {0.5 * coverage:.1g}, or use an archive with fewer cells"
    )


def add_evaluated(
    archive: ArchiveBase, solutions: np.ndarray, objective: np.ndarray, measures: np.ndarray
) -> None:
    """Checks the objectives and measures of solutions, and adds the solutions to an archive.

    Args:
        archive: archive to add to.
        solutions: ``(B, X)``, solutions.
        objective: ``(B,)``, objectives of the solutions.
        measures: ``(B, M)``, measures of the solutions.

    Raises:
        ValueError: a shape is wrong, or a number is not finite. In this case nothing is added.
    """
    count = len(solutions)
    archive.add(solutions, *checked_evaluations(objective, measures, count=count, archive=archive))


def checked_evaluations(
    objective: Any, measures: Any, *, count: int, archive: ArchiveBase
) -> tuple[Any, np.ndarray]:
    """Checks the objectives and measures of solutions, and returns them as arrays.

    Args:
        objective: ``(B,)``, objectives of the solutions; None if the solutions have no objectives.
        measures: ``(B, M)``, measures of the solutions.
        count: B, the number of evaluated solutions.
        archive: archive to which the solutions will be added. It determines M, the number of
            measures.

    Returns:
        The objectives, or None if ``objective`` is None; and the measures.

    Raises:
        ValueError: a shape is wrong, or a number is not finite.
    """
    objective = None if objective is None else np.asarray(objective)
    measures = np.asarray(measures)
    for name, value, shape in (
        ("objective", objective, (count,)),
        ("measures", measures, (count, int(archive.measure_dim))),
    ):
        if value is None:
            continue
        if value.shape != shape:
            raise ValueError(
                f"{name}: expected shape {shape} with one row per solution, got {value.shape}"
            )
        finite = np.isfinite(value).reshape(count, -1).all(1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise ValueError(
                f"{name}: expected finite numbers, got {value[row].tolist()} in row {row} (rows "
                f"with NaN or infinity: {count - int(finite.sum())}); no solution was added"
            )
    return objective, measures
