"""Videos of agents: the game, its reconstruction by the vision model, and the dream.

- :mod:`~wmrl.agents.video.recording`: recording of an episode (``EpisodeVideo``, ``Recording``,
  ``record``).
- :mod:`~wmrl.agents.video.config`: contents of videos (``DreamVideoConfig``, ``VideoConfig``).
- :mod:`~wmrl.agents.video.dream`: dream that runs beside the game (``DreamCompanion``).
- :mod:`~wmrl.agents.video.temperatures`: dreams at several temperatures, from one start
  (``DreamRecording``, ``DreamVideo``, ``record_dreams``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.video.config import DreamVideoConfig, VideoConfig
    from wmrl.agents.video.dream import DreamCompanion
    from wmrl.agents.video.recording import EpisodeVideo, Recording, record
    from wmrl.agents.video.temperatures import DreamRecording, DreamVideo, record_dreams
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "DreamCompanion",
    "DreamRecording",
    "DreamVideo",
    "DreamVideoConfig",
    "EpisodeVideo",
    "Recording",
    "VideoConfig",
    "record",
    "record_dreams",
]
