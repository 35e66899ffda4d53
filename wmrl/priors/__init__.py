"""Autoregressive priors over the codes of images.

- :mod:`~wmrl.priors.code_prior`: an LSTM or a Transformer over codes in raster order
  (``CodePrior``, ``CodePriorConfig``).
- :mod:`~wmrl.priors.training`: training and evaluation (``PriorTrainingConfig``,
  ``nats_per_image``, ``train_prior``).
- :mod:`~wmrl.priors.baselines`: count-based predictors as baselines, and conversion to bits per
  dimension (``Bigram``, ``CopyLast``, ``Unigram``, ``bits_per_dimension``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.priors.baselines import Bigram, CopyLast, Unigram, bits_per_dimension
    from wmrl.priors.code_prior import CodePrior, CodePriorConfig
    from wmrl.priors.training import PriorTrainingConfig, nats_per_image, train_prior
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Bigram",
    "CodePrior",
    "CodePriorConfig",
    "CopyLast",
    "PriorTrainingConfig",
    "Unigram",
    "bits_per_dimension",
    "nats_per_image",
    "train_prior",
]
