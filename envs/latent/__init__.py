"""Latent environments: real games, observed through a world model (``vsg/CarRacingLatent-v0``).

- :mod:`~wmrl.envs.latent.env`: the single environment (``LatentEnv``).
- :mod:`~wmrl.envs.latent.wrapper`: the wrapper for an environment that exists already
  (``LatentObservation``).
- :mod:`~wmrl.envs.latent.game`: one game whose frames a world model encodes, and the common part of
  ``LatentEnv`` and ``LatentObservation``.
- :mod:`~wmrl.envs.latent.vector`: the vector environment (``LatentVectorEnv``).
- :mod:`~wmrl.envs.latent.tracker`: latents and memory states of N running games
  (``LatentTracker``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.latent.env import LatentEnv
    from wmrl.envs.latent.tracker import LatentTracker
    from wmrl.envs.latent.vector import LatentVectorEnv
    from wmrl.envs.latent.wrapper import LatentObservation
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "LatentEnv",
    "LatentObservation",
    "LatentTracker",
    "LatentVectorEnv",
]
