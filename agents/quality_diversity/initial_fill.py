"""How solutions get into an archive: checked, and at the start drawn at random."""

from typing import Any

import numpy as np
from ribs.archives import ArchiveBase

from wmrl.agents.quality_diversity.problems import Problem
from wmrl.core.seeding import numpy_generator

_ROUNDS = 1000


def fill_archive(
    archive: ArchiveBase, problem: Problem, *, share: float, batch_size: int, seed: int
) -> int:
    """Adds solutions drawn uniformly from [−1, 1] until a share of the cells is filled.

    Args:
        archive: what is filled.
        problem: what solutions are worth.
        share: of the cells.
        batch_size: solutions at a time.
        seed: root of all that is random.

    Returns:
        How many were evaluated.

    Raises:
        ValueError: after many, it is not.
    """
    for number in range(_ROUNDS):
        generator = numpy_generator(seed, "fill", number)
        solutions = generator.uniform(-1.0, 1.0, (batch_size, problem.size)).astype(np.float32)
        add_evaluated(archive, solutions, *problem.evaluate(solutions))
        if archive.stats.coverage >= share:
            return (number + 1) * batch_size
    raise ValueError(
        f"fill: expected random solutions to fill {share:.1%} of the cells, "
        f"{batch_size * _ROUNDS:,} of them filled {float(archive.stats.coverage):.2%}; ask "
        f"for less, such as {0.5 * float(archive.stats.coverage):.1g}, or for fewer cells"
    )


def add_evaluated(
    archive: ArchiveBase, solutions: np.ndarray, objective: np.ndarray, measures: np.ndarray
) -> None:
    """Adds solutions ``(B, X)`` and what they are worth.

    Args:
        archive: what they are added to.
        solutions: ``(B, X)``.
        objective: ``(B,)``.
        measures: ``(B, M)``.

    Raises:
        ValueError: a shape is another, or a number is not finite; nothing is added then.
    """
    count = len(solutions)
    archive.add(solutions, *checked_evaluations(objective, measures, count=count, archive=archive))


def checked_evaluations(
    objective: Any, measures: Any, *, count: int, archive: ArchiveBase
) -> tuple[np.ndarray, np.ndarray]:
    """What solutions are worth, as it can be added to an archive.

    Args:
        objective: numbers ``(B,)``.
        measures: numbers ``(B, M)``.
        count: B, solutions that were evaluated.
        archive: of M measures.

    Returns:
        Both as arrays.

    Raises:
        ValueError: a shape is another, or a number is not finite.
    """
    objective, measures = np.asarray(objective), np.asarray(measures)
    for name, value, shape in (
        ("objective", objective, (count,)),
        ("measures", measures, (count, int(archive.measure_dim))),
    ):
        if value.shape != shape:
            raise ValueError(
                f"{name}: expected shape {shape}, a row for each solution, got {value.shape}"
            )
        finite = np.isfinite(value).reshape(count, -1).all(1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise ValueError(
                f"{name}: expected finite numbers, got {value[row].tolist()} in row {row} "
                f"({count - int(finite.sum())} such rows); nothing was added"
            )
    return objective, measures
