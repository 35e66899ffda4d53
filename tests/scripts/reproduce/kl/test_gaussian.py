import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import distributions
from torch.distributions import Normal

from wmrl.scripts.reproduce.kl.gaussian import (
    Gaussian,
    kl_divergence,
    kl_divergence_gradient,
    reparameterized_gradient,
    riemann_kl,
    riemann_kl_gradient,
)

P = Gaussian(1.0, 0.3)
Q = Gaussian(1.7, 0.55)
WIDE, NARROW = np.linspace(-6.0, 9.0, 5001), np.linspace(1.2, 2.9, 500)


def slopes(value: Callable[[Gaussian], float], q: Gaussian, step: float = 1e-5) -> list[float]:
    """By finite differences."""
    found = []
    for by in ((step, 0.0), (0.0, step)):
        above, below = (Gaussian(q.mean + s * by[0], q.std + s * by[1]) for s in (1, -1))
        found.append((value(above) - value(below)) / (2 * step))
    return found


@pytest.mark.parametrize(
    ("q", "p", "expected"),
    [
        (P, P, 0.0),
        (Gaussian(0.0, 1.0), Gaussian(0.0, 2.0), math.log(2) + 1 / 8 - 1 / 2),
        (Gaussian(0.0, 2.0), Gaussian(0.0, 1.0), -math.log(2) + 2 - 1 / 2),
        (Gaussian(3.0, 1.0), Gaussian(0.0, 1.0), 4.5),
        (Gaussian(5.0, 0.8), P, math.log(3 / 8) + 16.64 / 0.18 - 0.5),
    ],
)
def test_exact(q: Gaussian, p: Gaussian, expected: float) -> None:
    assert kl_divergence(q, p) == pytest.approx(expected, abs=1e-12)


def test_exact_as_torch_has_it() -> None:
    mean, std, *target = (torch.tensor(x, dtype=torch.float64) for x in (*Q, *P))
    expected = distributions.kl_divergence(
        Normal(mean.requires_grad_(), std.requires_grad_()), Normal(*target)
    )
    expected.backward()
    assert kl_divergence(Q, P) == pytest.approx(expected.item(), rel=1e-12)
    assert kl_divergence_gradient(Q, P) == pytest.approx(
        (float(mean.grad), float(std.grad)), rel=1e-12
    )


def test_density_and_mass() -> None:
    points = np.array([1.0, 1.3])
    peak = 1 / (0.3 * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(P.density(points), [peak, peak * math.exp(-0.5)])
    np.testing.assert_allclose(P.log_density(points), np.log(P.density(points)))
    assert P.mass(0.7, 1.3) == pytest.approx(0.6826895)
    assert P.mass(1.0, math.inf) == pytest.approx(0.5)


def test_a_sum_over_both_is_exact() -> None:
    width = float(WIDE[1] - WIDE[0])
    assert riemann_kl(Q, P, WIDE, width) == pytest.approx(kl_divergence(Q, P), rel=1e-9)
    found = riemann_kl_gradient(Q, P, WIDE, width)
    assert found == pytest.approx(kl_divergence_gradient(Q, P), rel=1e-9)


def test_a_sum_over_a_part_can_be_below_zero() -> None:
    points = np.linspace(0.9, 1.1, 500)  # where q is less than p
    assert riemann_kl(Q, P, points, 0.2 / 499) < -0.05


@pytest.mark.parametrize("points", [WIDE, NARROW], ids=["all", "a part"])
def test_gradient_of_the_sum(points: np.ndarray) -> None:
    expected = slopes(lambda q: riemann_kl(q, P, points, 0.012), Q)
    assert riemann_kl_gradient(Q, P, points, 0.012) == pytest.approx(expected, rel=1e-6)


def test_gradient_through_samples() -> None:
    noise = np.random.default_rng(0).standard_normal(10)

    def objective(q: Gaussian) -> float:
        x = q.mean + q.std * noise
        return float(np.mean(-math.log(q.std) + 0.5 * ((x - P.mean) / P.std) ** 2))

    assert reparameterized_gradient(Q, P, noise) == pytest.approx(slopes(objective, Q), rel=1e-6)


def test_gradient_through_many_samples_is_exact() -> None:
    half = np.random.default_rng(1).standard_normal(100_000)
    noise = np.concatenate([half, -half]) / half.std()
    found = reparameterized_gradient(Q, P, noise)
    assert found == pytest.approx(kl_divergence_gradient(Q, P), rel=1e-3)
