"""Gaussian factors: of independent numbers, of positive ones, and of numbers drawn together."""

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

from wmrl.inference.factor import Factor, checked_shape, start

Numbers = float | Sequence[float] | Tensor


class NormalFactor(Factor):
    """Independent Gaussians: N(μ, σ²) for each number of z.

    Args:
        shape: of z; ``()`` for one number.
        mean: where μ starts.
        std: where σ starts.
    """

    reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "all real numbers"

    def __init__(
        self, shape: int | Sequence[int] = (), *, mean: Numbers = 0.0, std: Numbers = 1.0
    ) -> None:
        super().__init__()
        self.shape = checked_shape(shape)
        self.loc = nn.Parameter(start("mean", mean, self.shape, least=-math.inf))
        self.log_scale = nn.Parameter(start("std", std, self.shape, least=0.0).log())

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        return Normal(self.loc, self.log_scale.exp(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        noise = _noise(self.loc, (count, *self.shape), generator)
        return self.loc + self.log_scale.exp() * noise


class LogNormalFactor(NormalFactor):
    """Independent log-normals: log z is N(μ, σ²).

    Args:
        shape: of z.
        mean: where μ, the mean of log z, starts.
        std: where σ, the std of log z, starts.
    """

    support: ClassVar[str] = "numbers above 0"

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        return LogNormal(self.loc, self.log_scale.exp(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        return super().draw(count, generator).exp()


class MultivariateNormalFactor(Factor):
    """A Gaussian with any covariance: N(μ, LLᵀ), with the diagonal of L through exp.

    Args:
        size: D, numbers of z.
        mean: where μ starts, ``(D,)``.
        std: where the standard deviations start, with no correlation, ``(D,)``.
    """

    reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "all real numbers"

    def __init__(self, size: int, *, mean: Numbers = 0.0, std: Numbers = 1.0) -> None:
        super().__init__()
        self.shape = _one_axis(size)
        self.loc = nn.Parameter(start("mean", mean, self.shape, least=-math.inf))
        self.log_scale = nn.Parameter(start("std", std, self.shape, least=0.0).log())
        # Below its diagonal: that of L.
        self.lower = nn.Parameter(torch.zeros(*self.shape, *self.shape, dtype=torch.float32))

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        return MultivariateNormal(self.loc, scale_tril=self._scale(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        return self.loc + _noise(self.loc, (count, *self.shape), generator) @ self._scale().mT

    def _scale(self) -> Tensor:
        return self.lower.tril(-1) + torch.diag_embed(self.log_scale.exp())


class LowRankNormalFactor(Factor):
    """A Gaussian with few directions of correlation: N(μ, WWᵀ + diag(σ²)).

    Args:
        size: D, numbers of z.
        rank: R, columns of W.
        mean: where μ starts, ``(D,)``.
        std: where σ starts, ``(D,)``.
        generator: of W's start, a tenth of σ's size; seed 0 if None.
    """

    reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "all real numbers"

    def __init__(
        self,
        size: int,
        rank: int,
        *,
        mean: Numbers = 0.0,
        std: Numbers = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank: expected at least 1, got {rank}")
        self.shape = _one_axis(size)
        self.loc = nn.Parameter(start("mean", mean, self.shape, least=-math.inf))
        self.log_scale = nn.Parameter(start("std", std, self.shape, least=0.0).log())
        generator = generator or torch.Generator().manual_seed(0)
        noise = torch.randn(*self.shape, rank, generator=generator, dtype=torch.float32)
        spread = 0.1 * self.log_scale.detach().exp()[:, None]
        self.directions = nn.Parameter(spread * (noise / math.sqrt(rank)))

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        return LowRankMultivariateNormal(
            self.loc, self.directions, (2.0 * self.log_scale).exp(), validate_args=False
        )

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        own = _noise(self.loc, (count, *self.shape), generator)
        shared = _noise(self.loc, (count, self.directions.shape[1]), generator)
        return self.loc + self.log_scale.exp() * own + shared @ self.directions.mT


def _one_axis(size: int) -> tuple[int]:
    shape = checked_shape(size)
    if len(shape) != 1:
        raise ValueError(f"size: expected one number, got {size!r}; make the variable one vector")
    return shape


def _noise(like: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
