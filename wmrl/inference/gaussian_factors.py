"""Gaussian factors: normal, log-normal, multivariate normal and low-rank normal."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    LogNormal,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from wmrl.core.validation import check_int
from wmrl.inference.factor import Factor, Numbers, checked_shape, initial_values


class NormalFactor(Factor):
    """Independent normal distributions N(μ, σ²), one for each element of z.

    Args:
        shape: shape of z; ``()`` for a scalar.
        mean: initial μ, numbers that broadcast to ``shape``.
        std: initial σ, numbers above 0 that broadcast to ``shape``.

    Example:
        >>> import torch
        >>> from wmrl.inference import NormalFactor
        >>> factor = NormalFactor(2, mean=[0.0, 5.0], std=0.1)
        >>> factor.mean.tolist()
        [0.0, 5.0]
        >>> factor.draw(1000, torch.Generator().manual_seed(0)).shape
        torch.Size([1000, 2])
    """

    reparameterized: ClassVar[bool] = True
    support: ClassVar[str] = "all real numbers"

    def __init__(
        self, shape: int | Sequence[int] = (), *, mean: Numbers = 0.0, std: Numbers = 1.0
    ) -> None:
        super().__init__()
        self.shape = checked_shape(shape)
        self.loc = nn.Parameter(initial_values("mean", mean, self.shape, above=-math.inf))
        self.log_scale = nn.Parameter(initial_values("std", std, self.shape, above=0.0).log())

    def distribution(self) -> Distribution:
        """Returns one normal distribution per element of z, as a batch."""
        return Normal(self.loc, self.log_scale.exp(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws samples ``(count, *shape)``, differentiable with respect to the parameters."""
        noise = _noise(self.loc, (count, *self.shape), generator)
        return self.loc + self.log_scale.exp() * noise


class LogNormalFactor(NormalFactor):
    """Independent log-normal distributions: log z is distributed as N(μ, σ²), element by element.

    Args:
        shape: shape of z; ``()`` for a scalar.
        mean: initial μ, the mean of log z; numbers that broadcast to ``shape``.
        std: initial σ, the standard deviation of log z; numbers above 0 that broadcast to
            ``shape``.
    """

    support: ClassVar[str] = "numbers above 0"

    def distribution(self) -> Distribution:
        """Returns one log-normal distribution per element of z, as a batch."""
        return LogNormal(self.loc, self.log_scale.exp(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws samples ``(count, *shape)``, differentiable with respect to the parameters."""
        return super().draw(count, generator).exp()


class MultivariateNormalFactor(Factor):
    """Multivariate normal distribution N(μ, LLᵀ), with a lower triangular matrix L.

    The parameters are μ, the elements of L below its diagonal, and the log of L's diagonal.

    Args:
        dim: D, length of z.
        mean: initial μ, numbers that broadcast to ``(D,)``.
        std: initial standard deviations, numbers above 0 that broadcast to ``(D,)``; the initial
            correlations are 0.
    """

    reparameterized: ClassVar[bool] = True
    support: ClassVar[str] = "all real numbers"

    def __init__(self, dim: int, *, mean: Numbers = 0.0, std: Numbers = 1.0) -> None:
        super().__init__()
        self.shape = _one_axis(dim)
        self.loc = nn.Parameter(initial_values("mean", mean, self.shape, above=-math.inf))
        self.log_scale = nn.Parameter(initial_values("std", std, self.shape, above=0.0).log())
        # Only the elements below the diagonal are used.
        self.lower = nn.Parameter(torch.zeros(*self.shape, *self.shape, dtype=torch.float32))

    def distribution(self) -> Distribution:
        """Returns the multivariate normal distribution of z."""
        return MultivariateNormal(self.loc, scale_tril=self._scale(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws samples ``(count, *shape)``, differentiable with respect to the parameters."""
        return self.loc + _noise(self.loc, (count, *self.shape), generator) @ self._scale().mT

    def _scale(self) -> Tensor:
        return self.lower.tril(-1) + torch.diag_embed(self.log_scale.exp())


class LowRankNormalFactor(Factor):
    """Normal distribution with a low-rank plus diagonal covariance: N(μ, WWᵀ + diag(σ²)).

    W is a matrix of shape ``(D, R)``.

    Args:
        dim: D, length of z.
        rank: R, number of columns of W.
        mean: initial μ, numbers that broadcast to ``(D,)``.
        std: initial σ, numbers above 0 that broadcast to ``(D,)``.
        generator: CPU random generator for the initial W; None for a new generator with seed 0.
            The rows of the initial W have a norm of about σ / 10.
    """

    reparameterized: ClassVar[bool] = True
    support: ClassVar[str] = "all real numbers"

    def __init__(
        self,
        dim: int,
        rank: int,
        *,
        mean: Numbers = 0.0,
        std: Numbers = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_int("rank", rank, at_least=1)
        self.shape = _one_axis(dim)
        self.loc = nn.Parameter(initial_values("mean", mean, self.shape, above=-math.inf))
        self.log_scale = nn.Parameter(initial_values("std", std, self.shape, above=0.0).log())
        generator = generator or torch.Generator().manual_seed(0)
        noise = torch.randn(*self.shape, rank, generator=generator, dtype=torch.float32)
        spread = 0.1 * self.log_scale.detach().exp()[:, None]
        self.directions = nn.Parameter(spread * (noise / math.sqrt(rank)))

    def distribution(self) -> Distribution:
        """Returns the normal distribution of z, whose covariance is low-rank plus diagonal."""
        return LowRankMultivariateNormal(
            self.loc, self.directions, (2.0 * self.log_scale).exp(), validate_args=False
        )

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws samples ``(count, *shape)``, differentiable with respect to the parameters."""
        own = _noise(self.loc, (count, *self.shape), generator)
        shared = _noise(self.loc, (count, self.directions.shape[1]), generator)
        return self.loc + self.log_scale.exp() * own + shared @ self.directions.mT


def _one_axis(dim: int) -> tuple[int]:
    """Checks the length D of a vector, and returns the shape ``(D,)``."""
    shape = checked_shape(dim)
    if len(shape) != 1:
        raise ValueError(
            f"dim: expected one integer, got {dim!r}; flatten the variable to one axis"
        )
    return shape


def _noise(like: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
