"""``vsg/TakeCover-v0``: the Doom scenario Take Cover of World Models, played by ViZDoom.

- :mod:`~wmrl.envs.take_cover.env`: the environment (``TakeCover``).
- :mod:`~wmrl.envs.take_cover.engine`: start of ViZDoom's game engine, which runs in a process of
  its own (``start_engine``).
- :mod:`~wmrl.envs.take_cover.launcher`: script that runs the game engine. On Linux, the engine is
  killed when the process that started it exits.

The package vizdoom is imported only when an environment is created. To install vizdoom, run
``pip install "wmrl[doom]"``.
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.take_cover.engine import start_engine
    from wmrl.envs.take_cover.env import TakeCover
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "TakeCover",
    "start_engine",
]
