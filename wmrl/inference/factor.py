"""Interface of variational factors: distributions over one latent variable each."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

Numbers = float | Sequence[float] | Tensor
"""A scalar or numbers that broadcast to a shape."""


class Factor(nn.Module, ABC):
    """Variational distribution q(z; λ) of one latent variable z.

    A subclass holds λ as unconstrained parameters and implements two methods: :meth:`distribution`
    builds q from λ, and :meth:`draw` samples it with a given generator, which
    ``torch.distributions`` doesn't support.

    Each parameter is ``(*E, …)``, where E is the shape of ``log_prob`` without the sample axis:
    ``shape`` itself if the elements of z are independent, and ``()`` if they are drawn jointly.

    Attributes:
        shape: shape of z.
        reparameterized: True if samples carry gradients to λ.
        support: description of q's support, for error messages.
    """

    shape: tuple[int, ...]
    reparameterized: ClassVar[bool]
    support: ClassVar[str]

    @abstractmethod
    def distribution(self) -> Distribution:
        """Builds q from the current λ."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws S samples, ``(S, *shape)``, with gradients to λ if ``reparameterized``.

        Args:
            count: S.
            generator: random generator on the factor's device.
        """

    def log_prob(self, values: Tensor) -> Tensor:
        """Computes log q of values ``(S, *shape)``: ``(S, *E)``."""
        found: Tensor = self.distribution().log_prob(values)
        return found

    def forward(self, values: Tensor) -> Tensor:
        """Calls :meth:`log_prob`; :meth:`log_prob_with` needs it in ``forward``."""
        return self.log_prob(values)

    def log_prob_with(self, parameters: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """Computes log q of values ``(S, *shape)`` with other parameters in place of λ.

        Args:
            parameters: tensors by parameter name, of the shapes of the factor's own, or
                ``(S, …)`` of those, one set for each value.
            values: see :meth:`log_prob`.
        """
        found: Tensor = torch.func.functional_call(self, dict(parameters), (values,))
        return found

    @property
    def mean(self) -> Tensor:
        """Mean of z, ``(*shape)``; for a categorical variable its probabilities ``(*shape, K)``."""
        return self.distribution().mean.detach()

    @property
    def std(self) -> Tensor:
        """Standard deviation of z, ``(*shape)``."""
        return self.distribution().stddev.detach()

    @property
    def device(self) -> torch.device:
        """Device of λ."""
        return next(self.parameters()).device


def initial_values(name: str, value: Numbers, shape: tuple[int, ...], *, above: float) -> Tensor:
    """Broadcasts the initial values of a parameter to its shape, float32.

    Args:
        name: the argument's name, for error messages.
        value: numbers that broadcast to ``shape``.
        shape: shape of the result.
        above: exclusive lower bound of the values; −∞ allows any finite number.

    Raises:
        ValueError: the shape doesn't fit, or a value is not finite or not above the bound.
    """
    given = torch.as_tensor(value, dtype=torch.float32)
    try:
        spread = given.expand(shape).clone()
    except RuntimeError as error:
        raise ValueError(
            f"{name}: expected numbers that broadcast to the shape {shape}, got shape "
            f"{tuple(given.shape)}"
        ) from error
    if not (torch.isfinite(spread) & (spread > above)).all():
        wanted = "finite numbers" if above == -torch.inf else f"finite numbers above {above:g}"
        raise ValueError(f"{name}: expected {wanted}, got {value}")
    return spread


def checked_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """Converts a factor's shape to a tuple; an integer N becomes ``(N,)``.

    Raises:
        ValueError: a length is less than 1.
        TypeError: a length is not an integer.
    """
    try:
        lengths = tuple(map(index, shape)) if isinstance(shape, Iterable) else (index(shape),)
    except TypeError as error:
        raise TypeError(f"shape: expected integers, got {shape!r}") from error
    if any(length < 1 for length in lengths):
        raise ValueError(f"shape: expected lengths of at least 1, got {lengths}")
    return lengths
