"""A VQ-VAE of vectors, such as the solutions of MAP-Elites."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.core.validation import check_int
from wmrl.encodings.base import Encoding
from wmrl.nn.dense import dense_layers
from wmrl.nn.vq_autoencoder import QuantizedAutoencoder, QuantizerConfig, make_quantizer


@dataclass(frozen=True, kw_only=True)
class VectorVQVAEConfig(QuantizerConfig):
    """Configuration of a :class:`VectorVQVAE`.

    The fields below are added to those of :class:`~wmrl.nn.vq_autoencoder.QuantizerConfig`.

    Attributes:
        input_dim: X, length of a vector.
        num_tokens: T, number of codes per vector.
        hidden_dims: widths of the encoder's hidden layers; the decoder has the same widths in
            reverse order.
        rezero: True to use a gated residual layer (ReZero) wherever a hidden layer is as wide as
            the layer before it; see :func:`~wmrl.nn.dense.dense_layers`.
    """

    input_dim: int = 20
    num_tokens: int = 8
    hidden_dims: tuple[int, ...] = (128, 64)
    rezero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))
        check_int("input_dim", self.input_dim, at_least=1)
        check_int("num_tokens", self.num_tokens, at_least=1)
        for width in self.hidden_dims:
            check_int("hidden_dims", width, at_least=1)


class VectorVQVAE(QuantizedAutoencoder, Encoding):
    """A VQ-VAE with dense layers, in which T codes of one codebook represent a vector.

    A latent has Z = T · D dimensions, where D is the dimension of a code's vector.

    Args:
        config: sizes of the layers, quantizer and weights of the loss.
        generator: source of the initial weights; a generator with a fixed seed if None.
    """

    config: VectorVQVAEConfig
    config_class: ClassVar[type] = VectorVQVAEConfig

    def __init__(
        self, config: VectorVQVAEConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        with seeded_weights(generator):
            self.quantizer = make_quantizer(config, generator=generator)
            widths = [
                config.input_dim,
                *config.hidden_dims,
                config.num_tokens * self.quantizer.code_dim,
            ]
            encoder = dense_layers(widths, rezero=config.rezero)
            decoder = dense_layers(widths[::-1], rezero=config.rezero)
            if config.relu_output:
                encoder.append(nn.ReLU())
            self.encoder = nn.Sequential(*encoder)
            self.decoder = nn.Sequential(*decoder)

    @property
    def num_tokens(self) -> int:
        """T, the number of codes per vector."""
        return self.config.num_tokens

    def encode(self, inputs: Tensor) -> Tensor:
        """Maps vectors ``(B, X) float32`` to latents ``(B, Z) float32``.

        A latent is the concatenation of the T codebook vectors that represent an input, and has Z
        dimensions. During the warm-up, when no codebook is used, a latent is the encoder's output.
        """
        if not self.quantizing:
            return self.unquantized(inputs).view(len(inputs), self.latent_dim)
        return super().encode(inputs)

    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z) float32`` to vectors ``(B, X) float32``."""
        latents = self.check_latents(latents)
        return self._decode(latents.reshape(-1, self.quantizer.code_dim), len(latents))

    def _encode(self, inputs: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(inputs)
        return encoded.reshape(-1, self.quantizer.code_dim)

    def _decode(self, vectors: Tensor, count: int) -> Tensor:
        decoded: Tensor = self.decoder(vectors.reshape(count, self.latent_dim))
        return decoded
