"""Random generators, each derived from a root seed and a path of keys.

The numbers that a generator draws depend only on the root seed and a path such as ``("collect",
round, episode)``, not on the order in which generators are created. Results thus depend neither on
the number of processes nor on interruptions of a run.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from wmrl.core.validation import check_seed


def seed_sequence(seed: int, *path: int | str) -> np.random.SeedSequence:
    """Creates the ``SeedSequence`` of a root seed and a path of keys.

    Args:
        seed: root seed, from 0 to 2⁶³ − 1.
        path: keys, which are strings or non-negative integers, for example ``"collect", 3``.
            Strings are hashed to integers (CRC-32).

    Raises:
        ValueError: ``seed`` is out of range, or an integer key is negative.
    """
    seed = check_seed("seed", seed)
    keys = tuple(zlib.crc32(key.encode()) if isinstance(key, str) else key for key in path)
    if any(key < 0 for key in keys):
        raise ValueError(f"path: expected strings or non-negative integers as keys, got {path}")
    return np.random.SeedSequence(seed, spawn_key=keys)


def integer_seed(seed: int, *path: int | str) -> int:
    """Derives a 31-bit seed, such as one for ``Env.reset``, from a root seed and a path of keys."""
    return int(seed_sequence(seed, *path).generate_state(1)[0] >> 1)


def numpy_generator(seed: int, *path: int | str) -> np.random.Generator:
    """Creates a NumPy generator that is seeded by a root seed and a path of keys.

    Example:
        >>> from wmrl.core import numpy_generator
        >>> generator = numpy_generator(7, "collect", 3)
        >>> generator.integers(100, size=4)
        array([68, 56, 76, 29])
        >>> numpy_generator(7, "collect", 3).integers(100, size=4)
        array([68, 56, 76, 29])
        >>> numpy_generator(7, "collect", 4).integers(100, size=4)
        array([93, 74, 18, 55])
    """
    return np.random.default_rng(seed_sequence(seed, *path))


def torch_generator(
    seed: int, *path: int | str, device: str | torch.device = "cpu"
) -> torch.Generator:
    """Creates a torch generator that is seeded by a root seed and a path of keys."""
    state = seed_sequence(seed, *path).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> 1))


@contextmanager
def seeded_weights(generator: torch.Generator | None) -> Iterator[None]:
    """Seeds the initial weights of layers that are created in a ``with`` block.

    Layers draw their initial weights from torch's global CPU generator. At the start of the block,
    that generator is seeded; at the end, its previous state is restored.

    Args:
        generator: generator from which the seed is drawn; None for seed 0.
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
