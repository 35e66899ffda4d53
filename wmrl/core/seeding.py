"""Random generators, each derived from a root seed and a path of keys.

The numbers that a generator draws depend only on the root seed and a path such as ``("collect",
round, episode)``, not on the order in which generators are created. They are therefore the same for
any number of processes, and after a run is resumed.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from wmrl.core.validation import check_int


def seed_sequence(seed: int, *path: int | str) -> np.random.SeedSequence:
    """Returns the ``SeedSequence`` at a path below a root seed.

    Args:
        seed: root seed, at least 0.
        path: keys, from the root down: integers of at least 0, or strings, which are hashed to
            integers (CRC-32).

    Raises:
        ValueError: ``seed`` or an integer key is negative.
    """
    check_int("seed", seed, at_least=0)
    keys = tuple(zlib.crc32(key.encode()) if isinstance(key, str) else key for key in path)
    if any(key < 0 for key in keys):
        raise ValueError(f"path: expected integer keys of at least 0, got {path}")
    return np.random.SeedSequence(seed, spawn_key=keys)


def integer_seed(seed: int, *path: int | str) -> int:
    """Returns a 31-bit integer seed, for interfaces that take integers such as ``Env.reset``."""
    return int(seed_sequence(seed, *path).generate_state(1)[0] >> 1)


def numpy_generator(seed: int, *path: int | str) -> np.random.Generator:
    """Returns the NumPy generator at a path below a root seed.

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
    """Returns the torch generator at a path below a root seed, on a device."""
    state = seed_sequence(seed, *path).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> 1))


@contextmanager
def seeded_weights(generator: torch.Generator | None) -> Iterator[None]:
    """Seeds the initial weights of the layers that are created within a context.

    Layers draw their initial weights from torch's global CPU generator. This function
    seeds it with a number drawn from ``generator``, and restores its previous state afterward.

    Args:
        generator: random generator that the seed is drawn from; None for seed 0.
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
