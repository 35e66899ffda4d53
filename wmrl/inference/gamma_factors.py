"""Factors made of gamma distributions: of positive numbers, and of shares."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Beta, Distribution, Gamma

from wmrl.inference.factor import Factor, checked_shape, start

Numbers = float | Sequence[float] | Tensor


class GammaFactor(Factor):
    """Independent gammas: density ∝ z^(α − 1) exp(−βz).

    Draws are reparameterised implicitly (Figurnov et al. 2018, https://arxiv.org/abs/1805.08498).
    What is learned is log α and the log of the mean α/β: they hardly depend on each other, where α
    and β do.

    Args:
        shape: of z.
        concentration: where α starts.
        rate: where β starts.
    """

    reparameterised: ClassVar[bool] = True
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
        alpha = start("concentration", concentration, self.shape, least=0.0)
        beta = start("rate", rate, self.shape, least=0.0)
        self.log_concentration = nn.Parameter(alpha.log())
        self.log_mean = nn.Parameter(alpha.log() - beta.log())

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        alpha = self.log_concentration.exp()
        return Gamma(alpha, alpha / self.log_mean.exp(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        alpha = self.log_concentration.exp()
        scale = self.log_mean.exp() / alpha  # first: a small draw's gradient is large as it is
        drawn = _standard_gamma(alpha, count, generator) * scale
        return drawn.clamp(min=torch.finfo(drawn.dtype).tiny)


class BetaFactor(Factor):
    """Independent betas: density ∝ z^(α − 1) (1 − z)^(β − 1), for z in (0, 1).

    What is learned is the logit of the mean α/(α + β), and log(α + β). Draws of α or β below about
    0.05 need ``double()``: in single precision many are nearer to 0 or 1 than numbers go.

    Args:
        shape: of z.
        alpha: where α starts.
        beta: where β starts.
    """

    reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "numbers between 0 and 1"

    def __init__(
        self, shape: int | Sequence[int] = (), *, alpha: Numbers = 2.0, beta: Numbers = 2.0
    ) -> None:
        super().__init__()
        self.shape = checked_shape(shape)
        first = start("alpha", alpha, self.shape, least=0.0)
        second = start("beta", beta, self.shape, least=0.0)
        self.logit_mean = nn.Parameter(first.log() - second.log())
        self.log_total = nn.Parameter((first + second).log())

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        return Beta(*self._counts(), validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        first, second = (_standard_gamma(each, count, generator) for each in self._counts())
        limits = torch.finfo(first.dtype)  # 0 and 1 themselves have no density
        return (first / (first + second)).clamp(limits.tiny, 1.0 - limits.eps)

    def _counts(self) -> tuple[Tensor, Tensor]:
        """α and β."""
        total = self.log_total.exp()
        return total * self.logit_mean.sigmoid(), total * (-self.logit_mean).sigmoid()


def _standard_gamma(alpha: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(S, *shape)``, with gradients."""
    copies = alpha.expand(count, *alpha.shape).contiguous()
    drawn = torch._standard_gamma(copies, generator=generator)
    return drawn.clamp(min=torch.finfo(drawn.dtype).tiny)
