"""VAE for binary vectors, with a Gaussian posterior of full covariance."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.core.config import check_fields
from wmrl.core.seeding import seeded_weights, torch_generator
from wmrl.core.validation import check_float, check_int, check_shape
from wmrl.nn.dense import dense_layers
from wmrl.training.progress import progress_bar

_LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True, kw_only=True)
class BinaryVAEConfig:
    """Configuration of a :class:`BinaryVAE`.

    Attributes:
        input_dim: X, number of bits per vector.
        latent_dim: Z, number of latent dimensions.
        hidden_dims: widths of the encoder's hidden layers, one or more. The decoder has all widths
            but the last, in reverse order: 32 and 64 for ``(64, 32, 16)``. If there is a single
            width, the decoder has this width too.
    """

    input_dim: int = 100
    latent_dim: int = 2
    hidden_dims: tuple[int, ...] = (64, 32, 16)

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))
        check_int("input_dim", self.input_dim, at_least=1)
        check_int("latent_dim", self.latent_dim, at_least=1)
        if not self.hidden_dims:
            raise ValueError(
                "hidden_dims: expected at least one width, got none; add a hidden layer"
            )
        for width in self.hidden_dims:
            check_int("hidden_dims", width, at_least=1)


class GaussianPosterior(NamedTuple):
    """Gaussian posteriors q(z|x) = N(μ, LLᵀ) of a batch of B vectors.

    Attributes:
        mean: means μ, ``(B, Z)``.
        factor: Cholesky factors L, lower triangular with a positive diagonal, ``(B, Z, Z)``.
    """

    mean: Tensor
    factor: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Computes latents z = μ + Lε from standard normal noise ε; z and ε are ``(..., B, Z)``."""
        return self.mean + (self.factor @ noise.unsqueeze(-1)).squeeze(-1)

    def log_density(self, latents: Tensor) -> Tensor:
        """Computes log q(z|x), ``(..., B)`` in nats, at latents ``(..., B, Z)``."""
        centered = (latents - self.mean).unsqueeze(-1)
        factor = self.factor.expand(*centered.shape[:-2], *self.factor.shape[-2:])
        whitened: Tensor = torch.linalg.solve_triangular(factor, centered, upper=False).squeeze(-1)
        dimensions = latents.shape[-1]
        return -0.5 * (whitened.square().sum(-1) + dimensions * _LOG_2PI) - self._log_scale()

    def divergence(self) -> Tensor:
        """Computes KL(q ‖ N(0, I)) = ½(‖L‖² + ‖μ‖² − Z) − log|L|, ``(B,)`` in nats."""
        squares = self.factor.square().sum((1, 2)) + self.mean.square().sum(1)
        return 0.5 * (squares - self.mean.shape[1]) - self._log_scale()

    def _log_scale(self) -> Tensor:
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class BinaryVAE(nn.Module):
    """VAE of binary vectors, with a Gaussian posterior of full covariance.

    The likelihood is Bernoulli, as in Kingma & Welling 2014 (https://arxiv.org/abs/1312.6114),
    appendix C. The encoder outputs the mean and the Cholesky factor of the posterior, as in Kingma
    & Welling 2019 (https://arxiv.org/abs/1906.02691), section 2.5.1.

    Args:
        config: sizes of the networks.
        generator: source of the initial weights; a generator with a fixed seed if None.
    """

    def __init__(
        self, config: BinaryVAEConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        z, hidden = config.latent_dim, config.hidden_dims
        with seeded_weights(generator):
            self.encoder = _layers((config.input_dim, *hidden))
            # Outputs the mean, the log squared diagonal of L, and the entries below the diagonal.
            self.posterior_head = nn.Linear(hidden[-1], 2 * z + z * (z - 1) // 2)
            inner = hidden[-2::-1] or hidden
            self.decoder = _layers((z, *inner))
            self.likelihood_head = nn.Linear(inner[-1], config.input_dim)

    def posterior(self, vectors: Tensor) -> GaussianPosterior:
        """Computes the posteriors q(z|x) of binary vectors ``(B, X) float32``."""
        self._check(vectors)
        z = self.config.latent_dim
        out = self.posterior_head(self.encoder(vectors))
        mean, log_variance, below = out.split([z, z, out.shape[1] - 2 * z], 1)
        factor = torch.diag_embed(torch.exp(0.5 * log_variance))
        row, column = torch.tril_indices(z, z, -1)
        factor = factor.index_put(
            (torch.arange(len(out))[:, None], row, column), below, accumulate=True
        )
        return GaussianPosterior(mean, factor)

    def logits(self, latents: Tensor) -> Tensor:
        """Computes the log-odds ``(..., X)`` of the bits from latents ``(..., Z)``."""
        logits: Tensor = self.likelihood_head(self.decoder(latents))
        return logits

    def elbo(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        """Estimates the ELBO of vectors x ``(B, X)``, drawing one latent z per vector.

        Returns:
            Estimates of E_q[log p(x|z)] − KL(q ‖ N(0, I)), ``(B,)`` in nats.
        """
        posterior = self.posterior(vectors)
        noise = torch.randn(posterior.mean.shape, generator=generator, device=vectors.device)
        return self._log_likelihood(vectors, posterior.draw(noise)) - posterior.divergence()

    @torch.no_grad()
    def log_evidence(self, vectors: Tensor, generator: torch.Generator, *, samples: int) -> Tensor:
        """Estimates log p(x) of vectors ``(B, X)`` by importance sampling from the posterior.

        On average, the estimate is a lower bound on log p(x). It approaches log p(x) as the number
        of samples grows (Burda et al. 2016, https://arxiv.org/abs/1509.00519, equation 8).

        Args:
            vectors: binary vectors, ``(B, X) float32``.
            generator: random generator that draws the latents.
            samples: number of latents drawn for each vector.

        Returns:
            Estimates, ``(B,)`` in nats.
        """
        posterior = self.posterior(vectors)
        shape = (samples, *posterior.mean.shape)
        latents = posterior.draw(torch.randn(shape, generator=generator, device=vectors.device))
        prior = -0.5 * (latents.square().sum(-1) + self.config.latent_dim * _LOG_2PI)
        weights = self._log_likelihood(vectors, latents) + prior - posterior.log_density(latents)
        return torch.logsumexp(weights, 0) - math.log(samples)

    def _log_likelihood(self, vectors: Tensor, latents: Tensor) -> Tensor:
        logits = self.logits(latents)
        target = vectors.expand(logits.shape)
        return -F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)

    def _check(self, vectors: Tensor) -> None:
        check_shape("vectors", vectors, ("B", self.config.input_dim))


def _layers(widths: tuple[int, ...]) -> nn.Sequential:
    """Creates dense layers, each followed by a ReLU."""
    return nn.Sequential(*dense_layers(widths), nn.ReLU())


@dataclass(frozen=True, kw_only=True)
class BinaryTrainingConfig:
    """Configuration for training a :class:`BinaryVAE` with Adam on shuffled batches.

    Attributes:
        epochs: number of passes over the data.
        batch_size: number of vectors per batch.
        learning_rate: initial learning rate.
        milestones: epochs at whose start the learning rate is divided by 10; the first epoch is 0.
    """

    epochs: int = 500
    batch_size: int = 32
    learning_rate: float = 3e-4
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "milestones", tuple(self.milestones))
        check_int("epochs", self.epochs, at_least=1)
        check_int("batch_size", self.batch_size, at_least=1)
        check_float("learning_rate", self.learning_rate, above=0)
        for milestone in self.milestones:
            check_int("milestones", milestone, at_least=0)


REGIMES = {
    "constant": BinaryTrainingConfig(learning_rate=3e-4),
    "decayed": BinaryTrainingConfig(learning_rate=3e-2, milestones=(10, 100, 450)),
}
"""Training configurations by name: a constant learning rate, and one that decays."""


def train_binary_vae(
    vectors: Tensor,
    *,
    config: BinaryVAEConfig | None = None,
    training: BinaryTrainingConfig | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[BinaryVAE, list[float]]:
    """Trains a binary VAE.

    Args:
        vectors: binary vectors ``(N, X) float32``, on the device to train on.
        config: configuration of the model; if None, the defaults with ``input_dim`` X.
        training: configuration of the training; the defaults if None.
        seed: root seed.
        progress: True to show a progress bar.

    Returns:
        The model, and a list with the mean ELBO during each epoch, in nats per vector.

    Raises:
        ValueError: the shape of ``vectors`` is not ``(N, X)``, or there are no vectors.
    """
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"vectors: expected shape (N, X) with N ≥ 1, got {tuple(vectors.shape)}")
    training = training or BinaryTrainingConfig()
    config = config or BinaryVAEConfig(input_dim=vectors.shape[1])
    device = vectors.device
    vae = BinaryVAE(config, generator=torch_generator(seed, "binary vae", "weights")).to(device)
    optimizer = torch.optim.Adam(vae.parameters(), training.learning_rate)
    order = torch_generator(seed, "binary vae", "order", device=device)
    noise = torch_generator(seed, "binary vae", "noise", device=device)
    curve = []
    with progress_bar("binary VAE", total=training.epochs, show=progress, unit="epochs") as advance:
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
            advance(epoch + 1, f"ELBO {float(curve[-1]):.2f}" if progress else "")
    return vae, torch.stack(curve).tolist()


@torch.no_grad()
def bounds(vae: BinaryVAE, vectors: Tensor, *, seed: int, samples: int = 5000) -> dict[str, float]:
    """Computes lower bounds on the log evidence of held-out vectors ``(N, X) float32``.

    Returns:
        A dictionary of means over the vectors, in nats:

        - ``elbo``: ELBO with 100 latents per vector.
        - ``log_evidence``: importance-sampled bound with ``samples`` latents per vector.
    """
    generator = torch_generator(seed, "bounds", device=vectors.device)
    elbo = torch.stack([vae.elbo(vectors, generator) for _ in range(100)]).mean()
    evidence = torch.cat(
        [vae.log_evidence(part, generator, samples=samples) for part in torch.split(vectors, 50)]
    )
    return {"elbo": float(elbo), "log_evidence": float(evidence.mean())}
