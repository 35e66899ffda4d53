"""VAE and autoencoder for vectors, such as the parameters of a solution."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.encodings.base import Encoding
from wmrl.nn.losses import gaussian_kl, squared_error


@dataclass(frozen=True, kw_only=True)
class VectorVAEConfig:
    """Sizes of a :class:`VectorVAE`; the defaults are those of Data-Driven Encodings.

    Attributes:
        size: X, numbers of a vector, each in [−1, 1].
        latent_size: Z.
        hidden_sizes: widths of the encoder's layers, the decoder's are theirs in reverse; one of
            2 Z if empty.
        kl_weight: of the divergence from N(0, I); 0 for an autoencoder, which draws no noise.
    """

    size: int = 20
    latent_size: int = 10
    hidden_sizes: tuple[int, ...] = ()
    kl_weight: float = 0.1

    def __post_init__(self) -> None:
        widths = tuple(self.hidden_sizes) or (2 * self.latent_size,)
        object.__setattr__(self, "hidden_sizes", widths)
        for name in ("size", "latent_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if min(self.hidden_sizes) < 1:
            raise ValueError(
                f"hidden_sizes: expected widths of at least 1, got {self.hidden_sizes}"
            )
        if not self.kl_weight >= 0:
            raise ValueError(f"kl_weight: expected at least 0, got {self.kl_weight}")


class VectorVAE(Encoding):
    """The VAE of Data-Driven Encodings (https://arxiv.org/abs/2003.04389): X → 2Z → Z → 2Z → X.

    Args:
        config: sizes and loss.
        generator: source of the initial weights; a fixed seed's if None.
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
            heads = (1 + noisy) * config.latent_size
            self.encoder = _layers((config.size, *config.hidden_sizes, heads))
            reverse = _layers((config.latent_size, *config.hidden_sizes[::-1], config.size))
            self.decoder = nn.Sequential(*reverse, nn.Tanh())

    @property
    def latent_size(self) -> int:
        """Z."""
        return self.config.latent_size

    def encode(self, vectors: Tensor) -> Tensor:
        """Vectors ``(B, X) float32`` to the means of their latents ``(B, Z) float32``."""
        self.check_vectors(vectors)
        found: Tensor = self.encoder(vectors)
        return found[:, : self.latent_size]

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z) float32`` to vectors ``(B, X) float32`` in (−1, 1)."""
        if latents.ndim != 2 or latents.shape[1] != self.latent_size:
            raise ValueError(
                f"latents: expected shape (B, {self.latent_size}), got {tuple(latents.shape)}"
            )
        vectors: Tensor = self.decoder(latents)
        return vectors

    def loss(self, vectors: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error, summed over X, plus the weighted divergence; mean over ``(B, X)``.

        Returns:
            The loss ``()``, and its parts ``squared_error`` and ``kl`` (without its weight).
        """
        self.check_vectors(vectors)
        found = self.encoder(vectors)
        if not self.config.kl_weight:
            error = squared_error(self.decoder(found), vectors).mean()
            return error, {"squared_error": error.detach()}
        mean, log_variance = found.chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator, device=generator.device)
        latents = mean + noise.to(mean.device) * (0.5 * log_variance).exp()
        error = squared_error(self.decoder(latents), vectors).mean()
        kl = gaussian_kl(mean, log_variance).sum(1).mean()
        loss = error + self.config.kl_weight * kl
        return loss, {"squared_error": error.detach(), "kl": kl.detach()}


def _layers(widths: tuple[int, ...]) -> nn.Sequential:
    """Dense layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
