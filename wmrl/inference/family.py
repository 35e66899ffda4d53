"""Variational family: named factors, independent of each other."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from wmrl.inference.factor import Factor


class VariationalFamily(nn.Module):
    """q(z; λ) = Π q_i(z_i; λ_i) over named latent variables.

    Args:
        factors: by the names of their variables; all on one device.

    Raises:
        ValueError: there are none, a name is no identifier, or two are one object.
    """

    def __init__(self, factors: Mapping[str, Factor]) -> None:
        super().__init__()
        if not factors:
            raise ValueError("factors: expected at least one, got none")
        for name in factors:
            if not name.isidentifier():
                raise ValueError(f"factors: expected names like those of arguments, got {name!r}")
        shared = {id(parameter) for factor in factors.values() for parameter in factor.parameters()}
        if len(shared) < sum(len(list(factor.parameters())) for factor in factors.values()):
            raise ValueError(
                f"factors: expected a factor of its own for each of {', '.join(factors)}, got "
                "parameters that two of them share; copy.deepcopy makes another"
            )
        self._names = tuple(factors)
        # A module's own attributes would be in the way of names such as "mean" in a ModuleDict.
        self._factors = nn.ModuleList(factors.values())

    def __getitem__(self, name: str) -> Factor:
        """The factor of a variable.

        Raises:
            KeyError: it has none.
        """
        if name not in self._names:
            raise KeyError(f"no factor of {name!r}; there are {', '.join(self._names)}")
        factor = self._factors[self._names.index(name)]
        assert isinstance(factor, Factor)
        return factor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def items(self) -> Iterator[tuple[str, Factor]]:
        """Names and factors."""
        return ((name, self[name]) for name in self)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names."""
        return self._names

    @property
    def device(self) -> torch.device:
        """Where λ is."""
        return next(self.parameters()).device

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """S values of each variable, ``(S, *shape)``, without gradients."""
        with torch.no_grad():
            return {name: factor.draw(count, generator) for name, factor in self.items()}

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        """Log q of values by name, ``(S,)``."""
        each = [summed(factor.log_prob(values[name])) for name, factor in self.items()]
        return torch.stack(each).sum(0)


def summed(values: Tensor) -> Tensor:
    """``(S, …)`` to ``(S,)``."""
    return values if values.ndim == 1 else values.flatten(1).sum(1)
