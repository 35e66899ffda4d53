"""Discrete factors: of yes and no, and of one of several."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution

from wmrl.inference.factor import Factor, checked_shape, start


class BernoulliFactor(Factor):
    """Independent yes and no: z is 1.0 with probability p, else 0.0.

    Args:
        shape: of z.
        probability: where p starts.
    """

    reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = "0 and 1"

    def __init__(
        self,
        shape: int | Sequence[int] = (),
        *,
        probability: float | Sequence[float] | Tensor = 0.5,
    ) -> None:
        super().__init__()
        self.shape = checked_shape(shape)
        given = start("probability", probability, self.shape, least=0.0)
        if not (given < 1.0).all():
            raise ValueError(f"probability: expected numbers below 1, got {probability}")
        self.logits = nn.Parameter(torch.logit(given))

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        return Bernoulli(logits=self.logits, validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        chances = self.logits.detach().sigmoid().expand(count, *self.shape)
        return torch.bernoulli(chances, generator=generator)


class CategoricalFactor(Factor):
    """Independent choices: z is ``int64`` in 0 … K − 1.

    Args:
        categories: K.
        shape: of z.
        probabilities: where they start, ``(*shape, K)`` or ``(K,)``; even if None.
    """

    reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = "whole numbers from 0 to K − 1"

    def __init__(
        self,
        categories: int,
        shape: int | Sequence[int] = (),
        *,
        probabilities: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        if categories < 2:
            raise ValueError(f"categories: expected at least 2, got {categories}")
        self.shape = checked_shape(shape)
        given = 1.0 / categories if probabilities is None else probabilities
        shares = start("probabilities", given, (*self.shape, categories), least=0.0)
        self.logits = nn.Parameter(shares.log())

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        return Categorical(logits=self.logits, validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        shares = self.logits.detach().softmax(-1).reshape(-1, self.logits.shape[-1])
        drawn = torch.multinomial(shares, count, replacement=True, generator=generator)
        return drawn.T.reshape(count, *self.shape)

    @property
    def mean(self) -> Tensor:
        """Probabilities ``(*shape, K)``: a choice has no mean."""
        return self.logits.detach().softmax(-1)

    @property
    def std(self) -> Tensor:
        """Standard deviations ``(*shape, K)`` of whether each is chosen."""
        return (self.mean * (1.0 - self.mean)).sqrt()
