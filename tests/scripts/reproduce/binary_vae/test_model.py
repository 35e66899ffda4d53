"""The binary VAE, against torch's distributions and against brute force."""

import pytest
import torch
from torch.distributions import Bernoulli, MultivariateNormal, kl_divergence

from wmrl.scripts.reproduce.binary_vae.model import BinaryVAE, BinaryVAEConfig

SMALL = BinaryVAEConfig(input_dim=6, latent_dim=2, hidden_dims=(12, 8, 5))


@pytest.fixture
def vae() -> BinaryVAE:
    made = BinaryVAE(SMALL)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= 2  # posteriors that differ
    return made


def bits(rows: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randint(2, (rows, 6), generator=torch.Generator().manual_seed(seed)).float()


@torch.no_grad()
def test_the_posterior_is_the_reference_s(vae: BinaryVAE) -> None:
    posterior = vae.posterior(bits())
    assert bool((posterior.factor.triu(1) == 0).all())
    assert bool((posterior.factor[:, 1, 0] != 0).all())
    theirs = MultivariateNormal(posterior.mean, scale_tril=posterior.factor)
    prior = MultivariateNormal(torch.zeros(2), torch.eye(2))
    torch.testing.assert_close(posterior.divergence(), kl_divergence(theirs, prior))
    latents = torch.randn(7, 5, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(posterior.log_density(latents), theirs.log_prob(latents))
    noise = torch.randn(4000, 5, 2, generator=torch.Generator().manual_seed(2))
    drawn = posterior.draw(noise)
    torch.testing.assert_close(drawn.mean(0), posterior.mean, atol=0.15, rtol=0.1)
    covariance = torch.stack([torch.cov(drawn[:, row].T) for row in range(5)])
    expected = posterior.factor @ posterior.factor.mT
    torch.testing.assert_close(covariance, expected, atol=0.05, rtol=0.15)


@torch.no_grad()
def test_the_elbo_is_made_of_its_formulas(vae: BinaryVAE) -> None:
    vectors = bits()
    found = vae.elbo(vectors, torch.Generator().manual_seed(3))
    posterior = vae.posterior(vectors)
    noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(3))
    likelihood = Bernoulli(logits=vae.logits(posterior.draw(noise))).log_prob(vectors).sum(1)
    torch.testing.assert_close(found, likelihood - posterior.divergence())


@torch.no_grad()
def test_importance_sampling_finds_the_evidence(vae: BinaryVAE) -> None:
    """Against a sum over a grid of latents, which in two dimensions is as good as exact."""
    vectors = bits()
    axis = torch.linspace(-8, 8, 401)
    grid = torch.cartesian_prod(axis, axis)
    prior = MultivariateNormal(torch.zeros(2), torch.eye(2)).log_prob(grid)
    logits = vae.logits(grid)
    area = 2 * torch.log(axis[1] - axis[0])
    exact = torch.stack(
        [torch.logsumexp(Bernoulli(logits=logits).log_prob(v).sum(1) + prior, 0) for v in vectors]
    )
    found = vae.log_evidence(vectors, torch.Generator().manual_seed(0), samples=20_000)
    torch.testing.assert_close(found, exact + area, atol=0.03, rtol=0.01)
    elbo = torch.stack(
        [vae.elbo(vectors, torch.Generator().manual_seed(seed)) for seed in range(200)]
    ).mean(0)
    assert bool((elbo < found + 0.1).all())


def test_it_learns() -> None:
    """Two kinds of vectors, each with its own bits: log 2 = 0.69 nats at best."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    vectors = kinds[torch.randint(2, (256,), generator=generator)]
    vae = BinaryVAE(SMALL)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = -vae.elbo(vectors, generator).mean()
        loss.backward()
        optimizer.step()
    evidence = vae.log_evidence(vectors[:50], generator, samples=500).mean().item()
    assert -0.95 < evidence < -0.69  # −4.16 before; the plane between the kinds costs something


def test_wrong_sizes_are_named(vae: BinaryVAE) -> None:
    with pytest.raises(ValueError, match=r"vectors: expected shape \(B, 6\), got \(2, 5\)"):
        vae.posterior(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="latent_dim: expected at least 1"):
        BinaryVAEConfig(latent_dim=0)
    with pytest.raises(ValueError, match="hidden_dims: expected at least one width"):
        BinaryVAEConfig(hidden_dims=())
