import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from wmrl.gaussian_factors import NormalFactor
from wmrl.importance import ImportanceCheck, importance_check, pareto_k
from wmrl.log_joint import LogJoint, Term
from wmrl.variational_family import VariationalFamily


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_the_shape_of_a_known_tail(k: float) -> None:
    """Weights that are generalised Pareto: (U^−k − 1) / k."""
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


def test_each_verdict() -> None:
    def said(k: float, samples: int = 4000, outside: int = 0) -> str:
        return ImportanceCheck(0.0, 0.0, 0.0, k, samples, outside).verdict

    found = [said(k).split(":")[0] for k in (0.4, 0.6, 0.9, 2.0)]
    assert found == ["good", "usable", "bad", "very bad"]
    # 1 − 1 / log₁₀ 100 = 0.5, and of 25 draws 0.285.
    assert [said(k, 100).split(":")[0] for k in (0.49, 0.51, 0.9)] == ["good", "unclear", "bad"]
    assert said(0.3, 25) == "unclear: 25 draws are too few to tell; take more"
    assert said(0.1, outside=3).startswith("bad: 3 of 4000 draws are where the posterior is 0")


@pytest.mark.parametrize(("edge", "least"), [(1.0, 1), (-2.9, 990)])
def test_a_q_that_goes_beyond_the_support_is_bad(edge: float, least: int) -> None:
    """Whether few of its draws are out there or nearly all: the ELBO is −∞."""
    check = importance_check(
        LogJoint({"p": lambda z: torch.where(z < edge, -(z**2) / 2, -torch.inf)}),
        VariationalFamily({"z": NormalFactor()}),
        samples=1000,
        generator=torch.Generator().manual_seed(0),
    )
    assert check.outside >= least
    assert (check.elbo, check.elbo_se) == (-math.inf, math.inf)
    assert check.verdict.startswith(f"bad: {check.outside} of 1000 draws")
    assert math.isfinite(check.log_evidence)
    assert not math.isnan(check.pareto_k)


def test_many_rows_are_weighed_by_few_draws_at_a_time() -> None:
    """The check needs memory for all rows of every draw that it looks at together."""
    seen = []

    def data(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append(len(z))
        return Normal(z[:, None], 1.0).log_prob(y).sum(1)

    y = torch.zeros(2**21)
    check = importance_check(
        LogJoint({"y": Term(data, {"y": y}, rows=("y",))}),
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
    with pytest.raises(ValueError, match="samples: expected at least 25, for a tail"):
        importance_check(LogJoint({"p": lambda z: -z}), family, samples=24, generator=generator)
    with pytest.raises(ValueError, match=r"got NaN or \+∞ at \d+ of 30 draws, of term 'q'$"):
        importance_check(
            LogJoint({"p": lambda z: -z, "q": lambda z: z.log()}),
            family,
            samples=30,
            generator=generator,
        )
