"""Discrete factors: Bernoulli and categorical distributions."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution

from wmrl.core.validation import check_int
from wmrl.inference.factor import Factor, Numbers, checked_shape, initial_values


class BernoulliFactor(Factor):
    """Independent Bernoulli variables: each element of z is 1.0 with probability p, else 0.0.

    Args:
        shape: shape of z.
        probability: initial p of each element, numbers above 0 and below 1 that broadcast to
            ``shape``.
    """

    reparameterized: ClassVar[bool] = False
    support: ClassVar[str] = "0 and 1"

    def __init__(
        self,
        shape: int | Sequence[int] = (),
        *,
        probability: Numbers = 0.5,
    ) -> None:
        super().__init__()
        self.shape = checked_shape(shape)
        initial = initial_values("probability", probability, self.shape, above=0.0)
        if not (initial < 1.0).all():
            raise ValueError(f"probability: expected numbers below 1, got {probability}")
        self.logits = nn.Parameter(torch.logit(initial))

    def distribution(self) -> Distribution:
        """Returns the distribution of the variable z: one Bernoulli distribution per element."""
        return Bernoulli(logits=self.logits, validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws samples of z, ``(count, *shape)``, without gradients."""
        chances = self.logits.detach().sigmoid().expand(count, *self.shape)
        return torch.bernoulli(chances, generator=generator)


class CategoricalFactor(Factor):
    """Independent categorical variables: each element of z is an ``int64`` from 0 to K − 1.

    Args:
        num_categories: K, number of categories.
        shape: shape of z.
        probabilities: initial probabilities of the categories, above 0, ``(*shape, K)`` or
            ``(K,)``; uniform if None.
    """

    reparameterized: ClassVar[bool] = False
    support: ClassVar[str] = "integers from 0 to K − 1"

    def __init__(
        self,
        num_categories: int,
        shape: int | Sequence[int] = (),
        *,
        probabilities: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        check_int("num_categories", num_categories, at_least=2)
        self.shape = checked_shape(shape)
        given = 1.0 / num_categories if probabilities is None else probabilities
        initial = initial_values("probabilities", given, (*self.shape, num_categories), above=0.0)
        self.logits = nn.Parameter(initial.log())

    def distribution(self) -> Distribution:
        """Returns the distribution of the variable z: one categorical distribution per element."""
        return Categorical(logits=self.logits, validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws samples of z, ``(count, *shape)``, without gradients."""
        chances = self.logits.detach().softmax(-1).reshape(-1, self.logits.shape[-1])
        drawn = torch.multinomial(chances, count, replacement=True, generator=generator)
        return drawn.T.reshape(count, *self.shape)

    @property
    def mean(self) -> Tensor:
        """Mean of the one-hot encoding of z: the probabilities, ``(*shape, K)``."""
        return self.logits.detach().softmax(-1)

    @property
    def std(self) -> Tensor:
        """Standard deviation of the one-hot encoding of z, ``(*shape, K)``."""
        return (self.mean * (1.0 - self.mean)).sqrt()
