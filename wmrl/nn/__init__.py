"""Losses, samplers and layers that the models are built from.

- :mod:`~wmrl.nn.losses`: losses as pure functions, among them the MDN's (``floored_kl``,
  ``gaussian_kl``, ``masked_mean``, ``mixture_log_likelihood``, ``squared_error``,
  ``termination_loss``).
- :mod:`~wmrl.nn.sampling`: draws from predictions, at a temperature (``draw_codes``,
  ``draw_endings``, ``dropout``, ``sample_mixture``).
- :mod:`~wmrl.nn.linear`: linear layers whose results do not depend on the batch's size.
- :mod:`~wmrl.nn.sequence_models`: LSTM and Transformer behind one interface (``SequenceModel``,
  ``LSTMModel``, ``TransformerModel``, ``make_sequence_model``).
- :mod:`~wmrl.nn.quantizers`: vector quantization: moving averages, gradients, finite scalars
  (``EMAConfig``, ``EMAQuantizer``, ``FSQuantizer``, ``GradientQuantizer``, ``Quantized``,
  ``Quantizer``, ``kmeans``).
- :mod:`~wmrl.nn.vq_autoencoder`: what all VQ-VAEs share, whatever their encoders
  (``QuantizedAutoencoder``, ``QuantizerConfig``, ``make_quantizer``).
- :mod:`~wmrl.nn.codebook_metrics`: perplexity, utilization, effective rank, alignment
  (``alignment``, ``code_counts``, ``effective_rank``, ``perplexity``, ``utilization``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.nn.codebook_metrics import (
        alignment,
        code_counts,
        effective_rank,
        perplexity,
        utilization,
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
        EMAQuantizer,
        FSQuantizer,
        GradientQuantizer,
        Quantized,
        Quantizer,
        kmeans,
    )
    from wmrl.nn.sampling import draw_codes, draw_endings, dropout, sample_mixture
    from wmrl.nn.sequence_models import (
        LSTMModel,
        SequenceModel,
        TransformerModel,
        make_sequence_model,
    )
    from wmrl.nn.vq_autoencoder import QuantizedAutoencoder, QuantizerConfig, make_quantizer
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "EMAConfig",
    "EMAQuantizer",
    "FSQuantizer",
    "GradientQuantizer",
    "LSTMModel",
    "Quantized",
    "QuantizedAutoencoder",
    "Quantizer",
    "QuantizerConfig",
    "SequenceModel",
    "TransformerModel",
    "alignment",
    "code_counts",
    "draw_codes",
    "draw_endings",
    "dropout",
    "effective_rank",
    "floored_kl",
    "gaussian_kl",
    "kmeans",
    "make_quantizer",
    "make_sequence_model",
    "masked_mean",
    "mixture_log_likelihood",
    "perplexity",
    "sample_mixture",
    "squared_error",
    "termination_loss",
    "utilization",
]
