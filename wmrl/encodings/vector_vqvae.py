"""VQ-VAE for vectors, such as the parameters of a solution."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.encodings.base import Encoding
from wmrl.nn.vq_autoencoder import QuantisedAutoencoder, QuantiserConfig, make_quantiser


@dataclass(frozen=True, kw_only=True)
class VectorVQVAEConfig(QuantiserConfig):
    """Sizes of a :class:`VectorVQVAE`, and what any :class:`QuantiserConfig` has.

    Attributes:
        size: X, numbers of a vector.
        tokens: T, codes of a vector.
        hidden_sizes: widths of the encoder's layers; the decoder's are theirs in reverse.
        rezero: give layers between two of one width a gated way around them, see :class:`ReZero`.
    """

    size: int = 20
    tokens: int = 8
    hidden_sizes: tuple[int, ...] = (128, 64)
    rezero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        for name in ("size", "tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if any(width < 1 for width in self.hidden_sizes):
            raise ValueError(
                f"hidden_sizes: expected widths of at least 1, got {self.hidden_sizes}"
            )


class VectorVQVAE(QuantisedAutoencoder, Encoding):
    """A VQ-VAE of dense layers: vectors ``(B, X)`` become T codes each, of one codebook.

    Args:
        config: sizes, quantiser and loss.
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
            self.quantiser = make_quantiser(config, generator=generator)
            widths = [config.size, *config.hidden_sizes, config.tokens * self.quantiser.size]
            encoder = _layers(widths, rezero=config.rezero)
            decoder = _layers(widths[::-1], rezero=config.rezero)
            if config.relu_output:
                encoder.append(nn.ReLU())
            self.encoder = nn.Sequential(*encoder)
            self.decoder = nn.Sequential(*decoder)

    @property
    def tokens(self) -> int:
        """T, the number of codes of a vector."""
        return self.config.tokens

    def encode(self, vectors: Tensor) -> Tensor:
        """Vectors ``(B, X) float32`` to latents ``(B, Z) float32``, the vectors of their codes.

        During the warm-up, when there is no codebook yet, what the encoder says.
        """
        if not self.quantising:
            self.check_vectors(vectors)
            return self._encode(vectors).view(len(vectors), self.latent_size)
        return self.quantiser.lookup(self.codes(vectors)).flatten(1)

    def codes(self, vectors: Tensor) -> Tensor:
        """Vectors ``(B, X) float32`` to codes ``(B, T) int64``."""
        self.check_vectors(vectors)
        return self.quantiser.encode(self._encode(vectors)).view(len(vectors), self.tokens)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z) float32`` to vectors ``(B, X) float32``."""
        self._check_latents(latents)
        return self._decode(latents.reshape(-1, self.quantiser.size), len(latents))

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
        self.quantising = self._quantises(steps - 1)

    @torch.no_grad()
    def figures(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """How the codebook is used by vectors; see :meth:`wmrl.vision.vqvae.VQVAE.figures`."""
        return self._figures_of(map(self._encode, batches))

    def _encode(self, vectors: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(vectors)
        return encoded.reshape(-1, self.quantiser.size)

    def _decode(self, vectors: Tensor, count: int) -> Tensor:
        decoded: Tensor = self.decoder(vectors.reshape(count, self.latent_size))
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
