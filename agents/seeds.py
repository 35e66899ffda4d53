"""Keeping the seeds of evaluation apart from those of training."""

from wmrl.core.seeding import integer_seed

EVALUATION_SEEDS = range(1_000_000, 2_000_000)
"""Integer seeds that scores are measured on, and that nothing is ever trained or selected on."""


def evaluation_seeds(count: int, *, first: int = EVALUATION_SEEDS.start) -> tuple[int, ...]:
    """``count`` consecutive seeds from ``first`` on.

    Raises:
        ValueError: ``count`` is less than 1, or a seed lies outside of :data:`EVALUATION_SEEDS`.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    if first not in EVALUATION_SEEDS or first + count - 1 not in EVALUATION_SEEDS:
        raise ValueError(
            f"seed: expected {EVALUATION_SEEDS.start} ≤ seed ≤ {EVALUATION_SEEDS.stop - count} for "
            f"{count} episodes, got {first}; other seeds belong to training"
        )
    return tuple(range(first, first + count))


def training_seed(seed: int, *path: int | str, span: int = 1) -> int:
    """An integer seed at ``path`` below the root ``seed``, for an environment to train in.

    Args:
        seed: root seed.
        path: keys, as in :func:`wmrl.core.seeding.integer_seed`.
        span: how many consecutive seeds from it on will be used.

    Returns:
        A seed whose span has none of :data:`EVALUATION_SEEDS`.
    """
    drawn = integer_seed(seed, *path)
    clash = EVALUATION_SEEDS.start - span < drawn < EVALUATION_SEEDS.stop
    return drawn + len(EVALUATION_SEEDS) + span if clash else drawn
