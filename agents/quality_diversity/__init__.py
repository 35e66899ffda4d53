"""Quality-diversity search: MAP-Elites and Data-Driven Encodings, with archives of ``ribs``.

- :mod:`~wmrl.agents.quality_diversity.dde`: Data-Driven Encodings (``DDE``).
- :mod:`~wmrl.agents.quality_diversity.dde_config`: configuration of DDE (``DDEConfig``).
- :mod:`~wmrl.agents.quality_diversity.archive`: configuration of archives, and elites
  (``ArchiveConfig``, ``Elites``, ``load_elites``).
- :mod:`~wmrl.agents.quality_diversity.problems`: problems whose solutions are controllers or
  poses of planar arms (``ArmProblem``, ``ControllerProblem``, ``ControllerProblemConfig``,
  ``Problem``).
- :mod:`~wmrl.agents.quality_diversity.emitters`: emitter of reconstructions and mutations
  (``Mutation``, ``ReconstructionEmitter``).
- :mod:`~wmrl.agents.quality_diversity.bandit`: UCB bandit, and a scheduler that uses it to select
  emitters (``BanditScheduler``, ``BelowOffsetWarning``, ``EmptyArchiveWarning``,
  ``SlidingWindowUCB``).
- :mod:`~wmrl.agents.quality_diversity.initialization`: random initialization of archives
  (``fill_archive``).
- :mod:`~wmrl.agents.quality_diversity.baselines`: searches with the emitters of ``ribs``
  (``RibsResult``, ``search_with_ribs``).
- :mod:`~wmrl.agents.quality_diversity.search`: complete searches with any algorithm
  (``EliteSearchConfig``, ``EliteSearchResult``, ``search_elites``).
- :mod:`~wmrl.agents.quality_diversity.presets`: settings for planar arms (``SearchPreset``,
  ``encoding_config``, ``default_initial_coverage``).
- :mod:`~wmrl.agents.quality_diversity.heatmap`: images and videos of archives (``draw_map``,
  ``write_map_video``, ``write_map``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports
from wmrl.core.numba_cache import provide_numba_cache

# ribs imports numpy_groupies, and that fails if numba finds no folder for its cache.
provide_numba_cache("numpy_groupies", "aggregate_numba")

if TYPE_CHECKING:
    from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, load_elites
    from wmrl.agents.quality_diversity.bandit import (
        BanditScheduler,
        BelowOffsetWarning,
        EmptyArchiveWarning,
        SlidingWindowUCB,
    )
    from wmrl.agents.quality_diversity.baselines import RibsResult, search_with_ribs
    from wmrl.agents.quality_diversity.dde import DDE
    from wmrl.agents.quality_diversity.dde_config import DDEConfig
    from wmrl.agents.quality_diversity.emitters import Mutation, ReconstructionEmitter
    from wmrl.agents.quality_diversity.heatmap import draw_map, write_map, write_map_video
    from wmrl.agents.quality_diversity.initialization import fill_archive
    from wmrl.agents.quality_diversity.presets import (
        SearchPreset,
        default_initial_coverage,
        encoding_config,
    )
    from wmrl.agents.quality_diversity.problems import (
        ArmProblem,
        ControllerProblem,
        ControllerProblemConfig,
        Problem,
    )
    from wmrl.agents.quality_diversity.search import (
        EliteSearchConfig,
        EliteSearchResult,
        search_elites,
    )
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "DDE",
    "ArchiveConfig",
    "ArmProblem",
    "BanditScheduler",
    "BelowOffsetWarning",
    "ControllerProblem",
    "ControllerProblemConfig",
    "DDEConfig",
    "EliteSearchConfig",
    "EliteSearchResult",
    "Elites",
    "EmptyArchiveWarning",
    "Mutation",
    "Problem",
    "ReconstructionEmitter",
    "RibsResult",
    "SearchPreset",
    "SlidingWindowUCB",
    "default_initial_coverage",
    "draw_map",
    "encoding_config",
    "fill_archive",
    "load_elites",
    "search_elites",
    "search_with_ribs",
    "write_map",
    "write_map_video",
]
