import copy
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from wmrl.inference.diagnostics import ImportanceCheck, importance_check, pareto_k
from wmrl.inference.discrete_factors import BernoulliFactor
from wmrl.inference.family import VariationalFamily
from wmrl.inference.gamma_factors import GammaFactor
from wmrl.inference.gaussian_factors import NormalFactor
from wmrl.inference.log_joint import LogJoint, Term


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_the_shape_of_a_known_tail(k: float) -> None:
    """Weights that are generalized Pareto: (U^−k − 1) / k."""
    uniform = np.random.default_rng(0).uniform(size=50_000)
    weights = (uniform**-k - 1) / k + 1
    assert pareto_k(np.log(weights)) == pytest.approx(k, abs=0.1)


def test_a_narrow_q_is_flagged_and_a_wide_one_is_not() -> None:
    """For N(0, s²) in place of N(0, 1), k = 1 − s² where s < 1; bounded weights where s > 1."""
    found = {}
    for std in (0.3, 0.8, 1.2):
        found[std] = importance_check(
            LogJoint({"p": lambda z: Normal(0.0, 1.0).log_prob(z)}),
            VariationalFamily({"z": NormalFactor(std=std)}),
            samples=20_000,
            generator=torch.Generator().manual_seed(0),
        )
    assert found[0.3].pareto_k == pytest.approx(0.91, abs=0.2)
    assert found[0.8].pareto_k == pytest.approx(0.36, abs=0.15)
    assert found[1.2].pareto_k < 0.1
    assert "bad" in found[0.3].verdict
    assert "good" in found[1.2].verdict
    for std, check in found.items():
        kl = math.log(1 / std) + (std**2 - 1) / 2
        assert abs(check.elbo + kl) < 4 * check.elbo_se
    assert found[1.2].log_evidence == pytest.approx(0.0, abs=0.02)


def test_where_q_is_the_posterior_all_weights_are_the_same() -> None:
    check = importance_check(
        LogJoint({"p": lambda z: Normal(0.0, 1.0).log_prob(z) + 3.0}),
        VariationalFamily({"z": NormalFactor()}),
        samples=100,
        generator=torch.Generator().manual_seed(0),
    )
    assert check.elbo == pytest.approx(3.0, abs=1e-5)
    assert check.log_evidence == pytest.approx(3.0, abs=1e-5)
    assert check.pareto_k < 0.5
    assert pareto_k(np.zeros(100)) == -np.inf


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (np.r_[np.zeros(3999), 800.0], np.nan),  # one that outweighs all, the others equal
        (np.r_[np.zeros(3900), np.full(100, 2.0)], np.nan),  # 100 of a tail of 189
        (np.r_[np.zeros(3700), np.full(300, 2.0)], -np.inf),  # the whole tail: bounded, and seen
        (np.linspace(0.0, 1e6, 4000), np.inf),  # the largest alone counts
    ],
)
def test_tails_that_the_fit_can_not_see(weights: np.ndarray, expected: float) -> None:
    np.testing.assert_equal(pareto_k(weights), expected)
    np.testing.assert_equal(pareto_k(weights + 50.0), expected)


@pytest.mark.parametrize("samples", [25, 26, 100, 226, 300, 1000, 4000, 4001])
def test_any_number_of_ties(samples: int) -> None:
    """The same at the top, from one to more than the tail: a k̂ only where none are needed."""
    for tied in range(1, samples // 4):
        for gap in (0.1, 3.0, 800.0):
            k = pareto_k(np.r_[np.zeros(samples - tied), np.full(tied, gap)])
            assert math.isnan(k) or k == -math.inf


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.17, 0.18, 0.19, 0.2, 0.215])
def test_discrete_variables_do_not_hide_what_was_missed(probability: float) -> None:
    """q is seldom in the state that has 0.9 of the posterior, as a few of its samples tell."""

    def both(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        log_p = torch.where(a > 0, math.log(0.9), math.log(0.1))
        return torch.where(a == b, log_p, -6.0)

    family = {name: BernoulliFactor(probability=probability) for name in ("a", "b")}
    for seed in range(10):
        check = importance_check(
            LogJoint({"p": both}),
            VariationalFamily(family),
            samples=4000,
            generator=torch.Generator().manual_seed(seed),
        )
        assert check.verdict.startswith("bad: 4000 samples have an effective sample size of")
        # The share of that state, times 4000 / 0.9², by its first two moments alone.
        assert check.ess == pytest.approx(4000 * probability**2 / 0.9**2, rel=0.6)


def test_discrete_variables_that_are_covered() -> None:
    family = VariationalFamily({"a": BernoulliFactor(probability=0.6)})
    found = {}
    for p in (0.6, 0.61, 0.99):
        found[p] = importance_check(
            LogJoint({"p": lambda a, p=p: torch.where(a > 0, math.log(p), math.log(1 - p))}),
            family,
            samples=4000,
            generator=torch.Generator().manual_seed(0),
        )
    assert found[0.6].verdict.startswith("good")
    assert found[0.6].ess == pytest.approx(4000.0)
    assert found[0.61].verdict.startswith("good")
    # 4000 / (0.99² / 0.6 + 0.01² / 0.4)
    assert found[0.99].ess == pytest.approx(2448, rel=0.05)


def test_rounding_that_is_larger_than_the_error_is_told() -> None:
    """A density of large counts, against itself in double precision."""
    checks = []
    for factor in (GammaFactor(concentration=1e6, rate=10.0), GammaFactor()):
        exact = copy.deepcopy(factor).double()
        for family in (VariationalFamily({"r": factor}), VariationalFamily({"r": exact})):
            checks.append(
                importance_check(
                    LogJoint({"p": lambda r, exact=exact: exact.log_prob(r.double())}),
                    family,
                    samples=1000,
                    generator=torch.Generator().manual_seed(0),
                )
            )
    off = [abs(check.elbo) for check in checks]
    assert off[0] == pytest.approx(checks[0].rounding, rel=1e-6)
    assert off[0] > 0.01
    assert checks[0].verdict.startswith("unclear: single precision adds an error of")
    assert max(off[1:]) < 1e-5
    assert [check.verdict.split(":")[0] for check in checks[1:]] == ["good"] * 3


def test_each_verdict() -> None:
    def said(k: float, samples: int = 4000, outside: int = 0, **more: float) -> str:
        return ImportanceCheck(0.0, 0.0, 0.0, k, samples, outside, **more).verdict

    found = [said(k).split(":")[0] for k in (0.4, 0.6, 0.9, 2.0)]
    assert found == ["good", "usable", "bad", "very bad"]
    # 1 − 1 / log₁₀ 100 = 0.5, and of 25 samples 0.285.
    assert [said(k, 100).split(":")[0] for k in (0.49, 0.51, 0.9)] == ["good", "unclear", "bad"]
    assert said(0.3, 25) == "unclear: 25 samples are too few to tell; draw more"
    assert said(math.nan, ess=3000).startswith("good")
    assert said(math.nan, ess=1000) == "usable: 4000 samples have an effective sample size of 1000"
    for k in (math.nan, -math.inf):
        assert said(k, ess=30).startswith("bad: 4000 samples have an effective sample size of 30;")
    assert said(0.1, rounding=0.02).startswith("unclear: single precision")
    assert said(0.1, rounding=0.009).startswith("good")
    assert said(0.1, outside=3).startswith("bad: the posterior is 0 at 3 of 4000 samples")


@pytest.mark.parametrize(("edge", "least"), [(1.0, 1), (-2.9, 990)])
def test_a_q_that_goes_beyond_the_support_is_bad(edge: float, least: int) -> None:
    """The ELBO is −∞, no matter if few of its samples are outside the support or nearly all."""
    check = importance_check(
        LogJoint({"p": lambda z: torch.where(z < edge, -(z**2) / 2, -torch.inf)}),
        VariationalFamily({"z": NormalFactor()}),
        samples=1000,
        generator=torch.Generator().manual_seed(0),
    )
    assert check.outside >= least
    assert (check.elbo, check.elbo_se) == (-math.inf, math.inf)
    assert check.verdict.startswith(f"bad: the posterior is 0 at {check.outside} of 1000 samples")
    assert math.isfinite(check.log_evidence)
    assert not math.isnan(check.pareto_k)
    assert 0.0 < check.ess <= 1000 - check.outside


def test_a_q_that_is_wholly_beyond_the_support() -> None:
    check = importance_check(
        LogJoint({"p": lambda z: torch.where(z < -99.0, z, -torch.inf)}),
        VariationalFamily({"z": NormalFactor()}),
        samples=100,
        generator=torch.Generator().manual_seed(0),
    )
    assert (check.outside, check.ess, check.log_evidence) == (100, 0.0, -math.inf)
    assert check.verdict.startswith("bad: the posterior is 0 at 100 of 100 samples")


def test_many_observations_are_weighed_by_few_samples_at_a_time() -> None:
    """The check needs memory for all observations of every sample of a chunk."""
    seen = []

    def data(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append(len(z))
        return Normal(z[:, None], 1.0).log_prob(y).sum(1)

    y = torch.zeros(2**21)
    check = importance_check(
        LogJoint({"y": Term(data, {"y": y}, minibatched=("y",))}),
        VariationalFamily({"z": NormalFactor(std=2.0**-10)}),
        samples=30,
        generator=torch.Generator().manual_seed(0),
    )
    assert seen == [8, 8, 8, 6]
    assert check.samples == 30
    assert math.isfinite(check.elbo)


def test_clear_errors() -> None:
    family = VariationalFamily({"z": NormalFactor()})
    generator = torch.Generator()
    with pytest.raises(ValueError, match="samples: expected at least 25, got 24"):
        importance_check(LogJoint({"p": lambda z: -z}), family, samples=24, generator=generator)
    with pytest.raises(ValueError, match=r"got NaN or \+∞ at \d+ of 30 samples, in term 'q'$"):
        importance_check(
            LogJoint({"p": lambda z: -z, "q": lambda z: z.log()}),
            family,
            samples=30,
            generator=generator,
        )
