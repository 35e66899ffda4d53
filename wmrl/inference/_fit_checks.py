"""Checks of a log joint and a variational family before a fit."""

import torch

from wmrl.inference._nonfinite import count_nonfinite
from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint, TermError

_SAMPLES = 64  # number of samples at which the terms are evaluated before the fit


def check_variables(log_joint: LogJoint, family: VariationalFamily) -> None:
    """Raises ``ValueError`` unless the family has exactly the variables of the log joint."""
    missing = [name for name in log_joint.variables if name not in family.names]
    unused = [name for name in family.names if name not in log_joint.variables]
    if missing:
        raise ValueError(
            f"family: expected a factor for each of {', '.join(log_joint.variables)}, got none for "
            f"{', '.join(missing)}; add these factors"
        )
    if unused:
        raise ValueError(
            f"family: expected factors of the log joint's variables "
            f"{', '.join(log_joint.variables)}, got also {', '.join(unused)}; remove these factors"
        )


def check_batch_size(log_joint: LogJoint, size: int | None) -> None:
    """Raises ``ValueError`` if the log joint does not allow minibatches of the given size."""
    if size is None:
        return
    if not log_joint.num_observations:
        raise ValueError(
            f"batch_size: expected None for a log joint without minibatched data, got {size}; name "
            "the data in Term.minibatched"
        )
    if size > log_joint.num_observations:
        raise ValueError(
            f"batch_size: expected at most {log_joint.num_observations}, the number of "
            f"observations, got {size}"
        )


def check_initial_terms(
    log_joint: LogJoint,
    family: VariationalFamily,
    batch_size: int | None,
    generator: torch.Generator,
) -> None:
    """Evaluates all terms at samples of the initial family, and once on a minibatch.

    Raises:
        FloatingPointError: a term is not finite.
        TermError: a term raises an error, or its value has the wrong shape.
    """
    values = family.draw(_SAMPLES, generator)
    if batch_size is not None:
        log_joint.evaluate(values, indices=torch.arange(batch_size, device=family.device))
    for name, value in log_joint.evaluate(values).items():
        count = int(count_nonfinite(value))
        if not count:
            continue
        supports = ", ".join(
            f"{each} from {family[each].support}" for each in log_joint.terms[name].variables
        )
        found = float(value[~torch.isfinite(value)][0])
        raise FloatingPointError(
            f"log_joint: term {name!r} is {found} at {count} of {_SAMPLES} samples of the initial "
            f"family, which draws {supports}; choose factors with the model's support, or other "
            "initial values"
        )


def is_term_bug(error: ValueError) -> bool:
    """Returns True if an error is due to a bug in a term, not to values outside its domain."""
    return isinstance(error, TermError) and not isinstance(error.__cause__, ValueError)
