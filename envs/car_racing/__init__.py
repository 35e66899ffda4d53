"""``vsg/CarRacing-v3``: Gymnasium's CarRacing-v3 with a renderer that is about 30 times faster.

- :mod:`~wmrl.envs.car_racing.env`: the environment (``CarRacing``).
- :mod:`~wmrl.envs.car_racing.renderer`: renders observations (``StatePainter``).
- :mod:`~wmrl.envs.car_racing.rasterizer`: compiled functions that fill polygons.
- :mod:`~wmrl.envs.car_racing.lazy_rendering`: an adapter that makes Gymnasium's own CarRacing
  render only the frames that are observed (``LazyRendering``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.car_racing.env import CarRacing
    from wmrl.envs.car_racing.lazy_rendering import LazyRendering
    from wmrl.envs.car_racing.renderer import StatePainter
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CarRacing",
    "LazyRendering",
    "StatePainter",
]
