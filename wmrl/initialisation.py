"""Initial weights that are a function of a generator, not of the global random state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded_weights(generator: torch.Generator | None) -> Iterator[None]:
    """Lets layers made inside draw their weights from ``generator``; seed 0 if None.

    Torch's layers draw from the global CPU generator, which is lent a state drawn from
    ``generator`` and gets its own one back.
    """
    seed = 0
    if generator is not None:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
