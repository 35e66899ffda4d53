"""Training loop from an untrained world model to a trained agent (``wmrl train``).

- :mod:`~wmrl.agents.pipeline.loop`: rounds of data collection and training (``TrainResult``,
  ``train``).
- :mod:`~wmrl.agents.pipeline.plan`: amounts of data and training (``TrainingPlan``).
- :mod:`~wmrl.agents.pipeline.layout`: folders of a run (``RunLayout``).
- :mod:`~wmrl.agents.pipeline.stage_log`: times of the stages, and the score curve (``StageLog``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.agents.pipeline.layout import RunLayout
    from wmrl.agents.pipeline.loop import TrainResult, train
    from wmrl.agents.pipeline.plan import TrainingPlan
    from wmrl.agents.pipeline.stage_log import StageLog
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "RunLayout",
    "StageLog",
    "TrainResult",
    "TrainingPlan",
    "train",
]
