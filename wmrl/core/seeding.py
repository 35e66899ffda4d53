"""Seeds as a tree: every object draws from a generator of its own, found by a path of keys.

A stream is named by a root seed and a path (``("collect", round, episode)``), never by the order
in which streams were made, so that one process or many, resumed or not, draw the same numbers.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_sequence(seed: int, *path: int | str) -> np.random.SeedSequence:
    """The ``SeedSequence`` at ``path`` below the root ``seed``.

    Args:
        seed: root seed, a non-negative integer.
        path: keys from the root down; strings are hashed (CRC-32) to integers.

    Raises:
        ValueError: ``seed`` or an integer key is negative.
    """
    if seed < 0:
        raise ValueError(f"seed: expected a non-negative integer, got {seed}")
    keys = tuple(zlib.crc32(key.encode()) if isinstance(key, str) else key for key in path)
    if any(key < 0 for key in keys):
        raise ValueError(f"path: expected non-negative keys, got {path}")
    return np.random.SeedSequence(seed, spawn_key=keys)


def integer_seed(seed: int, *path: int | str) -> int:
    """A 31-bit integer seed at ``path``, for interfaces that take integers (``Env.reset``)."""
    return int(seed_sequence(seed, *path).generate_state(1)[0] >> 1)


def numpy_generator(seed: int, *path: int | str) -> np.random.Generator:
    """A NumPy generator at ``path``."""
    return np.random.default_rng(seed_sequence(seed, *path))


def torch_generator(
    seed: int, *path: int | str, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A torch generator at ``path`` on ``device``."""
    state = seed_sequence(seed, *path).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> 1))


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
