"""Building blocks of models: losses, random draws, layers and autoencoder base classes.

- :mod:`~wmrl.nn.losses`: losses as pure functions (``floored_kl``, ``gaussian_kl``,
  ``masked_mean``, ``mixture_log_likelihood``, ``squared_error``, ``termination_loss``).
- :mod:`~wmrl.nn.sampling`: random draws from predicted distributions, and dropout (``draw_codes``,
  ``draw_endings``, ``dropout``, ``sample_mixture``).
- :mod:`~wmrl.nn.linear`: a linear layer that is fast on CPUs for large batches.
- :mod:`~wmrl.nn.dense`: dense layers, optionally with gated residuals (``ReZero``,
  ``dense_layers``).
- :mod:`~wmrl.nn.sequence_models`: an LSTM and a Transformer with the same interface
  (``SequenceModel``, ``LSTMModel``, ``TransformerModel``, ``make_sequence_model``).
- :mod:`~wmrl.nn.autoencoder`: the interface of autoencoders, and a base class of variational
  autoencoders (``Autoencoder``, ``GaussianAutoencoder``).
- :mod:`~wmrl.nn.vq_autoencoder`: a base class of VQ-VAEs (``QuantizedAutoencoder``,
  ``QuantizerConfig``, ``make_quantizer``).
- :mod:`~wmrl.nn.quantizers`: vector quantizers with a learned codebook (``EMAConfig``,
  ``EMAQuantizer``, ``GradientQuantizer``, ``Quantized``, ``Quantizer``).
- :mod:`~wmrl.nn.fsq`: finite scalar quantization (``FSQuantizer``).
- :mod:`~wmrl.nn.clustering`: k-means and nearest-code search (``kmeans``, ``nearest``).
- :mod:`~wmrl.nn.codebook_metrics`: perplexity, utilization, effective rank, alignment
  (``alignment``, ``code_counts``, ``effective_rank``, ``perplexity``, ``utilization``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.nn.autoencoder import Autoencoder, GaussianAutoencoder
    from wmrl.nn.clustering import kmeans, nearest
    from wmrl.nn.codebook_metrics import (
        alignment,
        code_counts,
        effective_rank,
        perplexity,
        utilization,
    )
    from wmrl.nn.dense import ReZero, dense_layers
    from wmrl.nn.fsq import FSQuantizer
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
        GradientQuantizer,
        Quantized,
        Quantizer,
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
    "Autoencoder",
    "EMAConfig",
    "EMAQuantizer",
    "FSQuantizer",
    "GaussianAutoencoder",
    "GradientQuantizer",
    "LSTMModel",
    "Quantized",
    "QuantizedAutoencoder",
    "Quantizer",
    "QuantizerConfig",
    "ReZero",
    "SequenceModel",
    "TransformerModel",
    "alignment",
    "code_counts",
    "dense_layers",
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
    "nearest",
    "perplexity",
    "sample_mixture",
    "squared_error",
    "termination_loss",
    "utilization",
]
