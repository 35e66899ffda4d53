"""``vsg/TakeCover-v0``: the Doom scenario Take Cover of World Models, played by ViZDoom.

- :mod:`~wmrl.envs.take_cover.env`: the environment (``TakeCover``).
- :mod:`~wmrl.envs.take_cover.engine`: starts ViZDoom's game engine, a program of its own
  (``start_engine``).
- :mod:`~wmrl.envs.take_cover.launcher`: program that becomes the game engine; the engine then ends
  with the process that plays.

The package vizdoom is imported only when an environment is created: ``pip install "wmrl[doom]"``.
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
