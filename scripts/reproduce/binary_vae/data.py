"""Binary vectors that encode points of a mixture of Gaussians."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from wmrl.core.seeding import numpy_generator

_MEANS = np.array([[1.0, 1.0], [-1.0, 0.0], [1.0, -2.0]])


@dataclass(frozen=True)
class BinaryMixture:
    """Mixture of three Gaussians in the plane, whose points are observed as bits.

    A point x is observed as the X bits tanh(xW) > 0, where W is the projection.

    Attributes:
        factors: factor A of each Gaussian's covariance AᵀA, ``(3, 2, 2) float64``.
        weights: mixture weights, ``(3,) float64``.
        projection: projection W to X bits, ``(2, X) float64``.
    """

    factors: np.ndarray
    weights: np.ndarray
    projection: np.ndarray

    @classmethod
    def random(cls, *, num_bits: int = 100, seed: int) -> Self:
        """Creates a random mixture with the fixed means (1, 1), (−1, 0) and (1, −2).

        The entries of the covariance factors are drawn from N(0, 1). The entries of the projection
        are drawn uniformly from [0, 3). The mixture weights are drawn uniformly from [0, 1), then
        normalized to a sum of 1.

        Args:
            num_bits: X, number of bits per point.
            seed: root seed.
        """
        generator = numpy_generator(seed, "binary mixture")
        factors = generator.standard_normal((3, 2, 2))
        weights = generator.random(3)
        return cls(factors, weights / weights.sum(), 3.0 * generator.random((2, num_bits)))

    def sample(self, count: int, *, seed: int) -> "BinaryPoints":
        """Draws ``count`` points from the mixture, and computes their bits."""
        generator = numpy_generator(seed, "binary points")
        labels = generator.choice(3, size=count, p=self.weights)
        noise = generator.standard_normal((count, 2))
        points = _MEANS[labels] + np.einsum("nd,nde->ne", noise, self.factors[labels])
        bits = np.tanh(points @ self.projection) > 0.0
        return BinaryPoints(points, labels, torch.from_numpy(bits.astype(np.float32)))


@dataclass(frozen=True)
class BinaryPoints:
    """Points of a mixture and their observed bits.

    Attributes:
        points: points in the plane, ``(N, 2) float64``.
        labels: index of the Gaussian that each point is drawn from, ``(N,) int64``.
        vectors: observed bits, zeros and ones, ``(N, X) float32``.
    """

    points: np.ndarray
    labels: np.ndarray
    vectors: torch.Tensor
