"""KL(q‖p) of two Gaussians: exact, as a Riemann sum, and from draws, each with its gradient.

Gradients are those by q's mean and standard deviation, in this order; p is fixed.
"""

import math
from typing import NamedTuple

import numpy as np

_LOG_ROOT_TAU = 0.5 * math.log(math.tau)


class Gaussian(NamedTuple):
    """N(mean, std²)."""

    mean: float
    std: float

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Logarithm of the density at points of any shape."""
        z = (points - self.mean) / self.std
        return -0.5 * z * z - (math.log(self.std) + _LOG_ROOT_TAU)

    def density(self, points: np.ndarray) -> np.ndarray:
        """The density at points of any shape."""
        found: np.ndarray = np.exp(self.log_density(points))
        return found

    def mass(self, low: float, high: float) -> float:
        """Probability of the interval."""
        below = [math.erf((x - self.mean) / (self.std * math.sqrt(2))) for x in (low, high)]
        return 0.5 * (below[1] - below[0])


def gaussian_kl(q: Gaussian, p: Gaussian) -> float:
    """KL(q‖p) = log(σ_p/σ_q) + (σ_q² + (μ_q − μ_p)²) / 2σ_p² − ½."""
    square = (q.std**2 + (q.mean - p.mean) ** 2) / p.std**2
    return math.log(p.std / q.std) + 0.5 * square - 0.5


def gaussian_kl_gradient(q: Gaussian, p: Gaussian) -> tuple[float, float]:
    """Gradient of :func:`gaussian_kl`."""
    return (q.mean - p.mean) / p.std**2, q.std / p.std**2 - 1 / q.std


def riemann_kl(q: Gaussian, p: Gaussian, points: np.ndarray, width: float) -> float:
    """Σ width · q log(q/p): KL(q‖p) where the points span both, and anything where not.

    Args:
        q: the density that learns.
        p: the target.
        points: where the sum is taken, ``(N,) float64``, evenly spaced.
        width: that each point stands for.
    """
    log_q = q.log_density(points)
    return width * float(np.exp(log_q) @ (log_q - p.log_density(points)))


def riemann_kl_gradient(
    q: Gaussian, p: Gaussian, points: np.ndarray, width: float
) -> tuple[float, float]:
    """Gradient of :func:`riemann_kl`, whose points are held: Σ width · q (log(q/p) + 1) ∇log q."""
    z = (points - q.mean) / q.std
    log_q = -0.5 * z * z - (math.log(q.std) + _LOG_ROOT_TAU)
    weights = np.exp(log_q) * (log_q - p.log_density(points) + 1.0)
    scale = width / q.std
    return scale * float(weights @ z), scale * float(weights @ (z * z - 1.0))


def reparameterised_gradient(q: Gaussian, p: Gaussian, noise: np.ndarray) -> tuple[float, float]:
    """Gradient of the mean of −log σ_q + ½((x − μ_p)/σ_p)² over draws x = μ_q + σ_q · noise.

    That mean is KL(q‖p) up to a constant, in expectation.

    Args:
        q: the density that learns.
        p: the target.
        noise: standard normal, ``(S,) float64``.
    """
    pull = (q.mean + q.std * noise - p.mean) / p.std**2  # by x
    return float(pull.mean()), float(pull @ noise) / len(noise) - 1 / q.std
