"""Checks of a log joint and a variational family before a fit."""

import torch

from wmrl.inference._nonfinite import count_nonfinite
from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint, TermError

_SAMPLES = 64  # number of samples at which the terms are evaluated before the fit


def check_variables(log_joint: LogJoint, family: VariationalFamily) -> None:
    """Checks that a family has a factor for each variable of a log joint, and no other factors.

    Raises:
        ValueError: a factor is missing, or does not belong to a variable of the log joint.
    """
    missing = [name for name in log_joint.variables if name not in family.names]
    unused = [name for name in family.names if name not in log_joint.variables]
    if missing:
        raise ValueError(
            f"family: expected a factor for each variable ({', '.join(log_joint.variables)}), got "
            f"none for {', '.join(missing)}; add a factor for each missing variable"
        )
    if unused:
        raise ValueError(
            f"family: expected one factor per variable ({', '.join(log_joint.variables)}), got "
            f"additional factors ({', '.join(unused)}); remove the additional factors"
        )


def check_batch_size(log_joint: LogJoint, size: int | None) -> None:
    """Checks that a log joint can be evaluated on minibatches of a given size.

    A ``size`` of None stands for no minibatches, and is always accepted.

    Raises:
        ValueError: the log joint has no minibatched data, or fewer observations than ``size``.
    """
    if size is None:
        return
    if not log_joint.num_observations:
        raise ValueError(
            f"batch_size: expected None for a log joint without minibatched data, got {size}; to "
            "use minibatches, name the data in Term.minibatched"
        )
    if size > log_joint.num_observations:
        raise ValueError(
            f"batch_size: expected at most {log_joint.num_observations} (the number of "
            f"observations), got {size}"
        )


def check_initial_terms(
    log_joint: LogJoint,
    family: VariationalFamily,
    batch_size: int | None,
    generator: torch.Generator,
) -> None:
    """Checks that all terms of a log joint are finite at samples from the initial family.

    If ``batch_size`` is not None, the terms are also evaluated once on a minibatch of that size.
    Their values on the minibatch need not be finite.

    Raises:
        FloatingPointError: a term is NaN or infinite at a sample.
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
            f"family, which draws {supports}; choose factors with the same support as the "
            "model, or other initial values"
        )


def is_term_bug(error: ValueError) -> bool:
    """Returns True if an error is due to a bug in a term, not to the values of the variables.

    A :class:`TermError` counts as a bug, unless its cause is a ``ValueError``. Distributions raise
    ``ValueError`` for invalid parameters and values. Other errors do not count as bugs.
    """
    return isinstance(error, TermError) and not isinstance(error.__cause__, ValueError)
