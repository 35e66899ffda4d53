"""Mean-field variational families, with an independent factor for each latent variable."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from wmrl.inference.factor import Factor


class VariationalFamily(nn.Module):
    """Variational distribution q(z; λ) = Π q_i(z_i; λ_i) over named latent variables.

    Args:
        factors: factors by variable name, all on one device.

    Raises:
        ValueError: there are no factors, a name is not a Python identifier, or factors share
            parameters.

    Example:
        >>> import torch
        >>> from wmrl.inference import NormalFactor, VariationalFamily
        >>> family = VariationalFamily({"slope": NormalFactor(3), "noise": NormalFactor(std=0.5)})
        >>> samples = family.draw(5, torch.Generator().manual_seed(0))
        >>> {name: tuple(value.shape) for name, value in samples.items()}
        {'slope': (5, 3), 'noise': (5,)}
        >>> family.log_prob(samples).shape
        torch.Size([5])
    """

    def __init__(self, factors: Mapping[str, Factor]) -> None:
        super().__init__()
        if not factors:
            raise ValueError("factors: expected at least one factor, got none")
        for name in factors:
            if not name.isidentifier():
                raise ValueError(f"factors: expected Python identifiers as names, got {name!r}")
        shared = {id(parameter) for factor in factors.values() for parameter in factor.parameters()}
        if len(shared) < sum(len(list(factor.parameters())) for factor in factors.values()):
            raise ValueError(
                f"factors: expected separate parameters for each variable ({', '.join(factors)}), "
                "got factors that share parameters; use copy.deepcopy to copy a factor"
            )
        self._names = tuple(factors)
        # A ModuleDict rejects the names of its own attributes, such as "values".
        self._factors = nn.ModuleList(factors.values())

    def __getitem__(self, name: str) -> Factor:
        """Returns the factor of a variable.

        Raises:
            KeyError: the family has no such variable.
        """
        if name not in self._names:
            raise KeyError(
                f"name: expected the name of a variable ({', '.join(self._names)}), got {name!r}"
            )
        factor = self._factors[self._names.index(name)]
        assert isinstance(factor, Factor)
        return factor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def items(self) -> Iterator[tuple[str, Factor]]:
        """Iterates over pairs of a variable's name and its factor."""
        return ((name, self[name]) for name in self)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables."""
        return self._names

    @property
    def device(self) -> torch.device:
        """Device of the factors' parameters."""
        return next(self.parameters()).device

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws samples of all variables, without gradients.

        Args:
            count: number of samples.
            generator: random generator on the family's device.

        Returns:
            Samples by variable name, each ``(count, *shape)``, where ``shape`` is the shape of the
            variable.
        """
        with torch.no_grad():
            return {name: factor.draw(count, generator) for name, factor in self.items()}

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        """Computes the log density log q, the sum of the log densities of all factors.

        Args:
            values: S samples by variable name, ``(S, *shape)`` each.

        Returns:
            Log density of each sample, ``(S,)``.
        """
        each = [sum_elements(factor.log_prob(values[name])) for name, factor in self.items()]
        return torch.stack(each).sum(0)


def sum_elements(values: Tensor) -> Tensor:
    """Sums values ``(S, …)`` over all axes but the first, and returns ``(S,)``."""
    return values if values.ndim == 1 else values.flatten(1).sum(1)
