"""Training loop, metrics and progress bars.

- :mod:`~wmrl.training.trainer`: training loop of all models, which resumes from checkpoints with
  bit-identical results (``Trainer``, ``TrainingConfig``).
- :mod:`~wmrl.training.metrics`: metrics in CSV and TensorBoard files (``MetricsLogger``,
  ``log_images``, ``read_metrics``).
- :mod:`~wmrl.training.learning_warning`: warning about models that learned nothing
  (``LearningWarning``).
- :mod:`~wmrl.training.progress`: progress bars (``announce``, ``progress_bar``, ``stage``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.training.learning_warning import LearningWarning
    from wmrl.training.metrics import MetricsLogger, log_images, read_metrics
    from wmrl.training.progress import announce, progress_bar, stage
    from wmrl.training.trainer import Trainer, TrainingConfig
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "LearningWarning",
    "MetricsLogger",
    "Trainer",
    "TrainingConfig",
    "announce",
    "log_images",
    "progress_bar",
    "read_metrics",
    "stage",
]
