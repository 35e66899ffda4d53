"""Inference against truth: conjugate models, and ones that are not."""

import itertools
import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Beta,
    Exponential,
    Gamma,
    HalfCauchy,
    LogNormal,
    MultivariateNormal,
    Normal,
    Poisson,
    Uniform,
)

from wmrl.inference.discrete_factors import BernoulliFactor
from wmrl.inference.elbo_gradient import GradientConfig
from wmrl.inference.family import VariationalFamily
from wmrl.inference.fit import FitConfig, Posterior, fit_posterior
from wmrl.inference.gamma_factors import BetaFactor, GammaFactor
from wmrl.inference.gaussian_factors import (
    LogNormalFactor,
    LowRankNormalFactor,
    MultivariateNormalFactor,
    NormalFactor,
)
from wmrl.inference.log_joint import LogJoint, Term, TermError
from wmrl.training.metrics import read_metrics


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Conjugate(NamedTuple):
    """A model whose posterior and evidence are known."""

    joint: LogJoint
    family: VariationalFamily
    mean: Tensor
    std: Tensor
    evidence: float


def normal_normal() -> Conjugate:
    """μ ~ N(0, 2²), y ~ N(μ, 1)."""
    y = 1.5 + torch.randn(20, generator=random())
    variance = 1 / (1 / 4 + len(y))
    covariance = torch.eye(len(y)) + 4.0
    joint = LogJoint(
        {
            "prior": lambda mu: Normal(0.0, 2.0).log_prob(mu),
            "data": Term(lambda mu, y: Normal(mu[:, None], 1.0).log_prob(y).sum(1), {"y": y}),
        }
    )
    evidence = MultivariateNormal(torch.zeros(len(y)), covariance).log_prob(y)
    family = VariationalFamily({"mu": NormalFactor(mean=3.0, std=0.5)})
    return Conjugate(
        joint, family, variance * y.sum(), torch.tensor(variance**0.5), float(evidence)
    )


def three_levels() -> Conjugate:
    """μ ~ N(0, 1), θ_j ~ N(μ, 1), y_ji ~ N(θ_j, 1), with z = (μ, θ) in one factor."""
    groups, each = 4, 5
    theta = 1.0 + torch.randn(groups, 1, generator=random(1))
    y = (theta + torch.randn(groups, each, generator=random(2))).double()
    prior = torch.ones(groups + 1, groups + 1).double()  # of (μ, θ): all share μ
    prior[1:, 1:] += torch.eye(groups)
    design = torch.zeros(groups * each, groups + 1).double()
    for row in range(groups * each):
        design[row, 1 + row // each] = 1.0
    noise = torch.eye(groups * each).double()
    marginal = design @ prior @ design.T + noise
    gain = prior @ design.T @ torch.linalg.inv(marginal)
    covariance = prior - gain @ design @ prior
    evidence = MultivariateNormal(torch.zeros(groups * each).double(), marginal).log_prob(
        y.flatten()
    )
    joint = LogJoint(
        {
            "mu": lambda z: Normal(0.0, 1.0).log_prob(z[:, 0]),
            "theta": lambda z: Normal(z[:, :1], 1.0).log_prob(z[:, 1:]).sum(1),
            "data": Term(
                lambda z, y: Normal(z[:, 1:, None], 1.0).log_prob(y).sum((1, 2)), {"y": y.float()}
            ),
        }
    )
    family = VariationalFamily({"z": MultivariateNormalFactor(groups + 1)})
    return Conjugate(joint, family, gain @ y.flatten(), covariance.diag().sqrt(), float(evidence))


def bernoulli_beta() -> Conjugate:
    """p ~ Beta(2, 2), x ~ Bernoulli(p)."""
    x = (torch.rand(50, generator=random()) < 0.3).float()
    a, b = 2 + x.sum(), 2 + (1 - x).sum()
    joint = LogJoint(
        {
            "prior": lambda p: Beta(2.0, 2.0).log_prob(p),
            "data": Term(lambda p, x: Bernoulli(p[:, None]).log_prob(x).sum(1), {"x": x}),
        }
    )
    evidence = _log_beta(a, b) - _log_beta(torch.tensor(2.0), torch.tensor(2.0))
    posterior = Beta(a, b)
    family = VariationalFamily({"p": BetaFactor()})
    return Conjugate(joint, family, posterior.mean, posterior.stddev, float(evidence))


def poisson_gamma() -> Conjugate:
    """r ~ Gamma(2, 1), c ~ Poisson(r)."""
    c = torch.poisson(torch.full((30,), 4.0), generator=random())
    a, b = 2 + c.sum(), 1.0 + len(c)
    joint = LogJoint(
        {
            "prior": lambda r: Gamma(2.0, 1.0).log_prob(r),
            "data": Term(lambda r, c: Poisson(r[:, None]).log_prob(c).sum(1), {"c": c}),
        }
    )
    evidence = a.lgamma() - a * math.log(b) - (c + 1).lgamma().sum()
    family = VariationalFamily({"r": GammaFactor()})
    return Conjugate(joint, family, a / b, a.sqrt() / b, float(evidence))


def exponential_gamma() -> Conjugate:
    """r ~ Gamma(3, 2), t ~ Exponential(r)."""
    t = -torch.rand(25, generator=random()).log() / 0.7
    a, b = torch.tensor(3.0 + len(t)), 2.0 + t.sum()
    joint = LogJoint(
        {
            "prior": lambda r: Gamma(3.0, 2.0).log_prob(r),
            "data": Term(lambda r, t: Exponential(r[:, None]).log_prob(t).sum(1), {"t": t}),
        }
    )
    evidence = 3 * math.log(2) - math.lgamma(3) + a.lgamma() - a * b.log()
    family = VariationalFamily({"r": GammaFactor()})
    return Conjugate(joint, family, a / b, a.sqrt() / b, float(evidence))


def log_normal_normal() -> Conjugate:
    """μ ~ N(1, 1), x ~ LogNormal(μ, 0.5²)."""
    x = (0.4 + 0.5 * torch.randn(15, generator=random())).exp()
    log_x = x.log()
    variance = 1 / (1 + len(x) / 0.25)
    mean = variance * (1 + log_x.sum() / 0.25)
    covariance = 0.25 * torch.eye(len(x)) + 1.0
    evidence = MultivariateNormal(torch.ones(len(x)), covariance).log_prob(log_x) - log_x.sum()
    joint = LogJoint(
        {
            "prior": lambda mu: Normal(1.0, 1.0).log_prob(mu),
            "data": Term(lambda mu, x: LogNormal(mu[:, None], 0.5).log_prob(x).sum(1), {"x": x}),
        }
    )
    family = VariationalFamily({"mu": NormalFactor()})
    return Conjugate(joint, family, mean, torch.tensor(variance**0.5), float(evidence))


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return a.lgamma() + b.lgamma() - (a + b).lgamma()


MODELS: dict[str, Callable[[], Conjugate]] = {
    "normal-normal": normal_normal,
    "three-levels": three_levels,
    "bernoulli-beta": bernoulli_beta,
    "poisson-gamma": poisson_gamma,
    "exponential-gamma": exponential_gamma,
    "log-normal-normal": log_normal_normal,
}


def fit(joint: LogJoint, family: VariationalFamily, **options: Any) -> Posterior:
    return fit_posterior(joint, family, FitConfig(**options), progress=False, device="cpu")


@pytest.mark.parametrize(
    ("name", "estimator", "window"),
    [
        *(("normal-normal", estimator, 50) for estimator in ("auto", "score")),
        *(
            pytest.param(*pair, FitConfig.window, marks=pytest.mark.slow)
            for pair in itertools.product(MODELS, ("auto", "score"))
        ),
    ],
)
def test_conjugate_models_end_in_their_posterior(name: str, estimator: str, window: int) -> None:
    model = MODELS[name]()
    found = fit(model.joint, model.family, estimator=estimator, window=window)
    assert found.converged
    assert abs(found.elbo - model.evidence) <= 0.01
    assert abs(found.log_evidence - model.evidence) <= 0.01
    assert found.pareto_k <= 0.7
    factor = next(iter(dict(found.family.items()).values()))
    assert torch.allclose(factor.mean.double(), model.mean.double(), rtol=0.01, atol=1e-3)
    assert torch.allclose(factor.std.double(), model.std.double(), rtol=0.01)
    expected = "score" if estimator == "score" else "reparameterized"
    assert set(found.estimators.values()) == {expected}


@pytest.mark.slow
def test_adagrad_as_in_the_paper() -> None:
    model = poisson_gamma()
    found = fit(
        model.joint, model.family, estimator="score", optimizer="adagrad", learning_rate=0.3
    )
    assert abs(found.elbo - model.evidence) <= 0.01
    assert found.family["r"].mean.item() == pytest.approx(model.mean.item(), rel=0.01)


def test_minibatches_end_near_the_posterior() -> None:
    model = normal_normal()
    data = model.joint.terms["data"]
    joint = LogJoint(
        {"prior": model.joint.terms["prior"], "data": Term(data.function, data.data, ("y",))}
    )
    found = fit(joint, model.family, batch_size=5, window=50)
    assert found.family["mu"].mean.item() == pytest.approx(model.mean.item(), abs=0.05)
    assert found.family["mu"].std.item() == pytest.approx(model.std.item(), rel=0.15)


def test_same_seed_same_bits(tmp_path: Path) -> None:
    ends = []
    for seed in (3, 3, 4):
        model = poisson_gamma()
        found = fit_posterior(
            model.joint,
            model.family,
            FitConfig(steps=90, window=30),
            seed=seed,
            progress=False,
            device="cpu",
            path=tmp_path / str(len(ends)),
        )
        ends.append((found.check, found.trace, found.family["r"].mean.item()))
    assert ends[0] == ends[1]
    assert ends[0] != ends[2]
    rows = read_metrics(tmp_path / "0" / "metrics.csv")
    assert [row["step"] for row in rows] == [30, 60, 90]
    assert [row["elbo"] for row in rows] == [row["elbo"] for row in ends[0][1]]


# Posterior moments of eight schools (Gelman et al., Bayesian Data Analysis, section 5.5), with
# μ ~ N(0, 5²) and τ ~ HalfCauchy(5): by Simpson's rule over τ in (0, 200), everything else exact.
SCHOOLS_Y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SCHOOLS_S = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools_reference() -> tuple[float, float, np.ndarray]:
    """Means of μ and τ, and of θ ``(8,)``."""
    y, s = SCHOOLS_Y.double().numpy(), SCHOOLS_S.double().numpy()
    tau = np.linspace(1e-4, 200.0, 40_001)[:, None]
    variance = s**2 + tau**2
    precision = (1 / variance).sum(1) + 1 / 25
    mu = (y / variance).sum(1) / precision
    log_p = (
        -np.log1p((tau[:, 0] / 5) ** 2)
        - 0.5 * np.log(variance).sum(1)
        - 0.5 * (y**2 / variance).sum(1)
        + 0.5 * mu**2 * precision
        - 0.5 * np.log(precision)
    )
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    shrink = tau**2 / variance
    theta = shrink * y + (1 - shrink) * mu[:, None]
    return float(weight @ mu), float(weight @ tau[:, 0]), weight @ theta


def test_the_reference_of_eight_schools() -> None:
    """Against moments that long runs of MCMC agree on."""
    mu, tau, theta = schools_reference()
    assert mu == pytest.approx(4.4, abs=0.1)
    assert tau == pytest.approx(3.6, abs=0.1)
    expected = [6.2, 4.9, 3.9, 4.8, 3.6, 4.0, 6.3, 4.9]
    assert theta == pytest.approx(expected, abs=0.15)


def eight_schools(*, centered: bool) -> tuple[LogJoint, VariationalFamily]:
    data = {"y": SCHOOLS_Y, "s": SCHOOLS_S}
    terms: dict[str, Any] = {
        "mu": lambda mu: Normal(0.0, 5.0).log_prob(mu),
        "tau": lambda tau: HalfCauchy(5.0).log_prob(tau),
    }
    if centered:
        terms["theta"] = lambda mu, tau, theta: (
            Normal(mu[:, None], tau[:, None]).log_prob(theta).sum(1)
        )
        terms["data"] = Term(lambda theta, y, s: Normal(theta, s).log_prob(y).sum(1), data)
    else:
        terms["theta"] = lambda theta: Normal(0.0, 1.0).log_prob(theta).sum(1)
        terms["data"] = Term(
            lambda mu, tau, theta, y, s: (
                Normal(mu[:, None] + tau[:, None] * theta, s).log_prob(y).sum(1)
            ),
            data,
        )
    return LogJoint(terms), VariationalFamily(
        {"mu": NormalFactor(std=3.0), "tau": LogNormalFactor(), "theta": NormalFactor(8)}
    )


@cache
def fitted_schools(*, centered: bool) -> Posterior:
    """Fitted once: two tests look at it."""
    return fit(*eight_schools(centered=centered))


@pytest.mark.slow
def test_eight_schools_without_centering() -> None:
    found = fitted_schools(centered=False)
    mu, tau, theta = schools_reference()
    q = found.family
    assert q["mu"].mean.item() == pytest.approx(mu, abs=0.3)
    values = q.draw(20_000, random())
    effects = (values["mu"][:, None] + values["tau"][:, None] * values["theta"]).mean(0)
    # Independent factors shrink less toward their mean than the posterior does.
    assert effects.numpy() == pytest.approx(theta, abs=1.0)
    assert values["tau"].mean().item() == pytest.approx(tau, rel=0.3)


@pytest.mark.slow
def test_eight_schools_centered_is_worse_and_says_so() -> None:
    """The funnel of θ and τ is no product: the ELBO is lower, and k̂ higher."""
    ends = {centered: fitted_schools(centered=centered) for centered in (True, False)}
    assert ends[True].elbo < ends[False].elbo - 0.2
    assert ends[True].pareto_k > 0.7
    assert ends[True].pareto_k > ends[False].pareto_k


@pytest.mark.slow
def test_a_family_that_does_not_fit_is_flagged() -> None:
    """Independent numbers for a posterior that is nearly a line."""
    covariance = torch.full((8, 8), 0.99) + 0.01 * torch.eye(8)
    posterior = MultivariateNormal(torch.zeros(8), covariance)
    joint = LogJoint({"p": Term(posterior.log_prob, names=("z",))})
    bad = fit(joint, VariationalFamily({"z": NormalFactor(8)}))
    assert bad.pareto_k > 0.7
    assert "bad" in bad.verdict
    assert bad.elbo < -1.0
    good = fit(joint, VariationalFamily({"z": LowRankNormalFactor(8, 1)}))
    assert good.pareto_k <= 0.7
    assert "good" in good.verdict or "usable" in good.verdict
    assert good.elbo == pytest.approx(0.0, abs=0.01)


def test_discrete_latents_are_found() -> None:
    """Which of two components each point of a mixture came from, by scores."""
    y = torch.tensor([-0.8, 0.9, -0.5, 0.3, 0.1])
    joint = LogJoint(
        {
            "z": Term(lambda z: Bernoulli(0.5).log_prob(z), elementwise=True),
            "y": Term(
                lambda z, y: Normal(4.0 * z - 2.0, 1.0).log_prob(y), {"y": y}, elementwise=True
            ),
        }
    )
    config = GradientConfig(samples=256)  # the rarer of two is drawn often enough
    family = VariationalFamily({"z": BernoulliFactor(5)})
    found = fit(joint, family, gradient=config, learning_rate=0.2, window=25)
    exact = torch.sigmoid(4.0 * y)  # log odds: ((y + 2)² − (y − 2)²) / 2
    assert found.estimators == {"z": "score"}
    assert torch.allclose(found.family["z"].mean, exact, atol=0.01)
    assert found.elbo == pytest.approx(found.log_evidence, abs=0.01)


def test_a_term_that_is_not_finite_at_the_start_is_named() -> None:
    joint = LogJoint({"rate": lambda r: Gamma(2.0, 1.0, validate_args=False).log_prob(r)})
    said = r"term 'rate' is nan at \d+ of 64 samples of the initial family, which draws r from all"
    with pytest.raises(FloatingPointError, match=said):
        fit(joint, VariationalFamily({"r": NormalFactor()}))
    # torch's own check says more.
    with pytest.raises(ValueError, match=r"term 'rate' \(variables: r\): "):
        fit(
            LogJoint({"rate": lambda r: Gamma(2.0, 1.0).log_prob(r)}),
            VariationalFamily({"r": NormalFactor()}),
        )


def test_the_last_good_state_is_kept() -> None:
    """A density that ends at 2 while it rises toward it."""
    joint = LogJoint({"edge": lambda z: torch.where(z < 2.0, 5.0 * z, -torch.inf)})
    family = VariationalFamily({"z": NormalFactor(std=0.01)})
    with pytest.raises(
        FloatingPointError,
        match=r"term 'edge' \(variables: z\) was not finite at \d+ samples at step \d+; the family",
    ):
        fit(joint, family, window=10)
    factor = family["z"]
    assert 0.1 < factor.mean.item() < 2.0
    assert all(torch.isfinite(parameter).all() for parameter in family.parameters())


def test_the_last_good_state_is_kept_where_a_distribution_checks_its_values() -> None:
    """As above, of a density that torch refuses to evaluate beyond its end."""
    joint = LogJoint({"edge": lambda z: Gamma(2.0, 0.001).log_prob(2.0 - z) + 5.0 * z})
    steps = {}
    for window in (10, 1000):
        family = VariationalFamily({"z": NormalFactor(std=0.01)})
        with pytest.raises(
            FloatingPointError, match=r"'edge' \(variables: z\): .* within the supp"
        ) as e:
            fit(joint, family, window=window)
        steps[window] = int(str(e.value).split("that it had after step ")[1].split(";")[0])
        mean = family["z"].mean.item()
        assert (mean == 0.0) == (window == 1000)  # of the window's start
        assert 0.0 <= mean < 2.0
    assert steps[1000] == 0
    assert steps[10] > 0


def test_only_the_term_that_was_not_finite_first_is_blamed() -> None:
    """It makes the parameters NaN, and by them all other terms."""
    joint = LogJoint(
        {
            "fine": lambda z: -(z**2) / 2,
            "rare": lambda z: torch.where(z > 1.0, torch.nan, 3.0 * z),
        }
    )
    with pytest.raises(FloatingPointError, match="'rare'") as raised:
        fit(joint, VariationalFamily({"z": NormalFactor(std=0.01)}), steps=60, window=100)
    assert "'fine'" not in str(raised.value)
    # Looked at after each step, it is found there.
    family = VariationalFamily({"z": NormalFactor(std=0.01)})
    with pytest.raises(FloatingPointError) as looked:
        fit(joint, family, steps=60, window=1, patience=60)
    steps = [re.search(r"at step (\d+);", str(each.value)) for each in (raised, looked)]
    assert steps[0] is not None
    assert steps[1] is not None
    assert 10 < int(steps[0][1]) == int(steps[1][1]) < 60
    assert "the family was reset to the parameters that it had after step 0" in str(raised.value)


def test_the_factor_whose_gradient_was_not_finite_is_named() -> None:
    """Though its term's values are fine, and the other's is NaN a step later."""
    joint = LogJoint(
        {
            "fine": lambda x: -(x**2) / 2,
            "both": lambda x, y: Normal(y, 1.0).log_prob(x),  # refuses NaN in the next step
            "root": lambda y: torch.where(y > 0, y.sqrt(), torch.zeros_like(y)),
        }
    )
    family = VariationalFamily({"x": NormalFactor(), "y": NormalFactor()})
    said = "the gradient of factor 'y', through term 'both' or 'root', was not finite at step 1;"
    with pytest.raises(FloatingPointError, match=said):
        fit(joint, family)
    assert family["x"].mean == 0.0
    bend = LogJoint({"bend": lambda z: torch.where(z > 9.0, torch.nan * z, 3.0 * z)})
    with pytest.raises(
        FloatingPointError, match="the gradient of factor 'z', through term 'bend', was"
    ):
        fit(bend, VariationalFamily({"z": NormalFactor(std=0.01)}), steps=60, window=100)


def test_draws_are_counted_and_not_their_numbers() -> None:
    joint = LogJoint({"z": Term(lambda z: torch.where(z > 99.0, z, torch.nan), elementwise=True)})
    with pytest.raises(FloatingPointError, match="at 64 of 64 samples of the initial family"):
        fit(joint, VariationalFamily({"z": NormalFactor(100)}))
    later = LogJoint(
        {"z": Term(lambda z: torch.where(z < 1.0, 9 * z, torch.nan), elementwise=True)}
    )
    with pytest.raises(
        FloatingPointError, match=r"\(variables: z\) was not finite at \d+ samples"
    ) as raised:
        fit(later, VariationalFamily({"z": NormalFactor(100, std=0.01)}))
    assert 1 <= int(re.search(r"at (\d+) samples", str(raised.value))[1]) <= 32


def test_a_mistake_in_a_term_is_no_fault_of_the_family() -> None:
    """Data that are not named as minibatched, and an error that comes only later."""
    data = {"y": torch.zeros(20), "w": torch.ones(20)}
    term = Term(lambda x, y, w: (w * -((x[:, None] - y) ** 2)).sum(1), data, minibatched=("y",))
    with pytest.raises(
        ValueError, match=r"term 'd' \(variables: x\): The size of tensor a"
    ) as raised:
        fit(LogJoint({"d": term}), VariationalFamily({"x": NormalFactor()}), batch_size=5)
    assert "learning_rate" not in str(raised.value)
    calls = 0

    def out_of_memory(x: Tensor) -> Tensor:
        nonlocal calls
        if (calls := calls + 1) > 20:
            raise RuntimeError("out of memory")
        return -(x**2)

    family = VariationalFamily({"x": NormalFactor(mean=3.0)})
    with pytest.raises(ValueError, match=r"term 'p' \(variables: x\): out of memory$"):
        fit(LogJoint({"p": out_of_memory}), family)
    assert family["x"].mean == 3.0


def test_an_error_in_the_last_check_is_told_as_it_is() -> None:
    """A term that can't take as many samples as there are looked at then."""

    def small(x: Tensor) -> Tensor:
        if len(x) > 100:
            raise RuntimeError("out of memory")
        return -(x**2)

    family = VariationalFamily({"x": NormalFactor(mean=3.0)})
    with pytest.raises(TermError, match=r"^term 'p' \(variables: x\): out of memory$"):
        fit(LogJoint({"p": small}), family, steps=300)
    assert family["x"].mean < 1.0


class CheckedNormal(NormalFactor):
    """As torch's own distributions are unless they are told otherwise."""

    def distribution(self) -> Normal:
        return Normal(self.loc, self.log_scale.exp(), validate_args=True)


def test_a_factor_that_refuses_its_parameters() -> None:
    joint = LogJoint({"root": lambda y: torch.where(y > 0, y.sqrt(), torch.zeros_like(y))})
    family = VariationalFamily({"y": CheckedNormal()})
    with pytest.raises(
        FloatingPointError, match=r"of factor 'y', through term 'root', .* at step 1;"
    ):
        fit(joint, family)
    assert family["y"].mean == 0.0


def test_a_rare_draw_that_only_the_last_check_meets_does_not_undo_the_fit() -> None:
    end = 4.0  # in units of std: of 4000 samples a few are beyond, of 4 a step hardly ever one
    joint = LogJoint(
        {
            "prior": lambda z: Uniform(-end, end).log_prob(z),
            "data": lambda z: -(z**2) / 2,
        }
    )
    family = VariationalFamily({"z": NormalFactor(mean=0.5)})
    config = FitConfig(steps=100, gradient=GradientConfig(samples=4), importance_samples=200_000)
    said = (
        r"'prior' \(variables: z\): .*\(in the importance check after 100 steps\); the family keeps"
    )
    with pytest.raises(FloatingPointError, match=f"(?s){said}"):
        fit_posterior(joint, family, config, progress=False, device="cpu")
    assert abs(family["z"].mean.item()) < 0.3


def test_a_fit_that_is_cut_short_is_where_it_has_come_to() -> None:
    """Within its first window, of which the mean is half way back."""
    joint = LogJoint({"p": lambda z: Normal(4.0, 1.0).log_prob(z)})
    for steps in (99, 100, 101):
        found = fit(joint, VariationalFamily({"z": NormalFactor()}), steps=steps, learning_rate=0.1)
        assert not found.converged
        assert found.family["z"].mean.item() == pytest.approx(4.0, abs=0.15)


def test_what_is_frozen_stays() -> None:
    for estimator in ("auto", "score"):
        family = VariationalFamily({"z": NormalFactor(std=0.5), "y": NormalFactor(mean=2.0)})
        family["z"].log_scale.requires_grad_(False)
        family["y"].requires_grad_(False)
        joint = LogJoint({"p": lambda z, y: Normal(y, 1.0).log_prob(z)})
        fit(joint, family, estimator=estimator, steps=250)
        assert family["z"].mean.item() == pytest.approx(2.0, abs=0.1)
        assert (family["z"].std.item(), family["y"].mean.item()) == (0.5, 2.0)
    family.requires_grad_(False)
    with pytest.raises(ValueError, match="family: expected trainable parameters, got none"):
        fit(joint, family)


def test_a_caller_s_settings_do_not_matter() -> None:
    """Neither gradients that are off nor another default precision."""
    joint = LogJoint({"p": lambda z: Normal(1.0, 1.0).log_prob(z).sum(1)})
    with torch.no_grad():
        found = fit(joint, VariationalFamily({"z": NormalFactor(2)}), steps=100)
        assert found.estimators == {"z": "reparameterized"}
        assert found.elbo == pytest.approx(0.0, abs=0.01)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        for factor in (MultivariateNormalFactor(2), LowRankNormalFactor(2, 1)):
            found = fit(joint, VariationalFamily({"z": factor}), steps=300)
            assert found.elbo == pytest.approx(0.0, abs=0.01)
            assert found.family["z"].mean.dtype == torch.float32
    finally:
        torch.set_default_dtype(default)


@pytest.mark.slow
def test_small_shares_of_large_counts() -> None:
    """k of n, with p ~ Beta(1, 1): single precision is found too coarse, double is exact."""
    k, n = 2.0, 1e8
    joint = LogJoint({"d": lambda p: k * p.log() + (n - k) * torch.log1p(-p)})
    evidence = math.lgamma(k + 1) + math.lgamma(n - k + 1) - math.lgamma(n + 2)
    family = VariationalFamily({"p": BetaFactor(alpha=3.0, beta=n)})
    found = fit(joint, family.double(), steps=2000)
    assert found.verdict.startswith("good")
    assert found.check.rounding == 0.0
    assert found.log_evidence == pytest.approx(evidence, abs=0.01)
    assert family["p"].mean.item() == pytest.approx((k + 1) / (n + 2), rel=0.02)
    coarse = fit(joint, VariationalFamily({"p": BetaFactor(alpha=3.0, beta=n)}), steps=2000)
    assert abs(coarse.log_evidence - evidence) > 0.1
    assert "single precision adds an error" in coarse.verdict
    assert coarse.family["p"].mean.item() == pytest.approx((k + 1) / (n + 2), rel=0.2)


@pytest.mark.slow
def test_data_of_twice_the_precision() -> None:
    """Both estimators take them, and fit parameters of single precision."""
    y = torch.tensor([0.3, 1.2, 0.7], dtype=torch.float64)
    joint = LogJoint(
        {
            "z": lambda z: Normal(0.0, 1.0).log_prob(z),
            "y": Term(lambda z, y: Normal(z[:, None], 1.0).log_prob(y).sum(1), {"y": y}),
        }
    )
    for estimator in ("auto", "score"):
        found = fit(joint, VariationalFamily({"z": NormalFactor()}), estimator=estimator)
        assert found.family["z"].mean.dtype == torch.float32
        assert found.family["z"].mean.item() == pytest.approx(2.2 / 4, abs=0.02)


def test_what_a_term_gets_wrong_is_told_with_its_name() -> None:
    family = VariationalFamily({"z": NormalFactor()})
    with pytest.raises(ValueError, match=r"term 'p' \(variables: z\): Dimension out of range"):
        fit(LogJoint({"p": lambda z: z.sum(1)}), family)
    with pytest.raises(ValueError, match="data: expected a tensor for 'y', got ndarray"):
        Term(lambda z, y: z * y, {"y": np.ones(3)})  # type: ignore[dict-item]
    with pytest.raises(KeyError, match=r"name: expected the name of a variable \(z\), got 'y'"):
        family["y"]


def test_clear_errors() -> None:
    joint, family, *_ = normal_normal()
    with pytest.raises(
        ValueError, match=r"family: expected a factor for each variable \(mu\), got none for mu"
    ):
        fit(joint, VariationalFamily({"nu": NormalFactor()}))
    with pytest.raises(ValueError, match=r"one factor per variable \(mu\), got additional .*nu\)"):
        fit(joint, VariationalFamily({"mu": NormalFactor(), "nu": NormalFactor()}))
    with pytest.raises(ValueError, match="batch_size: expected None for a log joint without"):
        fit(joint, family, batch_size=5)
    with pytest.raises(ValueError, match="importance_samples: expected at least 25, got 20"):
        FitConfig(importance_samples=20)
    for name in ("steps", "window", "patience", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            FitConfig(**{name: 0})
        for wrong in (2.5, 3.0, math.nan):
            with pytest.raises(ValueError, match=f"{name}: expected an integer, got {wrong}"):
                FitConfig(**{name: wrong})
    for name in ("max_lr_decays", "importance_samples"):
        with pytest.raises(ValueError, match=f"{name}: expected an integer, got 100.5"):
            FitConfig(**{name: 100.5})
    with pytest.raises(ValueError, match="optimizer: expected one of"):
        FitConfig(optimizer="sgd")
    with pytest.raises(ValueError, match="factors: expected Python identifiers as names"):
        VariationalFamily({"a b": NormalFactor()})
    with pytest.raises(ValueError, match="factors: expected at least one"):
        VariationalFamily({})
    shared = NormalFactor()
    with pytest.raises(ValueError, match=r"factors: expected separate parameters .* \(a, b\)"):
        VariationalFamily({"a": shared, "b": shared})
    with pytest.raises(
        ValueError, match=r"term 'p' \(variables: z\): expected shape \(64,\) .* got \(64, 2\)"
    ):
        fit(LogJoint({"p": lambda z: -z}), VariationalFamily({"z": NormalFactor(2)}))
    config = FitConfig(gradient=GradientConfig(samples=4))
    assert config.gradient.samples == 4
