"""The whole loop, from nothing to a trained agent: ``wmrl train``.

- :mod:`~wmrl.agents.pipeline.loop`: collect, vision, memory, controller, and again
  (``TrainResult``, ``train``).
- :mod:`~wmrl.agents.pipeline.plan`: how much time and data each stage gets (``TrainingPlan``).
- :mod:`~wmrl.agents.pipeline.journal`: which stages are done (``Journal``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.pipeline.journal import Journal
    from wmrl.agents.pipeline.loop import TrainResult, train
    from wmrl.agents.pipeline.plan import TrainingPlan
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Journal",
    "TrainResult",
    "TrainingPlan",
    "train",
]
