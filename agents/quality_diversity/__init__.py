"""MAP-Elites and Data-Driven Encodings on the archives of ``ribs``.

- :mod:`~wmrl.agents.quality_diversity.dde`: Data-Driven Encodings (``DDE``, ``DDEConfig``).
- :mod:`~wmrl.agents.quality_diversity.archive`: archives, and the elites in them
  (``ArchiveConfig``, ``Elites``, ``load_elites``).
- :mod:`~wmrl.agents.quality_diversity.problems`: what is searched: poses of an arm, controllers
  (``ArmProblem``, ``ControllerProblem``, ``ControllerProblemConfig``, ``Problem``).
- :mod:`~wmrl.agents.quality_diversity.emitters`: the reconstruction emitter (``Mutation``,
  ``ReconstructionEmitter``).
- :mod:`~wmrl.agents.quality_diversity.bandit`: the bandit that schedules emitters
  (``BanditScheduler``, ``BelowWorstWarning``, ``SlidingWindowUCB``).
- :mod:`~wmrl.agents.quality_diversity.initial_fill`: random solutions to start from
  (``fill_archive``).
- :mod:`~wmrl.agents.quality_diversity.baselines`: the searches of ``ribs`` (``RibsResult``,
  ``search_with_ribs``).
- :mod:`~wmrl.agents.quality_diversity.search`: one call for any of them (``EliteSearchConfig``,
  ``EliteSearchResult``, ``search_elites``).
- :mod:`~wmrl.agents.quality_diversity.presets`: settings that suit a problem (``EliteTask``,
  ``encoding_config``, ``usual_fill``).
- :mod:`~wmrl.agents.quality_diversity.heatmap`: pictures and videos of archives (``draw_map``,
  ``film_map``, ``write_map``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.quality_diversity.archive import ArchiveConfig, Elites, load_elites
    from wmrl.agents.quality_diversity.bandit import (
        BanditScheduler,
        BelowWorstWarning,
        SlidingWindowUCB,
    )
    from wmrl.agents.quality_diversity.baselines import RibsResult, search_with_ribs
    from wmrl.agents.quality_diversity.dde import DDE, DDEConfig
    from wmrl.agents.quality_diversity.emitters import Mutation, ReconstructionEmitter
    from wmrl.agents.quality_diversity.heatmap import draw_map, film_map, write_map
    from wmrl.agents.quality_diversity.initial_fill import fill_archive
    from wmrl.agents.quality_diversity.presets import EliteTask, encoding_config, usual_fill
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
    "BelowWorstWarning",
    "ControllerProblem",
    "ControllerProblemConfig",
    "DDEConfig",
    "EliteSearchConfig",
    "EliteSearchResult",
    "EliteTask",
    "Elites",
    "Mutation",
    "Problem",
    "ReconstructionEmitter",
    "RibsResult",
    "SlidingWindowUCB",
    "draw_map",
    "encoding_config",
    "fill_archive",
    "film_map",
    "load_elites",
    "search_elites",
    "search_with_ribs",
    "usual_fill",
    "write_map",
]
