"""How well an approximation covers what it approximates, by importance sampling."""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor

from wmrl.inference.family import VariationalFamily, summed
from wmrl.inference.log_joint import LogJoint

LEAST_SAMPLES = 25
"""Draws of which a fifth, the tail that is looked at, are 5."""

_CHUNK = 1024  # draws at a time
_NUMBERS = 2**24  # at a time, where a term has one for each draw and row of its data
_SAME = 0.01  # log weights that differ by less, at the top, are of no consequence
_DECIMALS = 6  # by which log weights are told apart: further ones are rounding
_COARSE = 0.01  # nats by which rounding may move the ELBO
_FEW, _MANY = 0.1, 0.5  # shares of the draws that weights are worth, where no k̂ can be fitted


@dataclass(frozen=True)
class ImportanceCheck:
    """What the weights p(x, z) / q(z) of draws from q say.

    Attributes:
        elbo: mean of the log weights.
        elbo_se: its standard error.
        log_evidence: log of the mean of the weights, an estimate of log p(x).
        pareto_k: k̂, the shape of the weights' tail (Vehtari et al. 2024,
            https://arxiv.org/abs/1507.02646); −∞ where the largest are all the same, and NaN where
            most of them are the same as others, as with discrete variables.
        samples: S, draws.
        outside: draws of q where p(x, z) is 0; where there are any, the ELBO is −∞.
        ess: effective sample size of the weights, (Σ w)² / Σ w²: how many draws of the posterior
            itself they are worth.
        rounding: nats by which log q is off in the family's precision, at the mean over draws. The
            log joint's may be off by as much.
    """

    elbo: float
    elbo_se: float
    log_evidence: float
    pareto_k: float
    samples: int
    outside: int = 0
    ess: float = math.nan
    rounding: float = 0.0

    @property
    def threshold(self) -> float:
        """Up to which k̂ can be trusted with so many draws: min(1 − 1 / log₁₀ S, 0.7), as there."""
        return min(1.0 - 1.0 / math.log10(self.samples), 0.7)

    @property
    def verdict(self) -> str:
        """What k̂ means, in plain words."""
        if self.outside:
            return (
                f"bad: {self.outside} of {self.samples} draws are where the posterior is 0; choose "
                "factors whose support is that of the model"
            )
        if self.rounding > max(_COARSE, self.elbo_se):
            return (
                f"unclear: numbers of single precision are too coarse here, by {self.rounding:.2g} "
                "nats; fit family.double()"
            )
        if math.isnan(self.pareto_k) or self.pareto_k == -math.inf:
            worth = f"{self.samples} draws are worth {self.ess:.0f} of the posterior's own"
            if self.ess < _FEW * self.samples:
                return f"bad: {worth}; choose a richer family, or another start"
            if self.ess < _MANY * self.samples:
                return f"usable: {worth}"
            return "good: the approximation covers the posterior"
        if self.pareto_k <= min(0.5, self.threshold):
            return "good: the approximation covers the posterior"
        if self.pareto_k <= self.threshold:
            return "usable: the approximation covers the posterior well enough"
        if self.pareto_k <= 0.7:
            return f"unclear: {self.samples} draws are too few to tell; take more"
        if self.pareto_k <= 1.0:
            return "bad: the approximation misses parts of the posterior; choose a richer family"
        return "very bad: the approximation has little to do with the posterior; choose another"


@torch.no_grad()
def importance_check(
    log_joint: LogJoint, family: VariationalFamily, *, samples: int, generator: torch.Generator
) -> ImportanceCheck:
    """Draws from q and weighs the draws.

    Args:
        log_joint: log p(x, z), of all data.
        family: q.
        samples: draws, at least 25; k̂ is rough with fewer than some thousands.
        generator: on the family's device.

    Raises:
        ValueError: there are too few draws, or a weight is not a number.
    """
    if samples < LEAST_SAMPLES:
        raise ValueError(
            f"samples: expected at least {LEAST_SAMPLES}, for a tail that k̂ can be read from, got "
            f"{samples}"
        )
    weights, roundings, wrong = [], [], dict.fromkeys(log_joint.terms, 0)
    precise = copy.deepcopy(family).cpu().double()  # not every device has such numbers
    chunk = max(1, min(_CHUNK, _NUMBERS // max(1, log_joint.row_count)))
    for begin in range(0, samples, chunk):
        values = family.draw(min(chunk, samples - begin), generator)
        terms = log_joint.evaluate(values)
        for name, term in terms.items():
            wrong[name] += int((torch.isnan(term) | torch.isposinf(term)).sum())
        total = torch.stack([summed(term) for term in terms.values()]).sum(0)
        log_q = family.log_prob(values)
        weights.append((total - log_q).double().cpu())
        exact = precise.log_prob({name: _double(value) for name, value in values.items()})
        roundings.append(log_q.double().cpu() - exact)
    log_weights = torch.cat(weights).numpy()
    if np.isnan(log_weights).any() or np.isposinf(log_weights).any():
        count = int(np.sum(np.isnan(log_weights) | np.isposinf(log_weights)))
        blamed = [f"term {name!r}" for name, found in wrong.items() if found] or ["the family"]
        raise ValueError(
            f"log_joint: expected numbers, got NaN or +∞ at {count} of {samples} draws, of "
            f"{', '.join(blamed)}"
        )
    within = log_weights[np.isfinite(log_weights)]
    outside = samples - len(within)
    return ImportanceCheck(
        elbo=-math.inf if outside else float(log_weights.mean()),
        elbo_se=math.inf if outside else float(log_weights.std(ddof=1) / np.sqrt(samples)),
        log_evidence=float(logsumexp(log_weights) - math.log(samples)),
        pareto_k=pareto_k(within) if len(within) >= LEAST_SAMPLES else math.inf,
        samples=samples,
        outside=outside,
        ess=_effective(within) if len(within) else 0.0,
        rounding=abs(float(torch.cat(roundings).mean())),
    )


def pareto_k(log_weights: np.ndarray) -> float:
    """k̂ of log weights ``(S,)``, S ≥ 25, by ``arviz-stats``.

    −∞ if the largest are all the same, within a hundredth, and NaN if most of them are the same as
    others: the few weights of discrete variables have no tail.
    """
    from arviz_stats.base import array_stats  # takes seconds to import

    ordered = np.sort(log_weights)
    size = int(min(0.2 * len(ordered), 3.0 * math.sqrt(len(ordered))))
    tail, cutoff = ordered[-size:], ordered[-size - 1]
    if np.ptp(tail) < _SAME:
        return -math.inf
    # The fit divides by how far the lower quartile of the tail is above the cutoff.
    quartile = tail[int(size / 4 + 0.5) - 1]
    if len(np.unique(tail.round(_DECIMALS))) <= size // 2 or quartile - cutoff < 10.0**-_DECIMALS:
        return math.nan
    if math.exp(quartile - tail[-1]) == math.exp(cutoff - tail[-1]):  # both next to nothing
        return math.inf
    # It is given log likelihoods, whose inverses are the weights of leave-one-out validation.
    return float(array_stats.psislw(-log_weights)[1])


def _effective(log_weights: np.ndarray) -> float:
    return float(np.exp(2.0 * logsumexp(log_weights) - logsumexp(2.0 * log_weights)))


def _double(values: Tensor) -> Tensor:
    """Numbers in double precision on the CPU; codes as they are."""
    return values.cpu().double() if values.is_floating_point() else values.cpu()
