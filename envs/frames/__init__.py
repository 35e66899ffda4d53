"""A task's game as agent steps and resized frames; batched over worker processes.

- :mod:`~wmrl.envs.frames.env`: one game (``FrameEnv``).
- :mod:`~wmrl.envs.frames.vector`: many games (``FrameVectorEnv``).
- :mod:`~wmrl.envs.frames.worker`: the process that plays some of them.
- :mod:`~wmrl.envs.frames.slots`: the memory that workers share with their parent.
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
