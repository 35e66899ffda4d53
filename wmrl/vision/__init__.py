"""Vision models, which map frames to latents or discrete codes, and back.

- :mod:`~wmrl.vision.base`: the interface of vision models, loading, and registration of classes
  (``Vision``, ``load_vision``, ``register_vision``).
- :mod:`~wmrl.vision.vae`: the VAE of World Models (``VAE``, ``VAEConfig``).
- :mod:`~wmrl.vision.vqvae`: the VQ-VAE (``VQVAE``, ``VQVAEConfig``).
- :mod:`~wmrl.vision.training`: training on frames of rollout stores (``train_vision``).
- :mod:`~wmrl.vision.image_training`: training of VQ-VAEs on image sets, and conversion between
  images and codes (``decode_codes``, ``encode_images``, ``train_on_images``).
- :mod:`~wmrl.vision.evaluation`: held-out metrics and images of reconstructions
  (``comparison_image``, ``pick_frames``, ``vision_report``).
- :mod:`~wmrl.vision.codebook_plot`: images of codebooks (``CodeUse``, ``code_use``,
  ``draw_codebook``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.vision.base import Vision, load_vision, register_vision
    from wmrl.vision.codebook_plot import CodeUse, code_use, draw_codebook
    from wmrl.vision.evaluation import comparison_image, pick_frames, vision_report
    from wmrl.vision.image_training import decode_codes, encode_images, train_on_images
    from wmrl.vision.training import train_vision
    from wmrl.vision.vae import VAE, VAEConfig
    from wmrl.vision.vqvae import VQVAE, VQVAEConfig
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "VAE",
    "VQVAE",
    "CodeUse",
    "VAEConfig",
    "VQVAEConfig",
    "Vision",
    "code_use",
    "comparison_image",
    "decode_codes",
    "draw_codebook",
    "encode_images",
    "load_vision",
    "pick_frames",
    "register_vision",
    "train_on_images",
    "train_vision",
    "vision_report",
]
