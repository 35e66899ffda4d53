"""KL(q‖p) of two normal distributions, and its gradient, both exact and approximate.

A gradient is a pair of derivatives: with respect to the mean and to the standard deviation of q.
"""

import math
from typing import NamedTuple

import numpy as np

_LOG_ROOT_TAU = 0.5 * math.log(math.tau)


class Gaussian(NamedTuple):
    """Normal distribution N(mean, std²)."""

    mean: float
    std: float

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Computes the log density at points of any shape."""
        z = (points - self.mean) / self.std
        return -0.5 * z * z - (math.log(self.std) + _LOG_ROOT_TAU)

    def density(self, points: np.ndarray) -> np.ndarray:
        """Computes the density at points of any shape."""
        found: np.ndarray = np.exp(self.log_density(points))
        return found

    def mass(self, low: float, high: float) -> float:
        """Computes the probability of the interval from ``low`` to ``high``."""
        below = [math.erf((x - self.mean) / (self.std * math.sqrt(2))) for x in (low, high)]
        return 0.5 * (below[1] - below[0])


def kl_divergence(q: Gaussian, p: Gaussian) -> float:
    """Computes KL(q‖p) = log(σ_p/σ_q) + (σ_q² + (μ_q − μ_p)²) / 2σ_p² − ½ in nats."""
    square = (q.std**2 + (q.mean - p.mean) ** 2) / p.std**2
    return math.log(p.std / q.std) + 0.5 * square - 0.5


def kl_divergence_gradient(q: Gaussian, p: Gaussian) -> tuple[float, float]:
    """Computes the derivatives of KL(q‖p) with respect to the mean and the std of q."""
    return (q.mean - p.mean) / p.std**2, q.std / p.std**2 - 1 / q.std


def riemann_kl(q: Gaussian, p: Gaussian, points: np.ndarray, width: float) -> float:
    """Computes the Riemann sum Σ width · q log(q/p), an approximation of KL(q‖p) in nats.

    The approximation is good only if the points span both densities.

    Args:
        q: distribution to fit.
        p: target.
        points: evenly spaced points, ``(N,) float64``.
        width: width of the interval that each point represents.
    """
    log_q = q.log_density(points)
    return width * float(np.exp(log_q) @ (log_q - p.log_density(points)))


def riemann_kl_gradient(
    q: Gaussian, p: Gaussian, points: np.ndarray, width: float
) -> tuple[float, float]:
    """Computes the derivatives of :func:`riemann_kl` with respect to the mean and the std of q.

    The gradient is Σ width · q (log(q/p) + 1) ∇log q. The points are treated as constants, even if
    they were chosen to span q.
    """
    z = (points - q.mean) / q.std
    log_q = -0.5 * z * z - (math.log(q.std) + _LOG_ROOT_TAU)
    weights = np.exp(log_q) * (log_q - p.log_density(points) + 1.0)
    scale = width / q.std
    return scale * float(weights @ z), scale * float(weights @ (z * z - 1.0))


def reparameterized_gradient(q: Gaussian, p: Gaussian, noise: np.ndarray) -> tuple[float, float]:
    """Estimates the gradient of KL(q‖p) from reparameterized samples x = μ_q + σ_q · noise.

    Up to a constant, KL(q‖p) is the expectation of −log σ_q + ½((x − μ_p)/σ_p)². The mean of this
    expression over the samples is differentiated with respect to μ_q and σ_q.

    Args:
        q: distribution to fit.
        p: target.
        noise: standard normal samples, ``(S,) float64``.
    """
    by_x = (q.mean + q.std * noise - p.mean) / p.std**2
    return float(by_x.mean()), float(by_x @ noise) / len(noise) - 1 / q.std
