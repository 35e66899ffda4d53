"""VQ-VAE for vectors, such as the parameters of a solution."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.encodings.base import Encoding
from wmrl.nn.vq_autoencoder import QuantizedAutoencoder, QuantizerConfig, make_quantizer


@dataclass(frozen=True, kw_only=True)
class VectorVQVAEConfig(QuantizerConfig):
    """Sizes of a :class:`VectorVQVAE`, and what any :class:`QuantizerConfig` has.

    Attributes:
        input_dim: X, numbers of a vector.
        num_tokens: T, codes of a vector.
        hidden_dims: widths of the encoder's layers; the decoder's are theirs in reverse.
        rezero: give layers between two of one width a gated way around them, see :class:`ReZero`.
    """

    input_dim: int = 20
    num_tokens: int = 8
    hidden_dims: tuple[int, ...] = (128, 64)
    rezero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))
        for name in ("input_dim", "num_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if any(width < 1 for width in self.hidden_dims):
            raise ValueError(f"hidden_dims: expected widths of at least 1, got {self.hidden_dims}")


class VectorVQVAE(QuantizedAutoencoder, Encoding):
    """A VQ-VAE of dense layers: vectors ``(B, X)`` become T codes each, of one codebook.

    Args:
        config: sizes, quantizer and loss.
        generator: source of the initial weights; a fixed seed's if None.
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
            encoder = _layers(widths, rezero=config.rezero)
            decoder = _layers(widths[::-1], rezero=config.rezero)
            if config.relu_output:
                encoder.append(nn.ReLU())
            self.encoder = nn.Sequential(*encoder)
            self.decoder = nn.Sequential(*decoder)

    @property
    def num_tokens(self) -> int:
        """T, the number of codes of a vector."""
        return self.config.num_tokens

    def encode(self, vectors: Tensor) -> Tensor:
        """Vectors ``(B, X) float32`` to latents ``(B, Z) float32``, the vectors of their codes.

        During the warm-up, when there is no codebook yet, what the encoder says.
        """
        if not self.quantizing:
            self.check_vectors(vectors)
            return self._encode(vectors).view(len(vectors), self.latent_dim)
        return self.quantizer.lookup(self.codes(vectors)).flatten(1)

    def codes(self, vectors: Tensor) -> Tensor:
        """Vectors ``(B, X) float32`` to codes ``(B, T) int64``."""
        self.check_vectors(vectors)
        return self.quantizer.encode(self._encode(vectors)).view(len(vectors), self.num_tokens)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z) float32`` to vectors ``(B, X) float32``."""
        self._check_latents(latents)
        return self._decode(latents.reshape(-1, self.quantizer.code_dim), len(latents))

    def loss(self, vectors: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error plus what ties vectors and codes together; mean over ``(B, X)``.

        Returns:
            The loss ``()``, and its parts ``squared_error`` (summed over X) and ``commitment``
            (summed over T codes, without its weight).
        """
        self.check_vectors(vectors)
        return self._loss_of(vectors, generator)

    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Is called before each step of training, and ends the warm-up at its last one.

        Args:
            step: its number.
            draw: begins an endless run of batches ``(B, X)``.
            generator: this step's source of randomness.
        """
        self._prepare_for(step, map(self._encode, draw()), generator)

    def resume(self, steps: int) -> None:
        """Is called when training goes on after so many steps."""
        self.quantizing = self._quantizes(steps - 1)

    @torch.no_grad()
    def figures(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """How the codebook is used by vectors; see :meth:`wmrl.vision.vqvae.VQVAE.figures`."""
        return self._figures_of(map(self._encode, batches))

    def _encode(self, vectors: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(vectors)
        return encoded.reshape(-1, self.quantizer.code_dim)

    def _decode(self, vectors: Tensor, count: int) -> Tensor:
        decoded: Tensor = self.decoder(vectors.reshape(count, self.latent_dim))
        return decoded


class ReZero(nn.Module):
    """x + α ReLU(Wx + b), with α = 0 at the start, when it is the identity.

    Bachlechner et al. 2020 (https://arxiv.org/abs/2003.04887).

    Args:
        width: numbers of x ``(B, width)``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """``(B, width)`` to ``(B, width)``."""
        return values + self.gate * torch.relu(self.linear(values))


def _layers(widths: list[int], *, rezero: bool) -> list[nn.Module]:
    """Dense layers, with ReLUs between them where there is no way around."""
    layers: list[nn.Module] = []
    for number, (into, out) in enumerate(pairwise(widths), 1):
        if rezero and into == out and number < len(widths) - 1:
            layers.append(ReZero(into))
        else:
            layers += [nn.Linear(into, out), nn.ReLU()]
    return layers[:-1]
