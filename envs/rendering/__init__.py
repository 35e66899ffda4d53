"""Rendering of environments: windows, videos and images.

- :mod:`~wmrl.envs.rendering.window`: a window on the screen (``Window``).
- :mod:`~wmrl.envs.rendering.video`: MP4, GIF and WebP files (``write_video``).
- :mod:`~wmrl.envs.rendering.panels`: labeled images side by side, with bars for actions
  (``Panel``, ``PanelDrawer``).
- :mod:`~wmrl.envs.rendering.contact_sheet`: frames of several episodes in one image
  (``draw_contact_sheet``).
- :mod:`~wmrl.envs.rendering.code_map`: the discrete codes of a frame, written over its image
  (``draw_code_map``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.envs.rendering.code_map import draw_code_map
    from wmrl.envs.rendering.contact_sheet import draw_contact_sheet
    from wmrl.envs.rendering.panels import Panel, PanelDrawer
    from wmrl.envs.rendering.video import write_video
    from wmrl.envs.rendering.window import Window
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Panel",
    "PanelDrawer",
    "Window",
    "draw_code_map",
    "draw_contact_sheet",
    "write_video",
]
