"""How well an approximation covers what it approximates, by importance sampling."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logsumexp

from wmrl.log_joint import LogJoint
from wmrl.variational_family import VariationalFamily, summed

LEAST_SAMPLES = 25
"""Draws of which a fifth, the tail that is looked at, are 5."""

_CHUNK = 1024  # draws at a time
_NUMBERS = 2**24  # at a time, where a term has one for each draw and row of its data


@dataclass(frozen=True)
class ImportanceCheck:
    """What the weights p(x, z) / q(z) of draws from q say.

    Attributes:
        elbo: mean of the log weights.
        elbo_se: its standard error.
        log_evidence: log of the mean of the weights, an estimate of log p(x).
        pareto_k: k̂, the shape of the weights' tail (Vehtari et al. 2024,
            https://arxiv.org/abs/1507.02646); −∞ where the largest are all the same.
        samples: S, draws.
        outside: draws of q where p(x, z) is 0; where there are any, the ELBO is −∞.
    """

    elbo: float
    elbo_se: float
    log_evidence: float
    pareto_k: float
    samples: int
    outside: int = 0

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
    weights, wrong = [], dict.fromkeys(log_joint.terms, 0)
    chunk = max(1, min(_CHUNK, _NUMBERS // max(1, log_joint.row_count)))
    for begin in range(0, samples, chunk):
        values = family.draw(min(chunk, samples - begin), generator)
        terms = log_joint.evaluate(values)
        for name, term in terms.items():
            wrong[name] += int((torch.isnan(term) | torch.isposinf(term)).sum())
        total = torch.stack([summed(term) for term in terms.values()]).sum(0)
        weights.append((total - family.log_prob(values)).double().cpu())
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
    )


def pareto_k(log_weights: np.ndarray) -> float:
    """k̂ of log weights ``(S,)`` by ``arviz-stats``; −∞ if the largest are all the same."""
    from arviz_stats.base import array_stats  # takes seconds to import

    tail = math.ceil(min(0.2 * len(log_weights), 3.0 * math.sqrt(len(log_weights))))
    if np.ptp(np.sort(log_weights)[-tail:]) < 1e-5:  # rounding alone
        return -np.inf
    # It is given log likelihoods, whose inverses are the weights of leave-one-out validation.
    with np.errstate(divide="ignore", invalid="ignore"):  # of weights that are equal
        return float(array_stats.psislw(-log_weights)[1])
