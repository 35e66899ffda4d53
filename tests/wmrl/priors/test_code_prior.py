"""Priors over codes."""

import math
from typing import Any

import pytest
import torch

from wmrl.priors.code_prior import CodePrior, CodePriorConfig

SMALL: dict[str, Any] = {
    "num_tokens": 3,
    "codebook_size": 4,
    "hidden_dim": 16,
    "num_layers": 1,
    "dropout": 0.0,
}


@pytest.fixture(params=["lstm", "transformer"])
def sequence_model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@torch.no_grad()
def test_probabilities_of_all_images_sum_to_one(sequence_model: str) -> None:
    prior = CodePrior(CodePriorConfig(sequence_model=sequence_model, **SMALL)).eval()
    every = torch.cartesian_prod(*[torch.arange(4)] * 3)
    total = prior.log_likelihood(every).sum(1).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)


@torch.no_grad()
def test_samples_follow_the_probabilities(sequence_model: str) -> None:
    prior = CodePrior(CodePriorConfig(sequence_model=sequence_model, num_classes=2, **SMALL)).eval()
    prior.head[-1].weight *= 8
    every = torch.cartesian_prod(*[torch.arange(4)] * 3)
    for label in range(2):
        labels = torch.full((64,), label)
        expected = prior.log_likelihood(every, labels).sum(1).exp()
        generator = torch.Generator().manual_seed(label)
        drawn = prior.sample(20_000, labels=torch.full((20_000,), label), generator=generator)
        numbers = (drawn * torch.tensor([16, 4, 1])).sum(1)
        frequency = torch.bincount(numbers, minlength=64) / 20_000
        error = 5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-4
        assert bool(((frequency - expected).abs() < error).all())


@torch.no_grad()
def test_a_low_temperature_takes_the_likeliest(sequence_model: str) -> None:
    prior = CodePrior(CodePriorConfig(sequence_model=sequence_model, **SMALL)).eval()
    generator = torch.Generator().manual_seed(0)
    drawn = prior.sample(50, temperature=1e-3, generator=generator)
    assert len(drawn.unique(dim=0)) == 1
    for place in range(3):  # each is the likeliest after those before it
        others = drawn[:1].repeat(4, 1)
        others[:, place] = torch.arange(4)
        likelihood = prior.log_likelihood(others)[:, place]
        assert int(likelihood.argmax()) == int(drawn[0, place])


def test_it_learns_a_language(sequence_model: str) -> None:
    """Images are a, a + b, a + 2b modulo 4, and the class is b; so two codes are certain."""
    prior = CodePrior(
        CodePriorConfig(sequence_model=sequence_model, num_classes=4, **SMALL | {"hidden_dim": 32})
    )
    optimizer = torch.optim.Adam(prior.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        first, step = torch.randint(4, (2, 64), generator=generator)
        codes = (first[:, None] + step[:, None] * torch.arange(3)) % 4
        optimizer.zero_grad()
        loss = -prior.log_likelihood(codes, step).sum(1).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < math.log(4) + 0.15
    prior.eval()
    labels = torch.arange(4).repeat(10)
    drawn = prior.sample(40, labels=labels, generator=generator)
    right = (drawn - drawn[:, :1]) % 4 == (labels[:, None] * torch.arange(3)) % 4
    assert right.float().mean() > 0.95


def test_same_seed_same_weights_and_draws(sequence_model: str) -> None:
    pair = [
        CodePrior(
            CodePriorConfig(sequence_model=sequence_model, **SMALL),
            generator=torch.Generator().manual_seed(1),
        ).eval()
        for _ in range(2)
    ]
    draws = [prior.sample(20, generator=torch.Generator().manual_seed(2)) for prior in pair]
    assert torch.equal(*draws)


def test_what_does_not_fit_is_named() -> None:
    plain, conditioned = (CodePrior(CodePriorConfig(num_classes=n, **SMALL)) for n in (0, 2))
    codes = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"codes: expected shape \(B, 3\), got \(2, 2\)"):
        plain.log_likelihood(codes[:, :2])
    with pytest.raises(ValueError, match="codes: expected values from 0 to 3, got values from 4"):
        plain.log_likelihood(codes + 4)
    with pytest.raises(ValueError, match="labels: expected None"):
        plain.log_likelihood(codes, torch.zeros(2).long())
    with pytest.raises(ValueError, match="labels: expected one of 2 classes for each of 2 images"):
        conditioned.log_likelihood(codes)
    with pytest.raises(ValueError, match="labels: expected values from 0 to 1, got values from 0"):
        conditioned.log_likelihood(codes, torch.tensor([0, 2]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_tokens": 0}, "num_tokens: expected at least 1"),
        ({"num_classes": -1}, "num_classes: expected at least 0"),
        ({"sequence_model": "gru"}, "sequence_model: expected one of 'lstm', 'transformer'"),
        ({"dropout": 1.0}, "dropout: expected below 1"),
    ],
)
def test_wrong_configurations_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodePriorConfig(**options)
