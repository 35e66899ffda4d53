"""Detection of terms and gradients that are not finite during a fit."""

from collections.abc import Mapping

import torch
from torch import Tensor

from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint


class NonFiniteTracker:
    """Tracks which terms and parameters were not finite at the first step with such values.

    Counts stay on the device: reading them at each step would force a synchronization.

    Args:
        log_joint: log joint whose terms are tracked.
        family: family whose trainable parameters are tracked.

    Attributes:
        all_finite: ``()``, 1 while all values have been finite, else 0.
        finite_steps: ``()``, number of steps before the first non-finite one.
    """

    def __init__(self, log_joint: LogJoint, family: VariationalFamily) -> None:
        self._log_joint, self._family = log_joint, family
        zero = torch.zeros((), device=family.device)
        self._terms = dict.fromkeys(log_joint.terms, zero)
        self._factors = dict.fromkeys(family.names, zero)
        self.finite_steps = zero
        self.all_finite = zero + 1.0

    def update(self, terms: Mapping[str, Tensor]) -> None:
        """Adds a step: its values of the terms, ``(S,)`` or ``(S, *E)``, and the new parameters."""
        finite = []
        for name, value in terms.items():
            finite.append(self._count(self._terms, name, count_nonfinite(value)))
        for name, factor in self._family.items():
            counts = [
                count_nonfinite(each[None]) for each in factor.parameters() if each.requires_grad
            ]
            if counts:
                finite.append(self._count(self._factors, name, torch.stack(counts).sum()))
        self.all_finite = self.all_finite * torch.stack(finite).all()
        self.finite_steps = self.finite_steps + self.all_finite

    def describe(self) -> str:
        """Names the terms that were not finite, or else the factors whose gradients were not."""
        terms = self._log_joint.terms
        parts = [
            f"term {name!r}, of {', '.join(terms[name].variables)}, was not finite at {int(count)} "
            "samples"
            for name, count in self._terms.items()
            if int(count)
        ]
        for variable, count in self._factors.items() if not parts else ():
            if int(count):
                named = [repr(name) for name, each in terms.items() if variable in each.variables]
                parts.append(
                    f"the gradient of factor {variable!r}, by term {' or '.join(named)}, was not "
                    "finite"
                )
        return "; ".join(parts)

    def _count(self, counts: dict[str, Tensor], name: str, bad: Tensor) -> Tensor:
        counts[name] = counts[name] + self.all_finite * bad
        return bad == 0


def count_nonfinite(values: Tensor) -> Tensor:
    """Counts the samples among ``(S, …)`` with an element that is not finite, ``()``."""
    return (~torch.isfinite(values)).reshape(len(values), -1).any(1).sum()
