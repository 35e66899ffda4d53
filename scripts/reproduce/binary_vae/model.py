"""A VAE for binary vectors, with a Gaussian posterior of full covariance."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights, torch_generator


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


@dataclass(frozen=True, kw_only=True)
class BinaryTrainingConfig:
    """How a binary VAE learns: Adam over shuffled batches.

    Attributes:
        epochs: passes over the data.
        batch_size: vectors in a batch.
        learning_rate: Adam's at the start.
        milestones: epochs from which on it is a tenth of what it was.
    """

    epochs: int = 500
    batch_size: int = 32
    learning_rate: float = 3e-4
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: expected above 0, got {self.learning_rate}")


REGIMES = {
    "constant": BinaryTrainingConfig(learning_rate=3e-4),
    "decayed": BinaryTrainingConfig(learning_rate=3e-2, milestones=(10, 100, 450)),
}
"""Two that lead to latents of another shape."""


def train_binary_vae(
    vectors: Tensor,
    *,
    config: BinaryVAEConfig | None = None,
    training: BinaryTrainingConfig | None = None,
    seed: int = 0,
) -> tuple[BinaryVAE, list[float]]:
    """Trains on binary vectors ``(N, X) float32``.

    Args:
        vectors: the data, on the device to train on.
        config: sizes; X is taken from the data.
        training: how.
        seed: root of weights, order and noise.

    Returns:
        The model, and the mean ELBO of each epoch's batches in nats.

    Raises:
        ValueError: there are no vectors.
    """
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"vectors: expected shape (N, X), N > 0, got {tuple(vectors.shape)}")
    training = training or BinaryTrainingConfig()
    config = config or BinaryVAEConfig(size=vectors.shape[1])
    device = vectors.device
    vae = BinaryVAE(config, generator=torch_generator(seed, "binary vae", "weights")).to(device)
    optimizer = torch.optim.Adam(vae.parameters(), training.learning_rate)
    order = torch_generator(seed, "binary vae", "order", device=device)
    noise = torch_generator(seed, "binary vae", "noise", device=device)
    curve = []
    for epoch in range(training.epochs):
        for group in optimizer.param_groups:
            passed = sum(epoch >= milestone for milestone in training.milestones)
            group["lr"] = training.learning_rate * 0.1**passed
        total = torch.zeros((), device=device)
        shuffled = torch.randperm(len(vectors), generator=order, device=device)
        for rows in torch.split(shuffled, training.batch_size):
            optimizer.zero_grad()
            bound = vae.elbo(vectors[rows], noise)
            (-bound.mean()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += bound.detach().sum()
        curve.append(total / len(vectors))
    return vae, torch.stack(curve).tolist()


@torch.no_grad()
def bounds(vae: BinaryVAE, vectors: Tensor, *, seed: int, draws: int = 5000) -> dict[str, float]:
    """How well vectors ``(N, X)`` are explained that it was not trained on.

    Returns:
        ``elbo``, over 100 draws each, and ``log_evidence``, importance-sampled over ``draws``;
        means in nats a vector.
    """
    generator = torch_generator(seed, "bounds", device=vectors.device)
    elbo = torch.stack([vae.elbo(vectors, generator) for _ in range(100)]).mean()
    evidence = torch.cat(
        [vae.log_evidence(part, generator, draws=draws) for part in torch.split(vectors, 50)]
    )
    return {"elbo": float(elbo), "log_evidence": float(evidence.mean())}
