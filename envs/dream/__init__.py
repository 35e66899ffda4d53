"""Dream environments, which simulate a game with a world model (``vsg/CarRacingDream-v0``).

- :mod:`~wmrl.envs.dream.env`: the single environment (``DreamEnv``).
- :mod:`~wmrl.envs.dream.vector`: the vector environment, which steps N dreams as one batch
  (``DreamVectorEnv``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.dream.env import DreamEnv
    from wmrl.envs.dream.vector import DreamVectorEnv
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "DreamEnv",
    "DreamVectorEnv",
]
