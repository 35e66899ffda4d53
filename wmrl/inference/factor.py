"""Interface of variational factors: distributions of a single latent variable."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

Numbers = float | Sequence[float] | Tensor
"""Number, sequence of numbers, or tensor, which is broadcast to the shape of a parameter."""


class Factor(nn.Module, ABC):
    """Variational distribution q(z; λ) of one latent variable z.

    A subclass stores λ as unconstrained parameters and implements two methods. The method
    :meth:`distribution` returns q as an object of ``torch.distributions``. The method :meth:`draw`
    draws samples with a given random generator, because the distributions of PyTorch do not accept
    a generator.

    If the elements of z are independent, the method :meth:`log_prob` returns one value for each
    element, and the shape of each parameter must begin with ``shape``. If the elements are drawn
    jointly, :meth:`log_prob` returns a single value.

    Attributes:
        shape: shape of z.
        reparameterized: True if samples are differentiable with respect to λ.
        support: description of the support of q, for error messages.
    """

    shape: tuple[int, ...]
    reparameterized: ClassVar[bool]
    support: ClassVar[str]

    @abstractmethod
    def distribution(self) -> Distribution:
        """Returns the distribution q(z; λ) with the current parameters λ."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws S samples of z, ``(S, *shape)``.

        The samples are differentiable with respect to the factor's parameters if
        ``reparameterized`` is True.

        Args:
            count: S, number of samples.
            generator: random generator on the factor's device.
        """

    def log_prob(self, values: Tensor) -> Tensor:
        """Computes the log density log q(z) at S values of z.

        Args:
            values: S values of z, ``(S, *shape)``.

        Returns:
            One log density per element of z, ``(S, *shape)``, if the elements are independent. One
            log density per value of z, ``(S,)``, if the elements are drawn jointly.
        """
        found: Tensor = self.distribution().log_prob(values)
        return found

    def forward(self, values: Tensor) -> Tensor:
        """Calls :meth:`log_prob`, because ``torch.func.functional_call`` calls ``forward``."""
        return self.log_prob(values)

    def log_prob_with(self, parameters: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """Computes :meth:`log_prob` with given parameters in place of the factor's own.

        Args:
            parameters: tensors by parameter name. Each tensor has the shape of the parameter that
                it replaces. If each of the S values has its own parameters, the tensors have an
                additional first axis of length S.
            values: S values of z, ``(S, *shape)``.
        """
        found: Tensor = torch.func.functional_call(self, dict(parameters), (values,))
        return found

    @property
    def mean(self) -> Tensor:
        """Mean of z under q.

        The mean has the shape of z. For a categorical variable, it is instead the mean of the
        one-hot encoding: the probabilities of the K categories, ``(*shape, K)``.
        """
        return self.distribution().mean.detach()

    @property
    def std(self) -> Tensor:
        """Standard deviation of z, with the shape of :attr:`mean`."""
        return self.distribution().stddev.detach()

    @property
    def device(self) -> torch.device:
        """Device of the factor's parameters."""
        return next(self.parameters()).device


def initial_values(name: str, value: Numbers, shape: tuple[int, ...], *, above: float) -> Tensor:
    """Broadcasts initial values to the shape of a factor's parameter, as float32.

    Args:
        name: name of the argument, for error messages.
        value: numbers that broadcast to ``shape``.
        shape: shape of the result.
        above: exclusive lower bound of the values; −∞ allows any finite number.

    Raises:
        ValueError: the values don't broadcast to ``shape``, or a value is not finite, or is not
            greater than ``above``.
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
        ValueError: an axis has a length below 1.
        TypeError: the length of an axis is not an integer.
    """
    try:
        lengths = tuple(map(index, shape)) if isinstance(shape, Iterable) else (index(shape),)
    except TypeError as error:
        raise TypeError(f"shape: expected integers, got {shape!r}") from error
    if any(length < 1 for length in lengths):
        raise ValueError(f"shape: expected axes of length 1 or more, got {lengths}")
    return lengths
