"""A VAE (or plain autoencoder) of vectors, such as the solutions of MAP-Elites."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from wmrl.core.config import check_fields
from wmrl.core.seeding import seeded_weights
from wmrl.core.validation import check_float, check_int
from wmrl.encodings.base import Encoding
from wmrl.nn.autoencoder import GaussianAutoencoder
from wmrl.nn.dense import dense_layers


@dataclass(frozen=True, kw_only=True)
class VectorVAEConfig:
    """Configuration of a :class:`VectorVAE`.

    The defaults are those of Data-Driven Encodings (Gaier, Asteroth and Mouret 2020,
    https://arxiv.org/abs/2003.04389).

    Attributes:
        input_dim: X, length of a vector. The elements of a vector are in [−1, 1].
        latent_dim: Z, the number of latent dimensions.
        hidden_dims: widths of the encoder's hidden layers; the decoder has the same widths in
            reverse order. If empty, the encoder and the decoder each have one hidden layer of width
            2Z.
        kl_weight: weight, in the loss, of the KL divergence from N(0, I); 0 for a plain
            autoencoder without noise.
    """

    input_dim: int = 20
    latent_dim: int = 10
    hidden_dims: tuple[int, ...] = ()
    kl_weight: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        widths = tuple(self.hidden_dims) or (2 * self.latent_dim,)
        object.__setattr__(self, "hidden_dims", widths)
        check_int("input_dim", self.input_dim, at_least=1)
        check_int("latent_dim", self.latent_dim, at_least=1)
        for width in widths:
            check_int("hidden_dims", width, at_least=1)
        check_float("kl_weight", self.kl_weight, at_least=0)


class VectorVAE(GaussianAutoencoder, Encoding):
    """A VAE with dense layers, as in Data-Driven Encodings.

    Source: Gaier, Asteroth and Mouret 2020 (https://arxiv.org/abs/2003.04389).

    For vectors of length X and latents of length Z, the default widths of the layers are
    X → 2Z → Z → 2Z → X.

    Args:
        config: sizes of the layers, and weight of the KL divergence.
        generator: source of the initial weights; a generator with a fixed seed if None.

    Example:
        >>> import torch
        >>> from wmrl.encodings import VectorVAE, VectorVAEConfig
        >>> vae = VectorVAE(VectorVAEConfig(input_dim=6, latent_dim=3))
        >>> latents = vae.encode(torch.zeros(4, 6))
        >>> latents.shape, vae.decode(latents).shape
        (torch.Size([4, 3]), torch.Size([4, 6]))
    """

    config: VectorVAEConfig
    config_class: ClassVar[type] = VectorVAEConfig

    def __init__(
        self, config: VectorVAEConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        noisy = config.kl_weight > 0
        with seeded_weights(generator):
            heads = (1 + noisy) * config.latent_dim
            widths = (config.input_dim, *config.hidden_dims, heads)
            self.encoder = nn.Sequential(*dense_layers(widths))
            widths = (config.latent_dim, *config.hidden_dims[::-1], config.input_dim)
            self.decoder = nn.Sequential(*dense_layers(widths), nn.Tanh())

    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z) float32`` to vectors ``(B, X) float32`` in (−1, 1)."""
        latents = self.check_latents(latents)
        return self._decode(latents)

    def _encode(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        encoded: Tensor = self.encoder(inputs)
        if not self.config.kl_weight:
            return encoded, None
        mean, log_variance = encoded.chunk(2, dim=1)
        return mean, log_variance

    def _decode(self, latents: Tensor) -> Tensor:
        vectors: Tensor = self.decoder(latents)
        return vectors

    def _kl_loss(self, kl: Tensor) -> Tensor:
        return self.config.kl_weight * kl.sum(1).mean()

    def _draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        # addcmul would round once instead of twice, and so change results for a given seed.
        return mean + noise * std
