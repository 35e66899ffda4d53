"""Learned encodings of solutions (vectors), for MAP-Elites and for search in latent space.

- :mod:`~wmrl.encodings.base`: the interface, loading, and registration of further classes
  (``Encoding``, ``load_encoding``, ``register_encoding``).
- :mod:`~wmrl.encodings.vector_vae`: a VAE of vectors (``VectorVAE``, ``VectorVAEConfig``).
- :mod:`~wmrl.encodings.vector_vqvae`: a VQ-VAE of vectors (``VectorVQVAE``,
  ``VectorVQVAEConfig``).
- :mod:`~wmrl.encodings.trainer`: repeated training on a growing set of elites (``EncodingTrainer``,
  ``EncodingTrainingConfig``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.encodings.base import Encoding, load_encoding, register_encoding
    from wmrl.encodings.trainer import EncodingTrainer, EncodingTrainingConfig
    from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
    from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Encoding",
    "EncodingTrainer",
    "EncodingTrainingConfig",
    "VectorVAE",
    "VectorVAEConfig",
    "VectorVQVAE",
    "VectorVQVAEConfig",
    "load_encoding",
    "register_encoding",
]
