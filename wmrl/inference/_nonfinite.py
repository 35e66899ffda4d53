"""Detection of non-finite terms and parameters during a fit."""

from collections.abc import Mapping

import torch
from torch import Tensor

from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint


class NonFiniteTracker:
    """Record of the first step of a fit at which a term or a parameter is not finite.

    For this step, the record contains the number of samples at which each term is not finite, and
    the number of non-finite parameters of each factor. These counts are tensors that stay on the
    device, because reading them at each step would force a synchronization.

    Args:
        log_joint: log joint whose terms are tracked.
        family: family whose trainable parameters are tracked.

    Attributes:
        all_finite: 1 if all values so far were finite, else 0; a tensor of shape ``()``.
        finite_steps: number of steps before the first step with a non-finite value; a tensor of
            shape ``()``.
    """

    def __init__(self, log_joint: LogJoint, family: VariationalFamily) -> None:
        self._log_joint, self._family = log_joint, family
        zero = torch.zeros((), device=family.device)
        self._terms = dict.fromkeys(log_joint.terms, zero)
        self._factors = dict.fromkeys(family.names, zero)
        self.finite_steps = zero
        self.all_finite = zero + 1.0

    def update(self, terms: Mapping[str, Tensor]) -> None:
        """Counts the non-finite values of terms and of the family's parameters after a step.

        Args:
            terms: values by term name, at the S samples of the step: ``(S,)``, or ``(S, *E)`` for
                an elementwise term of shape E.
        """
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
        """Describes the first step with a non-finite value, for an error message.

        The description names the non-finite terms. If all terms were finite, the description names
        the factors with non-finite parameters, and says that the gradients of these factors were
        not finite. The description is empty if all values of all steps were finite.
        """
        terms = self._log_joint.terms
        parts = [
            f"term {name!r} (variables: {', '.join(terms[name].variables)}) was not finite at "
            f"{int(count)} samples"
            for name, count in self._terms.items()
            if int(count)
        ]
        for variable, count in self._factors.items() if not parts else ():
            if int(count):
                named = [repr(name) for name, each in terms.items() if variable in each.variables]
                parts.append(
                    f"the gradient of factor {variable!r}, through term {' or '.join(named)}, was "
                    "not finite"
                )
        return "; ".join(parts)

    def _count(self, counts: dict[str, Tensor], name: str, bad: Tensor) -> Tensor:
        counts[name] = counts[name] + self.all_finite * bad
        return bad == 0


def count_nonfinite(values: Tensor) -> Tensor:
    """Counts the samples that have a non-finite element.

    Args:
        values: samples ``(S, …)``.

    Returns:
        The count, a tensor of shape ``()``.
    """
    return (~torch.isfinite(values)).reshape(len(values), -1).any(1).sum()
