"""Gamma and beta factors."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Beta, Distribution, Gamma

from wmrl.inference.factor import Factor, Numbers, checked_shape, initial_values


class GammaFactor(Factor):
    """Independent gamma distributions, with density ∝ z^(α − 1) exp(−βz) for z > 0.

    Samples are reparameterized implicitly (Figurnov et al. 2018, https://arxiv.org/abs/1805.08498).
    The parameters are log α and the log of the mean α/β. Unlike α and β, these two parameters
    are orthogonal: their Fisher information matrix is diagonal.

    Args:
        shape: shape of z.
        concentration: initial α, numbers above 0 that broadcast to ``shape``.
        rate: initial β, numbers above 0 that broadcast to ``shape``.

    Example:
        >>> from wmrl.inference import GammaFactor
        >>> factor = GammaFactor(concentration=9.0, rate=3.0)
        >>> round(factor.mean.item(), 3), round(factor.std.item(), 3)
        (3.0, 1.0)
    """

    reparameterized: ClassVar[bool] = True
    support: ClassVar[str] = "numbers above 0"

    def __init__(
        self,
        shape: int | Sequence[int] = (),
        *,
        concentration: Numbers = 2.0,
        rate: Numbers = 2.0,
    ) -> None:
        super().__init__()
        self.shape = checked_shape(shape)
        alpha = initial_values("concentration", concentration, self.shape, above=0.0)
        beta = initial_values("rate", rate, self.shape, above=0.0)
        self.log_concentration = nn.Parameter(alpha.log())
        self.log_mean = nn.Parameter(alpha.log() - beta.log())

    def distribution(self) -> Distribution:
        """Returns one gamma distribution per element of z, as a batch."""
        alpha = self.log_concentration.exp()
        return Gamma(alpha, alpha / self.log_mean.exp(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws samples ``(count, *shape)``, differentiable with respect to the parameters."""
        alpha = self.log_concentration.exp()
        # The scale is computed separately, because gradients of small samples are already large.
        scale = self.log_mean.exp() / alpha
        drawn = _standard_gamma(alpha, count, generator) * scale
        return drawn.clamp(min=torch.finfo(drawn.dtype).tiny)


class BetaFactor(Factor):
    """Independent beta distributions, with density ∝ z^(α − 1) (1 − z)^(β − 1) for 0 < z < 1.

    The parameters are the logit of the mean α/(α + β), and log(α + β). If α or β is below about
    0.05, many samples are closer to 0 or 1 than single precision can represent. In this case, call
    ``double()`` on the factor.

    Args:
        shape: shape of z.
        alpha: initial α, numbers above 0 that broadcast to ``shape``.
        beta: initial β, numbers above 0 that broadcast to ``shape``.
    """

    reparameterized: ClassVar[bool] = True
    support: ClassVar[str] = "numbers between 0 and 1"

    def __init__(
        self, shape: int | Sequence[int] = (), *, alpha: Numbers = 2.0, beta: Numbers = 2.0
    ) -> None:
        super().__init__()
        self.shape = checked_shape(shape)
        first = initial_values("alpha", alpha, self.shape, above=0.0)
        second = initial_values("beta", beta, self.shape, above=0.0)
        self.logit_mean = nn.Parameter(first.log() - second.log())
        self.log_total = nn.Parameter((first + second).log())

    def distribution(self) -> Distribution:
        """Returns one beta distribution per element of z, as a batch."""
        return Beta(*self._concentrations(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws samples ``(count, *shape)``, differentiable with respect to the parameters."""
        first, second = (_standard_gamma(each, count, generator) for each in self._concentrations())
        limits = torch.finfo(first.dtype)  # the density at 0 and 1 may be 0 or infinite
        return (first / (first + second)).clamp(limits.tiny, 1.0 - limits.eps)

    def _concentrations(self) -> tuple[Tensor, Tensor]:
        """Returns the parameters α and β of the beta distributions, each with the shape of z."""
        total = self.log_total.exp()
        return total * self.logit_mean.sigmoid(), total * (-self.logit_mean).sigmoid()


def _standard_gamma(alpha: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws samples of Gamma(α, 1), ``(count, *alpha.shape)``, differentiable in α."""
    copies = alpha.expand(count, *alpha.shape).contiguous()
    drawn = torch._standard_gamma(copies, generator=generator)
    return drawn.clamp(min=torch.finfo(drawn.dtype).tiny)
