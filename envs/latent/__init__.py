"""``vsg/CarRacingLatent-v0``: the real game, observed through a world model.

- :mod:`~wmrl.envs.latent.env`: one game (``LatentEnv``).
- :mod:`~wmrl.envs.latent.vector`: many games (``LatentVectorEnv``).
- :mod:`~wmrl.envs.latent.tracker`: latents and the memory's state, kept along with a batch of
  games (``Gaze``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.latent.env import LatentEnv
    from wmrl.envs.latent.tracker import Gaze
    from wmrl.envs.latent.vector import LatentVectorEnv
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Gaze",
    "LatentEnv",
    "LatentVectorEnv",
]
