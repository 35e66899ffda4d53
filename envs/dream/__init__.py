"""``vsg/CarRacingDream-v0``: the game as simulated by a world model.

- :mod:`~wmrl.envs.dream.env`: one dream (``DreamEnv``).
- :mod:`~wmrl.envs.dream.vector`: N dreams, stepped as one batch (``DreamVectorEnv``).
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
