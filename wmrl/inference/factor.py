"""Factor: one independent part of a variational family."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution


class Factor(nn.Module, ABC):
    """q(z; λ) of one latent variable z.

    A subclass holds λ as unconstrained parameters, says which distribution they make, and how to
    draw from it with a generator of its own, which ``torch.distributions`` can't.

    Each parameter is ``(*E, …)``, where E is the shape of ``log_prob`` without the draws: ``shape``
    itself where z's numbers are independent, and ``()`` where they are drawn together.

    Attributes:
        shape: of z.
        reparameterised: whether draws carry gradients to λ.
        support: in words, for errors.
    """

    shape: tuple[int, ...]
    reparameterised: ClassVar[bool]
    support: ClassVar[str]

    @abstractmethod
    def distribution(self) -> Distribution:
        """Q as λ is now."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """S values, ``(S, *shape)``, with gradients to λ where ``reparameterised``.

        Args:
            count: S.
            generator: on the factor's device.
        """

    def log_prob(self, values: Tensor) -> Tensor:
        """Log q of values ``(S, *shape)``: ``(S, *E)``."""
        found: Tensor = self.distribution().log_prob(values)
        return found

    def forward(self, values: Tensor) -> Tensor:
        """:meth:`log_prob`, so that it can be called with other parameters."""
        return self.log_prob(values)

    def log_prob_with(self, parameters: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """Log q of values ``(S, *shape)`` with other parameters, by their names.

        Args:
            parameters: of the shapes of one's own, or ``(S, …)`` of those, a set for each value.
            values: see :meth:`log_prob`.
        """
        found: Tensor = torch.func.functional_call(self, dict(parameters), (values,))
        return found

    @property
    def mean(self) -> Tensor:
        """``(*shape)``; of a categorical variable the probabilities ``(*shape, K)``."""
        return self.distribution().mean.detach()

    @property
    def std(self) -> Tensor:
        """``(*shape)``."""
        return self.distribution().stddev.detach()

    @property
    def device(self) -> torch.device:
        """Where λ is."""
        return next(self.parameters()).device


def start(
    name: str, value: float | Sequence[float] | Tensor, shape: tuple[int, ...], *, least: float
) -> Tensor:
    """Where parameters start: ``value`` spread over ``shape``, float32.

    Args:
        name: the argument's, for errors.
        value: numbers that broadcast to ``shape``.
        shape: of the result.
        least: what they must exceed; −∞ for any finite number.

    Raises:
        ValueError: they don't, or are not finite.
    """
    given = torch.as_tensor(value, dtype=torch.float32)
    try:
        spread = given.expand(shape).clone()
    except RuntimeError as error:
        raise ValueError(
            f"{name}: expected numbers that fit the shape {shape}, got shape {tuple(given.shape)}"
        ) from error
    if not (torch.isfinite(spread) & (spread > least)).all():
        wanted = "finite numbers" if least == -torch.inf else f"finite numbers above {least:g}"
        raise ValueError(f"{name}: expected {wanted}, got {value}")
    return spread


def checked_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """A factor's shape; an integer N is ``(N,)``.

    Raises:
        ValueError: a size is less than 1.
        TypeError: a size is no whole number.
    """
    try:
        sizes = tuple(map(index, shape)) if isinstance(shape, Iterable) else (index(shape),)
    except TypeError as error:
        raise TypeError(f"shape: expected whole numbers, got {shape!r}") from error
    if any(size < 1 for size in sizes):
        raise ValueError(f"shape: expected sizes of at least 1, got {sizes}")
    return sizes
