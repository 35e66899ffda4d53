"""A tree of random generators, each derived from a root seed and a path of keys.

A stream is named by a root seed and a path such as ``("collect", round, episode)``, never by the
order in which streams are created. So any number of processes, resumed or not, draws the same
numbers.
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
        path: keys from the root down, at least 0; strings are hashed (CRC-32) to integers.

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
    """Initializes the layers that are created within a context from a generator.

    Layers draw their initial weights from torch's global CPU generator. Within the context it has
    a state drawn from ``generator``; its own state is restored afterwards.

    Args:
        generator: source of the weights; one of seed 0 if None.
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
