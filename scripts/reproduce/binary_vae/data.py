"""Binary vectors that encode points of a mixture of Gaussians."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from wmrl.core.seeding import numpy_generator

_MEANS = np.array([[1.0, 1.0], [-1.0, 0.0], [1.0, -2.0]])


@dataclass(frozen=True)
class BinaryMixture:
    """Three Gaussians in the plane, observed through half-planes.

    A point x of the mixture is observed as the bits tanh(xW) > 0, with W uniform in [0, 3].

    Attributes:
        factors: ``(3, 2, 2)`` A; the covariances are AᵀA.
        weights: ``(3,)`` of the mixture.
        projection: ``(2, X)`` W.
    """

    factors: np.ndarray
    weights: np.ndarray
    projection: np.ndarray

    @classmethod
    def random(cls, *, num_bits: int = 100, seed: int) -> Self:
        """Creates a mixture with normal factors, random weights and a random projection."""
        generator = numpy_generator(seed, "binary mixture")
        factors = generator.standard_normal((3, 2, 2))
        weights = generator.random(3)
        return cls(factors, weights / weights.sum(), 3.0 * generator.random((2, num_bits)))

    def sample(self, count: int, *, seed: int) -> "BinaryPoints":
        """Draws a number of points."""
        generator = numpy_generator(seed, "binary points")
        labels = generator.choice(3, size=count, p=self.weights)
        noise = generator.standard_normal((count, 2))
        points = _MEANS[labels] + np.einsum("nd,nde->ne", noise, self.factors[labels])
        bits = np.tanh(points @ self.projection) > 0.0
        return BinaryPoints(points, labels, torch.from_numpy(bits.astype(np.float32)))


@dataclass(frozen=True)
class BinaryPoints:
    """Points and their observed bits.

    Attributes:
        points: ``(N, 2) float64``.
        labels: ``(N,) int64``, number of the Gaussian that each is drawn from.
        vectors: ``(N, X) float32``, zeros and ones.
    """

    points: np.ndarray
    labels: np.ndarray
    vectors: torch.Tensor
