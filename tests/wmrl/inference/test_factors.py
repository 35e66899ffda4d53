"""Contract of all factors, and what each is."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wmrl.inference.discrete_factors import BernoulliFactor, CategoricalFactor
from wmrl.inference.elbo_gradient import score_function
from wmrl.inference.factor import Factor
from wmrl.inference.gamma_factors import BetaFactor, GammaFactor
from wmrl.inference.gaussian_factors import (
    LogNormalFactor,
    LowRankNormalFactor,
    MultivariateNormalFactor,
    NormalFactor,
)

MAKE: dict[str, Callable[[], Factor]] = {
    "normal": lambda: NormalFactor(3, mean=[0.5, -1.0, 2.0], std=[0.3, 1.0, 2.0]),
    "log-normal": lambda: LogNormalFactor(3, mean=0.2, std=0.4),
    "multivariate": lambda: _correlated(MultivariateNormalFactor(3, mean=1.0, std=[1, 2, 0.5])),
    "low-rank": lambda: _correlated(LowRankNormalFactor(4, 2, mean=-1.0, std=0.7)),
    "gamma": lambda: GammaFactor(3, concentration=[0.8, 2.0, 9.0], rate=[1.0, 0.5, 3.0]),
    "beta": lambda: BetaFactor(2, alpha=[0.9, 5.0], beta=[2.0, 1.5]),
    "bernoulli": lambda: BernoulliFactor((2, 2), probability=0.3),
    "categorical": lambda: CategoricalFactor(3, 2, probabilities=[0.2, 0.5, 0.3]),
}


def _correlated(factor: Any) -> Factor:
    """Moved away from its start, where much is zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in factor.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return factor


def drawn(factor: Factor, count: int, seed: int = 0) -> Tensor:
    return factor.draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", MAKE)
def test_samples_have_the_moments_of_the_distribution(name: str) -> None:
    factor = MAKE[name]()
    values = drawn(factor, 40_000).detach()
    assert values.shape == (40_000, *factor.shape)
    if name == "categorical":
        values = torch.nn.functional.one_hot(values, 3)
    values, std = values.double(), factor.std.double()
    assert torch.allclose(values.mean(0), factor.mean.double(), atol=0.03 * float(std.max()))
    assert torch.allclose(values.std(0), std, rtol=0.05)


@pytest.mark.parametrize("name", MAKE)
def test_same_seed_same_samples_and_no_one_else_s_generator(name: str) -> None:
    factor = MAKE[name]()
    before = torch.get_rng_state()
    assert torch.equal(drawn(factor, 50), drawn(factor, 50))
    assert not torch.equal(drawn(factor, 50), drawn(factor, 50, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MAKE)
def test_gradients_reach_parameters_where_it_says_so(name: str) -> None:
    factor = MAKE[name]()
    values = drawn(factor, 8)
    assert values.requires_grad == factor.reparameterized
    if factor.reparameterized:
        values.square().sum().backward()
        assert all(parameter.grad is not None for parameter in factor.parameters())


@pytest.mark.parametrize("name", MAKE)
def test_the_score_function_is_that_of_one_sample_at_a_time(name: str) -> None:
    factor = MAKE[name]()
    values = drawn(factor, 5).detach()
    found = score_function(factor, values)
    for sample in range(5):
        total = factor.log_prob(values[sample : sample + 1]).sum()
        names = [key for key, _ in factor.named_parameters()]
        alone = torch.autograd.grad(total, list(factor.parameters()), allow_unused=True)
        for key, expected in zip(names, alone, strict=True):
            assert expected is not None
            assert torch.allclose(found[key][sample], expected, rtol=1e-4, atol=1e-5), key


@pytest.mark.parametrize("name", MAKE)
def test_the_score_function_has_mean_zero(name: str) -> None:
    factor = MAKE[name]()
    for key, score in score_function(factor, drawn(factor, 20_000).detach()).items():
        error = score.std(0) / math.sqrt(len(score))
        assert (score.mean(0).abs() <= 4.5 * error + 1e-6).all(), key


@pytest.mark.parametrize("name", ["multivariate", "low-rank"])
def test_numbers_drawn_together_have_the_covariance(name: str) -> None:
    factor = MAKE[name]()
    values = drawn(factor, 100_000).detach().double()
    expected = factor.distribution().covariance_matrix.detach().double()
    assert torch.allclose(torch.cov(values.T), expected, atol=0.03 * float(expected.max()))
    assert (expected - expected.diag().diag()).abs().max() > 0.05


def test_gamma_and_beta_start_where_they_are_told() -> None:
    gamma, beta = GammaFactor(concentration=3.0, rate=2.0), BetaFactor(alpha=2.0, beta=6.0)
    assert gamma.mean.item() == pytest.approx(1.5)
    assert gamma.std.item() == pytest.approx(math.sqrt(3) / 2)
    assert beta.mean.item() == pytest.approx(0.25)
    assert beta.std.item() == pytest.approx(math.sqrt(12 / (64 * 9)))


def test_golden_densities() -> None:
    half = torch.tensor([0.5])
    assert NormalFactor().log_prob(half).item() == pytest.approx(-0.125 - 0.5 * math.log(math.tau))
    assert GammaFactor(concentration=2.0, rate=3.0).log_prob(half).item() == pytest.approx(
        math.log(9 * 0.5) - 1.5, abs=1e-5
    )
    assert BetaFactor(alpha=2.0, beta=3.0).log_prob(half).item() == pytest.approx(math.log(1.5))
    assert BernoulliFactor(probability=0.3).log_prob(torch.ones(1)).item() == pytest.approx(
        math.log(0.3)
    )


def test_any_integer_is_a_shape() -> None:
    assert NormalFactor(np.prod((2, 3))).shape == (6,)
    assert NormalFactor([np.int64(2), 3]).shape == (2, 3)
    assert NormalFactor(np.array([2, 3])).shape == (2, 3)
    for wrong in ("23", (2.7,), 2.0):
        with pytest.raises(TypeError, match="shape: expected integers, got"):
            NormalFactor(wrong)  # type: ignore[arg-type]


def test_one_axis_is_a_dimension() -> None:
    low, full = LowRankNormalFactor((3,), 2), MultivariateNormalFactor((3,))
    assert (low.directions.shape, full.lower.shape) == ((3, 2), (3, 3))


def test_samples_that_underflow_stay_in_the_support() -> None:
    """And so have a density, with a gradient."""
    for factor in (
        GammaFactor(500, concentration=0.01, rate=1e3),
        BetaFactor(500, alpha=0.01, beta=1e6),
    ):
        drawn = factor.draw(4, torch.Generator().manual_seed(0))
        assert (drawn > 0).all()
        (-factor.log_prob(drawn)).sum().backward()
        gradients = [parameter.grad for parameter in factor.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NormalFactor(0), "shape: expected axes of length 1 or more"),
        (lambda: NormalFactor(2, std=0.0), "std: expected finite numbers above 0, got 0"),
        (lambda: NormalFactor(2, mean=math.nan), "mean: expected finite numbers, got nan"),
        (
            lambda: NormalFactor(2, mean=[1.0, 2.0, 3.0]),
            "mean: expected numbers that broadcast",
        ),
        (lambda: GammaFactor(rate=-1.0), "rate: expected finite numbers above 0"),
        (lambda: BernoulliFactor(probability=1.0), "probability: expected numbers below 1"),
        (lambda: CategoricalFactor(1), "num_categories: expected at least 2, got 1"),
        (lambda: LowRankNormalFactor((4, 2), 1), r"dim: expected one integer, got \(4, 2\)"),
        (lambda: LowRankNormalFactor(4, 0), "rank: expected at least 1, got 0"),
    ],
)
def test_clear_errors(make: Callable[[], Factor], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
