"""Foundations that every other part stands on: seeds, devices, configurations, argument checks.

- :mod:`~wmrl.core.seeding`: random generators, each found by a path of keys below a root seed
  (``integer_seed``, ``numpy_generator``, ``seed_sequence``, ``seeded_weights``,
  ``torch_generator``).
- :mod:`~wmrl.core.device`: the device that ``"auto"`` stands for, and torch's threads
  (``resolve_device``, ``torch_threads``).
- :mod:`~wmrl.core.config`: configurations built from JSON, checked against their dataclasses
  (``build_config``).
- :mod:`~wmrl.core.lazy`: the loader behind every package's ``__init__``.
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.core.config import build_config
    from wmrl.core.device import resolve_device, torch_threads
    from wmrl.core.seeding import (
        integer_seed,
        numpy_generator,
        seed_sequence,
        seeded_weights,
        torch_generator,
    )
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "build_config",
    "integer_seed",
    "numpy_generator",
    "resolve_device",
    "seed_sequence",
    "seeded_weights",
    "torch_generator",
    "torch_threads",
]
