"""The training loop that all models share, its metrics and its progress bar.

- :mod:`~wmrl.training.trainer`: gradient descent that resumes to the same bits (``Trainer``,
  ``TrainingConfig``).
- :mod:`~wmrl.training.metrics`: metrics in CSV and TensorBoard files (``MetricsLogger``,
  ``log_pictures``, ``read_metrics``).
- :mod:`~wmrl.training.progress`: progress bars (``learning_progress``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.training.metrics import MetricsLogger, log_pictures, read_metrics
    from wmrl.training.progress import learning_progress
    from wmrl.training.trainer import Trainer, TrainingConfig
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "MetricsLogger",
    "Trainer",
    "TrainingConfig",
    "learning_progress",
    "log_pictures",
    "read_metrics",
]
