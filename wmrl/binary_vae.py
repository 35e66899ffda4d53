"""A VAE for binary vectors, with a Gaussian posterior of full covariance."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.initialisation import seeded_weights


@dataclass(frozen=True, kw_only=True)
class BinaryVAEConfig:
    """Sizes of a :class:`BinaryVAE`.

    Attributes:
        size: X, bits of a vector.
        latent_size: Z.
        hidden_sizes: widths of the encoder's layers; the decoder's are theirs in reverse, but for
            the last, which only the encoder has.
    """

    size: int = 100
    latent_size: int = 2
    hidden_sizes: tuple[int, ...] = (64, 32, 16)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        for name in ("size", "latent_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise ValueError(
                f"hidden_sizes: expected widths of at least 1, got {self.hidden_sizes}"
            )


class Posterior(NamedTuple):
    """q(z|x) = N(μ, LLᵀ).

    Attributes:
        mean: ``(B, Z)`` μ.
        factor: ``(B, Z, Z)`` L, lower triangular with a positive diagonal.
    """

    mean: Tensor
    factor: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Latents z = μ + Lε for noise ``(..., B, Z)``."""
        return self.mean + (self.factor @ noise.unsqueeze(-1)).squeeze(-1)

    def log_density(self, latents: Tensor) -> Tensor:
        """The logarithm of q(z|x) at latents ``(..., B, Z)``: ``(..., B)``."""
        centred = (latents - self.mean).unsqueeze(-1)
        factor = self.factor.expand(*centred.shape[:-2], *self.factor.shape[-2:])
        whitened: Tensor = torch.linalg.solve_triangular(factor, centred, upper=False).squeeze(-1)
        size = latents.shape[-1]
        return -0.5 * (whitened.square().sum(-1) + size * _LOG_2PI) - self._log_scale()

    def divergence(self) -> Tensor:
        """KL(q ‖ N(0, I)) = ½(‖L‖² + ‖μ‖² − Z) − log|L|, ``(B,)`` in nats."""
        squares = self.factor.square().sum((1, 2)) + self.mean.square().sum(1)
        return 0.5 * (squares - self.mean.shape[1]) - self._log_scale()

    def _log_scale(self) -> Tensor:
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class BinaryVAE(nn.Module):
    """Bernoulli likelihood, and a posterior through its Cholesky factor.

    Kingma & Welling 2014 (https://arxiv.org/abs/1312.6114), appendix C, with the full covariance
    of Kingma & Welling 2019 (https://arxiv.org/abs/1906.02691), section 2.5.1.

    Args:
        config: sizes.
        generator: source of the initial weights; a fixed seed's if None.
    """

    def __init__(
        self, config: BinaryVAEConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        z, hidden = config.latent_size, config.hidden_sizes
        with seeded_weights(generator):
            self.encoder = _layers((config.size, *hidden))
            # Mean, log-variances, and what is below the diagonal.
            self.posterior_head = nn.Linear(hidden[-1], 2 * z + z * (z - 1) // 2)
            inner = hidden[-2::-1] or hidden
            self.decoder = _layers((z, *inner))
            self.likelihood_head = nn.Linear(inner[-1], config.size)

    def posterior(self, vectors: Tensor) -> Posterior:
        """q(z|x) of binary vectors ``(B, X) float32``."""
        self._check(vectors)
        z = self.config.latent_size
        out = self.posterior_head(self.encoder(vectors))
        mean, log_variance, below = out.split([z, z, out.shape[1] - 2 * z], 1)
        factor = torch.diag_embed(torch.exp(0.5 * log_variance))
        row, column = torch.tril_indices(z, z, -1)
        factor = factor.index_put(
            (torch.arange(len(out))[:, None], row, column), below, accumulate=True
        )
        return Posterior(mean, factor)

    def logits(self, latents: Tensor) -> Tensor:
        """Log-odds ``(..., X)`` of the bits, given latents ``(..., Z)``."""
        logits: Tensor = self.likelihood_head(self.decoder(latents))
        return logits

    def elbo(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        """E_q[log p(x|z)] − KL(q ‖ p) with one draw each, ``(B,)`` in nats."""
        posterior = self.posterior(vectors)
        noise = torch.randn(posterior.mean.shape, generator=generator, device=vectors.device)
        return self._log_likelihood(vectors, posterior.draw(noise)) - posterior.divergence()

    @torch.no_grad()
    def log_evidence(self, vectors: Tensor, generator: torch.Generator, *, draws: int) -> Tensor:
        """The logarithm of p(x) by importance sampling from q, ``(B,)`` in nats.

        Burda et al. 2016 (https://arxiv.org/abs/1509.00519), equation 8: a bound that rises to
        log p(x) with the number of draws.
        """
        posterior = self.posterior(vectors)
        shape = (draws, *posterior.mean.shape)
        latents = posterior.draw(torch.randn(shape, generator=generator, device=vectors.device))
        size = self.config.latent_size
        prior = -0.5 * (latents.square().sum(-1) + size * _LOG_2PI)
        weights = self._log_likelihood(vectors, latents) + prior - posterior.log_density(latents)
        return torch.logsumexp(weights, 0) - math.log(draws)

    def _log_likelihood(self, vectors: Tensor, latents: Tensor) -> Tensor:
        logits = self.logits(latents)
        target = vectors.expand(logits.shape)
        return -F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)

    def _check(self, vectors: Tensor) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != self.config.size:
            raise ValueError(
                f"vectors: expected shape (B, {self.config.size}), got {tuple(vectors.shape)}"
            )


_LOG_2PI = math.log(2.0 * math.pi)


def _layers(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)
