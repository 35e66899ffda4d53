"""Training loop, callbacks, metrics and progress bars.

- :mod:`~wmrl.training.trainer`: training loop of all models, which resumes from checkpoints with
  bit-identical results (``Trainer``, ``TrainingConfig``).
- :mod:`~wmrl.training.callbacks`: callbacks of all trainings, and the signals and errors that they
  raise (``Callback``, ``RunContext``, ``StopTraining``, ``StopWhen``, ``CallbackError``).
- :mod:`~wmrl.training.callback_list`: the callbacks of one training (``CallbackList``).
- :mod:`~wmrl.training.loggers`: callbacks that write metrics to CSV and TensorBoard files
  (``CSVLogger``, ``TensorBoardLogger``), and images (``log_images``).
- :mod:`~wmrl.training.keep_best`: a callback that keeps the best artifact (``KeepBest``).
- :mod:`~wmrl.training.trackers`: a callback for Weights & Biases (``WandbCallback``).
- :mod:`~wmrl.training.metrics`: reading of ``metrics.csv`` (``read_metrics``).
- :mod:`~wmrl.training.curves`: mean curves of runs (``MeanCurve``, ``RunGroup``,
  ``group_by_folder``, ``group_by_seed``, ``mean_curve``).
- :mod:`~wmrl.training.learning_warning`: warning about models that learned nothing
  (``LearningWarning``).
- :mod:`~wmrl.training.progress`: progress bars (``announce``, ``progress_bar``, ``stage``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.training.callback_list import CallbackList
    from wmrl.training.callbacks import (
        Callback,
        CallbackError,
        RunContext,
        StopTraining,
        StopWhen,
    )
    from wmrl.training.curves import (
        MeanCurve,
        RunGroup,
        group_by_folder,
        group_by_seed,
        mean_curve,
    )
    from wmrl.training.keep_best import KeepBest
    from wmrl.training.learning_warning import LearningWarning
    from wmrl.training.loggers import CSVLogger, TensorBoardLogger, log_images
    from wmrl.training.metrics import read_metrics
    from wmrl.training.progress import announce, progress_bar, stage
    from wmrl.training.trackers import WandbCallback
    from wmrl.training.trainer import Trainer, TrainingConfig
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackError",
    "CallbackList",
    "KeepBest",
    "LearningWarning",
    "MeanCurve",
    "RunContext",
    "RunGroup",
    "StopTraining",
    "StopWhen",
    "TensorBoardLogger",
    "Trainer",
    "TrainingConfig",
    "WandbCallback",
    "announce",
    "group_by_folder",
    "group_by_seed",
    "log_images",
    "mean_curve",
    "progress_bar",
    "read_metrics",
    "stage",
]
