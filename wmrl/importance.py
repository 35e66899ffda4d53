"""How well an approximation covers what it approximates, by importance sampling."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logsumexp

from wmrl.log_joint import LogJoint
from wmrl.variational_family import VariationalFamily, summed

_LEAST = 25  # of which a fifth, the tail that is looked at, are 5
_CHUNK = 1024  # draws at a time


@dataclass(frozen=True)
class ImportanceCheck:
    """What the weights p(x, z) / q(z) of draws from q say.

    Attributes:
        elbo: mean of the log weights.
        elbo_se: its standard error.
        log_evidence: log of the mean of the weights, an estimate of log p(x).
        pareto_k: k̂, the shape of the weights' tail (Vehtari et al. 2024,
            https://arxiv.org/abs/1507.02646); −∞ where the largest are all the same.
    """

    elbo: float
    elbo_se: float
    log_evidence: float
    pareto_k: float

    @property
    def verdict(self) -> str:
        """What k̂ means, in plain words."""
        if self.pareto_k <= 0.5:
            return "good: the approximation covers the posterior"
        if self.pareto_k <= 0.7:
            return "usable: the approximation covers the posterior well enough"
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
    if samples < _LEAST:
        raise ValueError(
            f"samples: expected at least {_LEAST}, for a tail that k̂ can be read from, got "
            f"{samples}"
        )
    weights = []
    for begin in range(0, samples, _CHUNK):
        values = family.draw(min(_CHUNK, samples - begin), generator)
        terms = log_joint.evaluate(values)
        total = torch.stack([summed(term) for term in terms.values()]).sum(0)
        weights.append((total - family.log_prob(values)).double().cpu())
    log_weights = torch.cat(weights).numpy()
    if np.isnan(log_weights).any() or np.isposinf(log_weights).any():
        count = int(np.sum(np.isnan(log_weights) | np.isposinf(log_weights)))
        raise ValueError(
            f"log_joint: expected numbers, got NaN or +∞ at {count} of {samples} draws"
        )
    evidence = logsumexp(log_weights) - math.log(samples)
    return ImportanceCheck(
        elbo=float(log_weights.mean()),
        elbo_se=float(log_weights.std(ddof=1) / np.sqrt(samples)),
        log_evidence=float(evidence),
        pareto_k=pareto_k(log_weights),
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
