"""Gradients of the evidence lower bound: by scores, with what lowers their variance, or by draws.

ELBO(λ) = E_q[log p(x, z) − log q(z; λ)].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from wmrl.inference.factor import Factor
from wmrl.inference.family import VariationalFamily, summed
from wmrl.inference.log_joint import LogJoint

Estimator = Literal["score", "reparameterised"]


@dataclass(frozen=True, kw_only=True)
class GradientConfig:
    """How gradients are estimated.

    Attributes:
        samples: S, draws for each.
        rao_blackwell: leave out of a variable's score gradient all terms that do not depend on it
            (Ranganath, Gerrish and Blei 2014, https://arxiv.org/abs/1401.0118, section 3.1).
        control_variates: subtract a multiple of the score, whose mean is 0 (section 3.2). The
            multiple for a draw is estimated from all others, so that the gradient stays unbiased.
    """

    samples: int = 32
    rao_blackwell: bool = True
    control_variates: bool = True

    def __post_init__(self) -> None:
        # A multiple that comes from two other draws alone is wild, and adds more than it takes.
        least = 4 if self.control_variates else 1
        if self.samples < least:
            why = " with control variates" if self.control_variates else ""
            raise ValueError(f"samples: expected at least {least}{why}, got {self.samples}")


class ElboGradient(NamedTuple):
    """An estimate.

    Attributes:
        elbo: of each draw, ``(S,)``.
        gradients: of the ELBO, by the family's names of those of its parameters that are learned,
            which are all whose ``requires_grad`` is set.
        terms: values of the log joint's terms, by name, without gradients.
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
    rows: Tensor | None = None,
) -> ElboGradient:
    """One unbiased estimate of the ELBO's gradient.

    Args:
        log_joint: log p(x, z).
        family: q.
        generator: of the draws, on the family's device.
        config: how many, and what lowers the variance.
        estimators: of each variable, ``"score"`` for all if None; see :func:`choose_estimators`.
        rows: a minibatch of the data, ``(B,) int64``.

    Raises:
        ValueError: a variable has no estimator, an unknown one, or one that its factor can't have;
            or a term is not as it should be.
    """
    config, count = config or GradientConfig(), (config or GradientConfig()).samples
    estimators = estimators or dict.fromkeys(family.names, "score")
    _check_estimators(estimators, family)
    by_draws = {name for name in family if estimators[name] == "reparameterised"}
    values: dict[str, Tensor] = {}
    for name, factor in family.items():
        with torch.set_grad_enabled(name in by_draws):
            values[name] = factor.draw(count, generator)
    with torch.set_grad_enabled(bool(by_draws)):
        terms = log_joint.evaluate(values, rows=rows)
        log_q = {
            name: factor.log_prob_with(_detached(factor), values[name])
            for name, factor in family.items()
        }
    gradients = _by_draws(family, by_draws, terms, log_q)
    terms = {name: value.detach() for name, value in terms.items()}
    log_q = {name: value.detach() for name, value in log_q.items()}
    for name, factor in family.items():
        if name not in by_draws:
            signal = _signal(name, log_joint, terms, log_q, rao_blackwell=config.rao_blackwell)
            own = _by_score(factor, values[name], signal, config.control_variates)
            full = _full_names(family, name)
            gradients |= {full[key]: own[key] for key in full}
    return ElboGradient(_difference(terms, log_q), gradients, terms)


@torch.enable_grad()
def choose_estimators(
    log_joint: LogJoint, family: VariationalFamily, generator: torch.Generator
) -> dict[str, Estimator]:
    """For each variable the estimator of less variance that it allows.

    That is the reparameterised one, where its factor can be and where every term that depends on it
    has a gradient. Of a term that jumps, the gradient misses the jumps: ask for scores there.
    """
    values: dict[str, Tensor] = {}
    for name, factor in family.items():
        drawn = factor.draw(2, generator).detach()
        values[name] = drawn.requires_grad_() if factor.reparameterised else drawn
    terms = log_joint.evaluate(values)
    return {
        name: "reparameterised"
        if factor.reparameterised
        and all(
            _depends(terms[key], values[name])
            for key, term in log_joint.terms.items()
            if name in term.variables
        )
        else "score"
        for name, factor in family.items()
    }


def scores(factor: Factor, values: Tensor) -> dict[str, Tensor]:
    """∇_λ log q of each of S values ``(S, *shape)``: ``(S, *parameter's shape)`` by name."""
    count = len(values)
    copies = {
        name: parameter.detach().expand(count, *parameter.shape).clone().requires_grad_()
        for name, parameter in factor.named_parameters()
    }
    with torch.enable_grad():
        # Each draw has parameters of its own, so that one backward pass tells them apart.
        total = factor.log_prob_with(copies, values.detach()).sum()
    found = torch.autograd.grad(total, list(copies.values()), allow_unused=True)
    return {
        name: torch.zeros_like(copy) if gradient is None else gradient
        for (name, copy), gradient in zip(copies.items(), found, strict=True)
    }


def control_variate_mean(products: Tensor, scores: Tensor) -> Tensor:
    """Mean of ``products − a · scores`` over S draws, with a = Cov(products, scores) / Var(scores).

    For each draw, a is that of all others: it is independent of the draw's own score, whose mean is
    0, and so nothing is added to the expectation.

    Args:
        products: ``(S, …)``, with S of at least 3.
        scores: ``(S, …)``.
    """
    others = len(products) - 1
    first = products.sum(0) - products  # sums over all other draws
    second = scores.sum(0) - scores
    both = (products * scores).sum(0) - products * scores
    square = scores.square().sum(0) - scores.square()
    covariance = both - first * second / others
    variance = square - second.square() / others
    safe = variance > 1e-12 * square.clamp(min=torch.finfo(square.dtype).tiny)
    factor = torch.where(safe, covariance / torch.where(safe, variance, 1.0), 0.0)
    return (products - factor * scores).mean(0)


def _by_draws(
    family: VariationalFamily,
    names: set[str],
    terms: Mapping[str, Tensor],
    log_q: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Gradients through the draws.

    log q has its parameters held: their own gradient is a score, whose mean is 0, and without it
    the variance is 0 where q is the posterior (Roeder, Wu and Duvenaud 2017,
    https://arxiv.org/abs/1703.09194).
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
    """What a variable's score is multiplied by: ``(S, *E)`` or ``(S,)``."""
    if not rao_blackwell:
        return _difference(terms, log_q)
    signal = -log_q[name]
    for key, term in log_joint.terms.items():
        if name in term.variables:
            value = terms[key]
            if value.shape != signal.shape:  # not elementwise in this variable
                value = _spread(summed(value), signal.ndim)
            signal = signal + value
    return signal


def _difference(terms: Mapping[str, Tensor], log_q: Mapping[str, Tensor]) -> Tensor:
    """Log p(x, z) − log q(z) of each draw, ``(S,)``."""
    total = torch.stack([summed(value) for value in terms.values()]).sum(0)
    return total - torch.stack([summed(value) for value in log_q.values()]).sum(0)


def _by_score(
    factor: Factor, values: Tensor, signal: Tensor, control_variates: bool
) -> dict[str, Tensor]:
    gradients = {}
    for name, score in scores(factor, values).items():
        products = score * _spread(signal, score.ndim)
        if control_variates:
            gradients[name] = control_variate_mean(products, score)
        else:
            gradients[name] = products.mean(0)
    return gradients


def _spread(values: Tensor, ndim: int) -> Tensor:
    """``(S, …)`` with axes of 1 added at the end."""
    return values.reshape(*values.shape, *(1,) * (ndim - values.ndim))


def _detached(factor: Factor) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in factor.named_parameters()}


def _full_names(family: VariationalFamily, name: str) -> dict[str, str]:
    """The family's names of a factor's parameters that are learned, by the factor's own."""
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
        if found == "reparameterised" and not factor.reparameterised:
            raise ValueError(
                f"estimators: expected 'score' for {name!r}, whose draws carry no gradient, got "
                f"{found!r}"
            )


def _depends(value: Tensor, variable: Tensor) -> bool:
    if not value.requires_grad:
        return False
    found = torch.autograd.grad(value.sum(), variable, retain_graph=True, allow_unused=True)
    return found[0] is not None
