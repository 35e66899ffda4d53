"""A watch over a fit's numbers, which tells the first step where not all were finite."""

from collections.abc import Mapping

import torch
from torch import Tensor

from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint


class FiniteWatch:
    """What was not finite at the first step where not all was.

    It is counted on the device: to look at each step would be to wait for it.

    Args:
        log_joint: whose terms are watched.
        family: whose parameters are, where they are learned.

    Attributes:
        fine: ``()``, 1 while all was finite, else 0.
        steps: ``()``, how many there were before the first that was not.
    """

    def __init__(self, log_joint: LogJoint, family: VariationalFamily) -> None:
        self._log_joint, self._family = log_joint, family
        zero = torch.zeros((), device=family.device)
        self._terms = dict.fromkeys(log_joint.terms, zero)
        self._factors = dict.fromkeys(family.names, zero)
        self.steps = zero
        self.fine = zero + 1.0

    def note(self, terms: Mapping[str, Tensor]) -> None:
        """A step's values of the terms, ``(S,)`` or ``(S, *E)``, and the parameters after it."""
        sound = []
        for name, value in terms.items():
            sound.append(self._count(self._terms, name, bad_draws(value)))
        for name, factor in self._family.items():
            wild = [bad_draws(each[None]) for each in factor.parameters() if each.requires_grad]
            if wild:
                sound.append(self._count(self._factors, name, torch.stack(wild).sum()))
        self.fine = self.fine * torch.stack(sound).all()
        self.steps = self.steps + self.fine

    def blame(self) -> str:
        """Which terms were not finite, or else which factors' gradients."""
        terms = self._log_joint.terms
        said = [
            f"term {name!r}, of {', '.join(terms[name].variables)}, was not finite at {int(count)} "
            "draws"
            for name, count in self._terms.items()
            if int(count)
        ]
        for variable, count in self._factors.items() if not said else ():
            if int(count):
                named = [repr(name) for name, each in terms.items() if variable in each.variables]
                said.append(
                    f"the gradient of factor {variable!r}, by term {' or '.join(named)}, was not "
                    "finite"
                )
        return "; ".join(said)

    def _count(self, counts: dict[str, Tensor], name: str, bad: Tensor) -> Tensor:
        counts[name] = counts[name] + self.fine * bad
        return bad == 0


def bad_draws(values: Tensor) -> Tensor:
    """How many of S values ``(S, …)`` have a number that is not finite, ``()``."""
    return (~torch.isfinite(values)).reshape(len(values), -1).any(1).sum()
