"""Seeds reserved for evaluation, and training seeds that are never evaluation seeds."""

from wmrl.core.seeding import integer_seed
from wmrl.core.validation import check_int

EVALUATION_SEEDS = range(1_000_000, 2_000_000)
"""Integer seeds reserved for evaluation; nothing is trained or selected on them."""


def evaluation_seeds(count: int, *, first: int = EVALUATION_SEEDS.start) -> tuple[int, ...]:
    """Returns consecutive evaluation seeds.

    Args:
        count: number of seeds.
        first: first seed.

    Raises:
        ValueError: ``count`` is less than 1, or a seed is outside of :data:`EVALUATION_SEEDS`.
    """
    check_int("count", count, at_least=1)
    if first not in EVALUATION_SEEDS or first + count - 1 not in EVALUATION_SEEDS:
        raise ValueError(
            f"first: expected a seed from {EVALUATION_SEEDS.start} to "
            f"{EVALUATION_SEEDS.stop - count} for {count} consecutive evaluation seeds, got "
            f"{first}; other seeds are for training"
        )
    return tuple(range(first, first + count))


def training_seed(seed: int, *path: int | str, span: int = 1) -> int:
    """Derives an integer seed for a training environment.

    Args:
        seed: root seed.
        path: integers and strings that name the use of the seed. Different paths give independent
            seeds, even with the same root seed; see :func:`wmrl.core.seeding.integer_seed`.
        span: number of consecutive seeds that the caller will use, from the returned seed on.

    Returns:
        The first of ``span`` consecutive seeds. None of them is in :data:`EVALUATION_SEEDS`.
    """
    drawn = integer_seed(seed, *path)
    clash = EVALUATION_SEEDS.start - span < drawn < EVALUATION_SEEDS.stop
    return drawn + len(EVALUATION_SEEDS) + span if clash else drawn
