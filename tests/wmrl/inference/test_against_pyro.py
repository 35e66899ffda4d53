"""The same model and family in Pyro; left out where it is not installed (pip install pyro-ppl)."""

import math

import pytest
import torch
from torch.distributions import HalfCauchy, Normal

from wmrl.inference.family import VariationalFamily
from wmrl.inference.fit import FitConfig, fit_posterior
from wmrl.inference.gaussian_factors import LogNormalFactor, NormalFactor
from wmrl.inference.log_joint import LogJoint, Term

pyro = pytest.importorskip("pyro")

Y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
S = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


@pytest.fixture(autouse=True)
def _own_generator():
    """Pyro samples from torch's global generator, and keeps parameters globally."""
    before = torch.get_rng_state()
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()
    torch.set_rng_state(before)


def model() -> None:
    """Eight schools, not centered."""
    mu = pyro.sample("mu", pyro.distributions.Normal(0.0, 5.0))
    tau = pyro.sample("tau", pyro.distributions.HalfCauchy(5.0))
    with pyro.plate("schools", 8):
        theta = pyro.sample("theta", pyro.distributions.Normal(0.0, 1.0))
        pyro.sample("y", pyro.distributions.Normal(mu + tau * theta, S), obs=Y)


def guide() -> None:
    """Gaussians, and a log-normal for τ."""
    positive = pyro.distributions.constraints.positive
    loc = {name: pyro.param(f"{name}_loc", torch.zeros(size)) for name, size in SIZES.items()}
    scale = {
        name: pyro.param(f"{name}_scale", torch.ones(size), constraint=positive)
        for name, size in SIZES.items()
    }
    pyro.sample("mu", pyro.distributions.Normal(loc["mu"], scale["mu"]))
    pyro.sample("tau", pyro.distributions.LogNormal(loc["tau"], scale["tau"]))
    with pyro.plate("schools", 8):
        pyro.sample("theta", pyro.distributions.Normal(loc["theta"], scale["theta"]))


SIZES: dict[str, tuple[int, ...]] = {"mu": (), "tau": (), "theta": (8,)}


@pytest.mark.slow
def test_the_elbo_is_pyro_s() -> None:
    gamma = 0.01 ** (1 / 2000)  # to a hundredth over the run
    optimizer = pyro.optim.ClippedAdam({"lr": 0.05, "lrd": gamma})
    inference = pyro.infer.SVI(
        model, guide, optimizer, pyro.infer.Trace_ELBO(num_particles=16, vectorize_particles=True)
    )
    for _ in range(2000):
        inference.step()
    judge = pyro.infer.Trace_ELBO(num_particles=1000, vectorize_particles=True)
    with torch.no_grad():
        losses = torch.tensor([judge.loss(model, guide) for _ in range(20)])
    theirs, their_error = -float(losses.mean()), float(losses.std()) / math.sqrt(20)
    joint = LogJoint(
        {
            "mu": lambda mu: Normal(0.0, 5.0).log_prob(mu),
            "tau": lambda tau: HalfCauchy(5.0).log_prob(tau),
            "theta": lambda theta: Normal(0.0, 1.0).log_prob(theta).sum(1),
            "data": Term(
                lambda mu, tau, theta, y, s: (
                    Normal(mu[:, None] + tau[:, None] * theta, s).log_prob(y).sum(1)
                ),
                {"y": Y, "s": S},
            ),
        }
    )
    family = VariationalFamily(
        {"mu": NormalFactor(), "tau": LogNormalFactor(), "theta": NormalFactor(8)}
    )
    config = FitConfig(importance_samples=20_000)
    ours = fit_posterior(joint, family, config, progress=False, device="cpu")
    error = math.hypot(their_error, ours.check.elbo_se)
    assert abs(ours.elbo - theirs) < 2 * error
