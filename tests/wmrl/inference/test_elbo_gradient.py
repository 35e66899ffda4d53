"""Gradients of the ELBO: unbiased, and of low variance where they say so."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Gamma, Normal

from wmrl.inference.discrete_factors import BernoulliFactor, CategoricalFactor
from wmrl.inference.elbo_gradient import (
    GradientConfig,
    choose_estimators,
    control_variate_mean,
    elbo_gradient,
)
from wmrl.inference.family import VariationalFamily
from wmrl.inference.gamma_factors import GammaFactor
from wmrl.inference.gaussian_factors import MultivariateNormalFactor, NormalFactor
from wmrl.inference.log_joint import LogJoint, Term

DATA = torch.tensor([0.8, 1.9, 1.1, 2.4, 0.3])
COUNTS = torch.tensor([3.0, 5.0, 2.0])


def normal_normal() -> tuple[LogJoint, VariationalFamily, Callable[..., Tensor]]:
    """μ ~ N(0, 2²), y ~ N(μ, 1), and its ELBO by hand."""
    joint = LogJoint(
        {
            "prior": lambda mu: Normal(0.0, 2.0).log_prob(mu),
            "data": Term(lambda mu, y: Normal(mu[:, None], 1.0).log_prob(y).sum(1), {"y": DATA}),
        }
    )

    def elbo(loc: Tensor, log_scale: Tensor) -> Tensor:
        variance = (2 * log_scale).exp()
        prior = -0.5 * (loc**2 + variance) / 4 - math.log(2) - 0.5 * math.log(math.tau)
        data = -0.5 * ((DATA - loc) ** 2 + variance).sum() - 2.5 * math.log(math.tau)
        return prior + data + log_scale + 0.5 * math.log(math.tau * math.e)

    return joint, VariationalFamily({"mu": NormalFactor(mean=0.2, std=0.9)}), elbo


def poisson_gamma() -> tuple[LogJoint, VariationalFamily, Callable[..., Tensor]]:
    """r ~ Gamma(2, 1), c ~ Poisson(r): E[log r] and E[r] are known."""
    joint = LogJoint(
        {
            "prior": lambda r: Gamma(2.0, 1.0).log_prob(r),
            "data": Term(
                lambda r, c: (c * r[:, None].log() - r[:, None] - (c + 1).lgamma()).sum(1),
                {"c": COUNTS},
            ),
        }
    )

    def elbo(log_concentration: Tensor, log_mean: Tensor) -> Tensor:
        alpha, mean = log_concentration.exp(), log_mean.exp()
        log_r = torch.digamma(alpha) - (alpha / mean).log()
        data = COUNTS.sum() * log_r - 3 * mean - (COUNTS + 1).lgamma().sum()
        return log_r - mean + data + Gamma(alpha, alpha / mean).entropy()

    family = VariationalFamily({"r": GammaFactor(concentration=4.0, rate=1.5)})
    return joint, family, elbo


def coins() -> tuple[LogJoint, VariationalFamily, Callable[..., Tensor]]:
    """Two coins and a die with a joint table, which can be summed over."""
    table = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(5))

    def joint_table(coin: Tensor, die: Tensor) -> Tensor:
        return table[coin[:, 0].long(), coin[:, 1].long(), die]

    def elbo(coin: Tensor, die: Tensor) -> Tensor:
        total = torch.zeros(())
        for i in range(2):
            for j in range(2):
                for k in range(3):
                    both = Bernoulli(logits=coin).log_prob(torch.tensor([float(i), float(j)])).sum()
                    log_q = both + Categorical(logits=die).log_prob(torch.tensor(k))
                    total = total + log_q.exp() * (table[i, j, k] - log_q)
        return total

    family = VariationalFamily(
        {
            "coin": BernoulliFactor(2, probability=[0.3, 0.6]),
            "die": CategoricalFactor(3, probabilities=[0.2, 0.3, 0.5]),
        }
    )
    return LogJoint({"table": joint_table}), family, elbo


MODELS = {"normal-normal": normal_normal, "poisson-gamma": poisson_gamma, "coins": coins}
_PLAIN = ("score", False, False)  # the same code for each factor; normal ones show a bias best
CASES = [
    pytest.param(
        model,
        estimator,
        rao_blackwell,
        control,
        marks=pytest.mark.slow
        if (estimator, rao_blackwell, control) == _PLAIN and model == "poisson-gamma"
        else (),
    )
    for model in MODELS
    for estimator, rao_blackwell, control in (
        ("score", True, True),
        _PLAIN,
        ("reparameterized", True, True),
    )
    if not (model == "coins" and estimator == "reparameterized")
]


def estimates(
    joint: LogJoint, family: VariationalFamily, count: int, **options: Any
) -> dict[str, Tensor]:
    """Gradients of many calls, ``(count, …)`` by name."""
    generator = torch.Generator().manual_seed(0)
    found = [
        elbo_gradient(joint, family, generator=generator, **options).gradients for _ in range(count)
    ]
    return {name: torch.stack([each[name] for each in found]).double() for name in found[0]}


@pytest.mark.parametrize(("model", "estimator", "rao_blackwell", "control"), CASES)
def test_it_is_unbiased(model: str, estimator: str, rao_blackwell: bool, control: bool) -> None:
    """A z-test of each number at 1 %, over 4000 samples."""
    joint, family, elbo = MODELS[model]()
    copies = [parameter.detach().clone().requires_grad_() for parameter in family.parameters()]
    exact = torch.autograd.grad(elbo(*copies), copies)
    config = GradientConfig(samples=8, rao_blackwell=rao_blackwell, control_variates=control)
    found = estimates(
        joint, family, 500, config=config, estimators=dict.fromkeys(family.names, estimator)
    )
    for (name, _), expected in zip(family.named_parameters(), exact, strict=True):
        error = found[name].std(0) / math.sqrt(500)
        z = (found[name].mean(0) - expected.double()) / error
        assert (z.abs() < 2.58).all(), (name, z)


def test_minibatches_are_unbiased() -> None:
    joint, family, elbo = normal_normal()
    term = joint.terms["data"]
    joint = LogJoint(
        {"prior": joint.terms["prior"], "data": Term(term.function, term.data, ("y",))}
    )
    copies = [parameter.detach().clone().requires_grad_() for parameter in family.parameters()]
    exact = torch.autograd.grad(elbo(*copies), copies)
    generator = torch.Generator().manual_seed(1)
    found = [
        elbo_gradient(
            joint, family, generator=generator, indices=torch.randint(5, (2,), generator=generator)
        ).gradients
        for _ in range(500)
    ]
    for (name, _), expected in zip(family.named_parameters(), exact, strict=True):
        values = torch.stack([each[name] for each in found])
        assert abs(values.mean() - expected) < 2.58 * values.std() / math.sqrt(500)


def three_levels(*, named: bool) -> tuple[LogJoint, VariationalFamily]:
    """μ ~ N(0, 1), θ_j ~ N(μ, 1), y_ji ~ N(θ_j, 1), as variables by name or as a vector θ."""
    generator = torch.Generator().manual_seed(0)
    groups, each = 10, 20
    y = (
        1.0
        + torch.randn(groups, 1, generator=generator)
        + torch.randn(groups, each, generator=generator)
    )
    terms: dict[str, Any] = {"mu": lambda mu: Normal(0.0, 1.0).log_prob(mu)}
    if not named:
        terms["theta"] = Term(
            lambda mu, theta: Normal(mu[:, None], 1.0).log_prob(theta), elementwise=True
        )
        terms["data"] = Term(
            lambda theta, y: Normal(theta[:, :, None], 1.0).log_prob(y).sum(2),
            {"y": y},
            elementwise=True,
        )
        family = {"mu": NormalFactor(mean=0.5), "theta": NormalFactor(groups, mean=0.5)}
        return LogJoint(terms), VariationalFamily(family)
    for j in range(groups):
        terms[f"theta_{j}"] = Term(
            lambda mu, theta: Normal(mu, 1.0).log_prob(theta), names=("mu", f"theta_{j}")
        )
        terms[f"data_{j}"] = Term(
            lambda theta, y: Normal(theta[:, None], 1.0).log_prob(y).sum(1),
            {"y": y[j]},
            names=(f"theta_{j}", "y"),
        )
    names = ["mu", *(f"theta_{j}" for j in range(groups))]
    return LogJoint(terms), VariationalFamily({name: NormalFactor(mean=0.5) for name in names})


def total_variance(named: bool, **options: bool) -> float:
    joint, family = three_levels(named=named)
    config = GradientConfig(samples=16, **options)
    found = estimates(joint, family, 200, config=config)
    return sum(float(values.var(0).sum()) for values in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_variance_is_lower_with_each_technique(named: bool) -> None:
    """The paper's own claim; both together tenfold at least."""
    plain = total_variance(named, rao_blackwell=False, control_variates=False)
    blackwell = total_variance(named, rao_blackwell=True, control_variates=False)
    control = total_variance(named, rao_blackwell=False, control_variates=True)
    both = total_variance(named, rao_blackwell=True, control_variates=True)
    assert blackwell < 0.5 * plain
    assert control < 0.5 * plain
    assert both < min(blackwell, control)
    assert both < plain / 10


@pytest.mark.slow
def test_elementwise_terms_are_as_good_as_variables_by_name() -> None:
    named, vector = (total_variance(named, rao_blackwell=True) for named in (True, False))
    assert vector == pytest.approx(named, rel=0.2)


def test_the_control_variate_is_what_a_loop_over_all_others_says() -> None:
    generator = torch.Generator().manual_seed(0)
    products = torch.randn(6, 4, generator=generator).double()
    score = torch.randn(6, 4, generator=generator).double() + 0.5 * products
    expected = torch.zeros(4).double()
    for row in range(6):
        others = [other for other in range(6) if other != row]
        for column in range(4):
            f, h = products[others, column], score[others, column]
            factor = ((f - f.mean()) * (h - h.mean())).sum() / (h - h.mean()).square().sum()
            expected[column] += (products[row, column] - factor * score[row, column]) / 6
    assert torch.allclose(control_variate_mean(products, score), expected)
    same = torch.ones(6, 4).double()
    assert torch.allclose(control_variate_mean(products, same), products.mean(0))


def test_where_q_is_the_posterior_nothing_is_left_to_chance() -> None:
    joint, _, _ = normal_normal()
    variance = 1 / (1 / 4 + 5)
    family = VariationalFamily(
        {"mu": NormalFactor(mean=variance * float(DATA.sum()), std=variance**0.5)}
    )
    for estimator in ("score", "reparameterized"):
        found = elbo_gradient(
            joint,
            family,
            generator=torch.Generator().manual_seed(0),
            estimators={"mu": estimator},
        )
        assert found.elbo.std() < 1e-5
        assert all(value.abs() < 1e-4 for value in found.gradients.values())


def test_the_estimator_is_chosen_for_each_variable() -> None:
    joint = LogJoint(
        {
            "smooth": lambda a: -a.square(),
            "step": lambda b: (b > 0).float(),
            "both": lambda a, coin: a * coin,
            "whole": lambda g: g.log() - g,
        }
    )
    family = VariationalFamily(
        {
            "a": NormalFactor(),
            "b": NormalFactor(),
            "coin": BernoulliFactor(),
            "g": GammaFactor(),
        }
    )
    found = choose_estimators(joint, family, torch.Generator().manual_seed(0))
    assert found == {
        "a": "reparameterized",
        "b": "score",
        "coin": "score",
        "g": "reparameterized",
    }


def test_both_estimators_mix() -> None:
    """A Gaussian by its samples beside a coin by its scores: exact gradients by summing over it."""
    joint = LogJoint({"both": lambda a, coin: -0.5 * (a - 2 * coin).square() + 0.3 * coin})
    family = VariationalFamily({"a": NormalFactor(mean=0.4, std=0.7), "coin": BernoulliFactor()})
    found = estimates(
        joint,
        family,
        500,
        estimators={"a": "reparameterized", "coin": "score"},
        config=GradientConfig(samples=5),
    )
    loc, log_scale, logits = (p.detach().clone().requires_grad_() for p in family.parameters())
    p = logits.sigmoid()
    variance = (2 * log_scale).exp()
    given = [-0.5 * ((loc - 2 * c) ** 2 + variance) + 0.3 * c for c in (0.0, 1.0)]
    elbo = (1 - p) * given[0] + p * given[1] + log_scale + Bernoulli(logits=logits).entropy()
    exact = torch.autograd.grad(elbo, (loc, log_scale, logits))
    for (name, _), expected in zip(family.named_parameters(), exact, strict=True):
        error = found[name].std() / math.sqrt(500)
        assert abs(found[name].mean() - expected) < 2.58 * error, name


def test_a_full_covariance_is_unbiased_both_ways() -> None:
    generator = torch.Generator().manual_seed(2)
    root = torch.randn(3, 3, generator=generator)
    precision = root @ root.T + torch.eye(3)
    joint = LogJoint({"p": lambda z: -0.5 * ((z @ precision) * z).sum(1)})
    family = VariationalFamily({"z": MultivariateNormalFactor(3, mean=0.5, std=0.6)})
    factor = family["z"]
    with torch.no_grad():
        for parameter in factor.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    q = factor.distribution()
    covariance = q.covariance_matrix
    elbo = -0.5 * (precision * (covariance + torch.outer(q.mean, q.mean))).sum() + q.entropy()
    exact = torch.autograd.grad(elbo, list(family.parameters()))
    for estimator in ("score", "reparameterized"):
        found = estimates(joint, family, 300, estimators={"z": estimator})
        for (name, _), expected in zip(family.named_parameters(), exact, strict=True):
            error = found[name].std(0) / math.sqrt(300)
            assert ((found[name].mean(0) - expected).abs() <= 3.5 * error + 1e-6).all(), name


def test_estimators_that_can_not_be_are_refused() -> None:
    family = VariationalFamily({"z": NormalFactor(), "b": BernoulliFactor()})
    joint = LogJoint({"p": lambda z, b: -(z**2) - b})
    for estimators, said in (
        ({"z": "score"}, "expected 'score' or 'reparameterized' for 'b', got None"),
        ({"z": "pathwise", "b": "score"}, "for 'z', got 'pathwise'"),
        (dict.fromkeys("zb", "reparameterized"), "expected 'score' for 'b' because its factor"),
    ):
        with pytest.raises(ValueError, match=f"estimators: .*{said}"):
            elbo_gradient(joint, family, generator=torch.Generator(), estimators=estimators)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="samples: expected at least 4 with control variates"):
        GradientConfig(samples=3)
    with pytest.raises(ValueError, match="samples: expected at least 1, got 0"):
        GradientConfig(samples=0, control_variates=False)
