"""Environments that repeat each action for several frames of a game, and return frames.

- :mod:`~wmrl.envs.frames.env`: the single environment (``FrameEnv``).
- :mod:`~wmrl.envs.frames.vector`: the vector environment (``FrameVectorEnv``).
- :mod:`~wmrl.envs.frames.worker`: worker processes of the vector environment.
- :mod:`~wmrl.envs.frames.slots`: sub-environments, which exchange data through shared arrays.
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.frames.env import FrameEnv
    from wmrl.envs.frames.vector import FrameVectorEnv
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "FrameEnv",
    "FrameVectorEnv",
]
