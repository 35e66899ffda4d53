"""Losses, samplers and layers that the models are built from.

- :mod:`~wmrl.nn.losses`: losses as pure functions, among them the MDN's (``floored_kl``,
  ``gaussian_kl``, ``masked_mean``, ``mixture_log_likelihood``, ``squared_error``,
  ``termination_loss``).
- :mod:`~wmrl.nn.sampling`: draws from predictions, at a temperature (``draw_codes``,
  ``draw_endings``, ``dropout``, ``sample_mixture``).
- :mod:`~wmrl.nn.linear`: linear layers whose results do not depend on the batch's size.
- :mod:`~wmrl.nn.sequence_models`: LSTM and Transformer behind one interface (``Core``,
  ``LSTMCore``, ``TransformerCore``, ``make_core``).
- :mod:`~wmrl.nn.quantizers`: vector quantization: moving averages, gradients, finite scalars
  (``EMAConfig``, ``EMAQuantiser``, ``FSQuantiser``, ``GradientQuantiser``, ``Quantised``,
  ``Quantiser``, ``kmeans``).
- :mod:`~wmrl.nn.vq_autoencoder`: what all VQ-VAEs share, whatever their encoders
  (``QuantisedAutoencoder``, ``QuantiserConfig``, ``make_quantiser``).
- :mod:`~wmrl.nn.codebook_metrics`: perplexity, utilization, effective rank, alignment
  (``alignment``, ``code_counts``, ``effective_rank``, ``perplexity``, ``utilisation``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.nn.codebook_metrics import (
        alignment,
        code_counts,
        effective_rank,
        perplexity,
        utilisation,
    )
    from wmrl.nn.losses import (
        floored_kl,
        gaussian_kl,
        masked_mean,
        mixture_log_likelihood,
        squared_error,
        termination_loss,
    )
    from wmrl.nn.quantizers import (
        EMAConfig,
        EMAQuantiser,
        FSQuantiser,
        GradientQuantiser,
        Quantised,
        Quantiser,
        kmeans,
    )
    from wmrl.nn.sampling import draw_codes, draw_endings, dropout, sample_mixture
    from wmrl.nn.sequence_models import Core, LSTMCore, TransformerCore, make_core
    from wmrl.nn.vq_autoencoder import QuantisedAutoencoder, QuantiserConfig, make_quantiser
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Core",
    "EMAConfig",
    "EMAQuantiser",
    "FSQuantiser",
    "GradientQuantiser",
    "LSTMCore",
    "Quantised",
    "QuantisedAutoencoder",
    "Quantiser",
    "QuantiserConfig",
    "TransformerCore",
    "alignment",
    "code_counts",
    "draw_codes",
    "draw_endings",
    "dropout",
    "effective_rank",
    "floored_kl",
    "gaussian_kl",
    "kmeans",
    "make_core",
    "make_quantiser",
    "masked_mean",
    "mixture_log_likelihood",
    "perplexity",
    "sample_mixture",
    "squared_error",
    "termination_loss",
    "utilisation",
]
