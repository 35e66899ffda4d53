"""Score-function and reparameterized estimates of the gradient of the ELBO.

The evidence lower bound is ELBO(λ) = E_q[log p(x, z) − log q(z; λ)]. Rao-Blackwellization and
control variates reduce the variance of the score-function estimator.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from wmrl.core.config import check_fields
from wmrl.core.validation import check_int
from wmrl.inference.factor import Factor
from wmrl.inference.family import VariationalFamily, sum_elements
from wmrl.inference.log_joint import LogJoint

Estimator = Literal["score", "reparameterized"]


@dataclass(frozen=True, kw_only=True)
class GradientConfig:
    """Settings of :func:`elbo_gradient`.

    Attributes:
        samples: S, number of samples per estimate.
        rao_blackwell: True to omit, from the score-function gradient of a variable, all terms that
            do not depend on the variable. This is Rao-Blackwellization (Ranganath, Gerrish and Blei
            2014, https://arxiv.org/abs/1401.0118, section 3.1).
        control_variates: True to subtract a multiple of the score function from the score-function
            gradient, as a control variate (section 3.2 of the same paper). For each sample, the
            multiple is estimated from all other samples, so that the gradient stays unbiased.
    """

    samples: int = 32
    rao_blackwell: bool = True
    control_variates: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("samples", self.samples, at_least=1)
        # A multiple estimated from only two other samples adds more variance than it removes.
        if self.control_variates and self.samples < 4:
            raise ValueError(
                f"samples: expected at least 4 with control variates, got {self.samples}; draw "
                "more, or set control_variates=False"
            )


class ElboGradient(NamedTuple):
    """Estimate of the ELBO and of its gradient.

    Attributes:
        elbo: estimate of the ELBO from each of S samples, ``(S,)``.
        gradients: gradient of the ELBO with respect to each trainable parameter, by the parameter's
            name in the family.
        terms: detached values of the log joint's terms by name: ``(S,)``, or ``(S, *E)`` for an
            elementwise term of shape E.
    """

    elbo: Tensor
    gradients: dict[str, Tensor]
    terms: dict[str, Tensor]


@torch.enable_grad()
def elbo_gradient(
    log_joint: LogJoint,
    family: VariationalFamily,
    *,
    generator: torch.Generator,
    config: GradientConfig | None = None,
    estimators: Mapping[str, Estimator] | None = None,
    indices: Tensor | None = None,
) -> ElboGradient:
    """Computes an unbiased estimate of the ELBO's gradient.

    Args:
        log_joint: log p(x, z).
        family: variational distribution q.
        generator: random generator for the samples, on the family's device.
        config: number of samples and variance reduction; the default settings if None.
        estimators: ``"score"`` or ``"reparameterized"`` by variable name, as returned by
            :func:`choose_estimators`. If None, all variables use ``"score"``.
        indices: indices of the observations in a minibatch, ``(B,) int64``; None for all
            observations.

    Raises:
        ValueError: a variable's estimator is missing, unknown, or not supported by its factor.
        TermError: a term raises an error, or its value has the wrong shape.
    """
    config, count = config or GradientConfig(), (config or GradientConfig()).samples
    estimators = estimators or dict.fromkeys(family.names, "score")
    _check_estimators(estimators, family)
    reparameterized = {name for name in family if estimators[name] == "reparameterized"}
    values: dict[str, Tensor] = {}
    for name, factor in family.items():
        with torch.set_grad_enabled(name in reparameterized):
            values[name] = factor.draw(count, generator)
    with torch.set_grad_enabled(bool(reparameterized)):
        terms = log_joint.evaluate(values, indices=indices)
        log_q = {
            name: factor.log_prob_with(_detached(factor), values[name])
            for name, factor in family.items()
        }
    gradients = _reparameterized_gradients(family, reparameterized, terms, log_q)
    terms = {name: value.detach() for name, value in terms.items()}
    log_q = {name: value.detach() for name, value in log_q.items()}
    for name, factor in family.items():
        if name not in reparameterized:
            signal = _signal(name, log_joint, terms, log_q, rao_blackwell=config.rao_blackwell)
            own = _score_gradients(factor, values[name], signal, config.control_variates)
            full = _full_names(family, name)
            gradients |= {full[key]: own[key] for key in full}
    return ElboGradient(_difference(terms, log_q), gradients, terms)


@torch.enable_grad()
def choose_estimators(
    log_joint: LogJoint, family: VariationalFamily, generator: torch.Generator
) -> dict[str, Estimator]:
    """Chooses a gradient estimator for each variable.

    The estimator is ``"reparameterized"`` if the variable's factor is reparameterized and all terms
    that depend on the variable are differentiable. In all other cases, the estimator is
    ``"score"``, which usually has a higher variance.

    Discontinuous terms are not detected, although reparameterized gradients ignore their jumps. Use
    ``"score"`` for the variables of such terms.

    Returns:
        Estimators by variable name.
    """
    values: dict[str, Tensor] = {}
    for name, factor in family.items():
        drawn = factor.draw(2, generator).detach()
        values[name] = drawn.requires_grad_() if factor.reparameterized else drawn
    terms = log_joint.evaluate(values)
    return {
        name: "reparameterized"
        if factor.reparameterized
        and all(
            _depends(terms[key], values[name])
            for key, term in log_joint.terms.items()
            if name in term.variables
        )
        else "score"
        for name, factor in family.items()
    }


def score_function(factor: Factor, values: Tensor) -> dict[str, Tensor]:
    """Computes the score function ∇_λ log q at each of S values.

    Args:
        factor: distribution q with parameters λ.
        values: values of the variable, ``(S, *shape)``.

    Returns:
        Gradients ``(S, *P)`` by parameter name, where P is the shape of the parameter.
    """
    count = len(values)
    copies = {
        name: parameter.detach().expand(count, *parameter.shape).clone().requires_grad_()
        for name, parameter in factor.named_parameters()
    }
    with torch.enable_grad():
        # Each sample has its own copy of the parameters: one backward pass yields all S gradients.
        total = factor.log_prob_with(copies, values.detach()).sum()
    found = torch.autograd.grad(total, list(copies.values()), allow_unused=True)
    return {
        name: torch.zeros_like(copy) if gradient is None else gradient
        for (name, copy), gradient in zip(copies.items(), found, strict=True)
    }


def control_variate_mean(products: Tensor, score: Tensor) -> Tensor:
    """Averages values over S samples, with the score function as a control variate.

    The result is the mean of ``products − a · score``, where a = Cov(products, score) / Var(score).
    For each sample, the coefficient a is estimated from all other samples. The coefficient is
    therefore independent of the sample's own score. As scores have a mean of 0, the result is
    unbiased.

    Args:
        products: values to average, ``(S, …)``, S ≥ 3.
        score: score function at the same samples, ``(S, …)``.

    Returns:
        The mean, ``(…)``.
    """
    others = len(products) - 1
    first = products.sum(0) - products  # sums over all other samples
    second = score.sum(0) - score
    both = (products * score).sum(0) - products * score
    square = score.square().sum(0) - score.square()
    covariance = both - first * second / others
    variance = square - second.square() / others
    safe = variance > 1e-12 * square.clamp(min=torch.finfo(square.dtype).tiny)
    factor = torch.where(safe, covariance / torch.where(safe, variance, 1.0), 0.0)
    return (products - factor * score).mean(0)


def _reparameterized_gradients(
    family: VariationalFamily,
    names: set[str],
    terms: Mapping[str, Tensor],
    log_q: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Computes reparameterized gradients of the ELBO for the factors of the named variables.

    The gradients flow through the samples only; log q is evaluated with detached parameters. The
    gradients thus omit the score function. The score function has a mean of 0, so the estimate
    stays unbiased. If q is the posterior, the omission reduces the variance of the estimate to 0
    (Roeder, Wu and Duvenaud 2017, https://arxiv.org/abs/1703.09194).
    """
    learned = {full for name in names for full in _full_names(family, name).values()}
    own = {key: each for key, each in family.named_parameters() if key in learned}
    if not own:
        return {}
    found = torch.autograd.grad(
        _difference(terms, log_q).mean(), list(own.values()), allow_unused=True
    )
    return {
        key: torch.zeros_like(parameter) if gradient is None else gradient
        for (key, parameter), gradient in zip(own.items(), found, strict=True)
    }


def _signal(
    name: str,
    log_joint: LogJoint,
    terms: Mapping[str, Tensor],
    log_q: Mapping[str, Tensor],
    *,
    rao_blackwell: bool,
) -> Tensor:
    """Computes the values that multiply a variable's score function in the gradient estimate.

    Returns:
        Without Rao-Blackwellization, log p(x, z) − log q(z) at each sample, ``(S,)``. With
        Rao-Blackwellization, the same difference, but without the terms and factors that do not
        depend on the variable. In this case, the values have the shape of the variable's log q.
    """
    if not rao_blackwell:
        return _difference(terms, log_q)
    signal = -log_q[name]
    for key, term in log_joint.terms.items():
        if name in term.variables:
            value = terms[key]
            if value.shape != signal.shape:  # not elementwise in this variable
                value = _add_axes(sum_elements(value), signal.ndim)
            signal = signal + value
    return signal


def _difference(terms: Mapping[str, Tensor], log_q: Mapping[str, Tensor]) -> Tensor:
    """Computes log p(x, z) − log q(z) for each sample, ``(S,)``."""
    total = torch.stack([sum_elements(value) for value in terms.values()]).sum(0)
    return total - torch.stack([sum_elements(value) for value in log_q.values()]).sum(0)


def _score_gradients(
    factor: Factor, values: Tensor, signal: Tensor, control_variates: bool
) -> dict[str, Tensor]:
    """Computes score-function gradients of the ELBO for a factor's parameters, by name.

    Args:
        factor: distribution q of one variable.
        values: S samples of the variable, ``(S, *shape)``.
        signal: values that multiply the score function, from :func:`_signal`.
        control_variates: True to reduce the variance by control variates.
    """
    gradients = {}
    for name, score in score_function(factor, values).items():
        products = score * _add_axes(signal, score.ndim)
        if control_variates:
            gradients[name] = control_variate_mean(products, score)
        else:
            gradients[name] = products.mean(0)
    return gradients


def _add_axes(values: Tensor, ndim: int) -> Tensor:
    """Appends axes of length 1 to a tensor until it has ``ndim`` axes."""
    return values.reshape(*values.shape, *(1,) * (ndim - values.ndim))


def _detached(factor: Factor) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in factor.named_parameters()}


def _full_names(family: VariationalFamily, name: str) -> dict[str, str]:
    """Maps each trainable parameter's name in a factor to the parameter's name in the family."""
    full = {id(parameter): key for key, parameter in family.named_parameters()}
    return {
        key: full[id(parameter)]
        for key, parameter in family[name].named_parameters()
        if parameter.requires_grad
    }


def _check_estimators(estimators: Mapping[str, Estimator], family: VariationalFamily) -> None:
    for name, factor in family.items():
        found = estimators.get(name)
        if found not in get_args(Estimator):
            raise ValueError(
                f"estimators: expected {' or '.join(map(repr, get_args(Estimator)))} for {name!r}, "
                f"got {found!r}"
            )
        if found == "reparameterized" and not factor.reparameterized:
            raise ValueError(
                f"estimators: expected 'score' for {name!r} because its factor is not "
                f"reparameterized, got {found!r}"
            )


def _depends(value: Tensor, variable: Tensor) -> bool:
    """Returns True if a value has a gradient with respect to a variable."""
    if not value.requires_grad:
        return False
    found = torch.autograd.grad(value.sum(), variable, retain_graph=True, allow_unused=True)
    return found[0] is not None
