"""Diagnostics of an approximate posterior, by Pareto-smoothed importance sampling."""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor

from wmrl.core.validation import check_int
from wmrl.inference.family import VariationalFamily, sum_elements
from wmrl.inference.log_joint import LogJoint

MIN_SAMPLES = 25
"""Minimum number of samples; the Pareto fit uses at most a fifth of them, and needs five."""

_CHUNK = 1024  # number of samples that are evaluated at once
_MAX_ELEMENTS = 2**24  # limit on samples × observations at once, as terms may have a value for each
_TIE = 0.01  # largest log weights within this range count as equal
_DECIMALS = 6  # log weights are rounded to this many decimals before they are compared
_MAX_ROUNDING = 0.01  # largest acceptable rounding error of the ELBO, nats
_BAD_ESS, _USABLE_ESS = 0.1, 0.5  # limits on ESS / S, used if k̂ can't be fitted


@dataclass(frozen=True)
class ImportanceCheck:
    """Statistics of the importance weights p(x, z) / q(z) of samples from an approximation q.

    Attributes:
        elbo: mean of the log weights, in nats.
        elbo_se: standard error of ``elbo``, in nats.
        log_evidence: log of the mean of the weights, an estimate of log p(x), in nats.
        pareto_k: k̂, the estimated shape parameter of the tail of the weights (Vehtari et al. 2024,
            https://arxiv.org/abs/1507.02646); see :func:`pareto_k`.
        samples: S, number of samples.
        outside: number of samples from q at which p(x, z) is 0; the ELBO is −∞ if there are any.
        ess: effective sample size, (Σ w)² / Σ w² for weights w. About this many samples from the
            posterior itself would be as informative as the weighted samples.
        rounding: absolute value of the mean rounding error of log q, in nats. The error is due to
            the precision of the family's parameters. The rounding error of the log joint may be as
            large.
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
        """Largest k̂ at which S weights give reliable estimates: min(1 − 1 / log₁₀ S, 0.7)."""
        return min(1.0 - 1.0 / math.log10(self.samples), 0.7)

    @property
    def verdict(self) -> str:
        """Verdict on q in words, such as "good: the approximation covers the posterior"."""
        if self.outside:
            return (
                f"bad: the posterior is 0 at {self.outside} of {self.samples} samples; choose "
                "factors with the same support as the model"
            )
        if self.rounding > max(_MAX_ROUNDING, self.elbo_se):
            return (
                f"unclear: single precision adds an error of {self.rounding:.2g} nats to the ELBO; "
                "fit family.double()"
            )
        if math.isnan(self.pareto_k) or self.pareto_k == -math.inf:
            size = f"{self.samples} samples have an effective sample size of {self.ess:.0f}"
            if self.ess < _BAD_ESS * self.samples:
                return f"bad: {size}; choose a richer family, or other initial values"
            if self.ess < _USABLE_ESS * self.samples:
                return f"usable: {size}"
            return "good: the approximation covers the posterior"
        if self.pareto_k <= min(0.5, self.threshold):
            return "good: the approximation covers the posterior"
        if self.pareto_k <= self.threshold:
            return "usable: the approximation covers the posterior well enough"
        if self.pareto_k <= 0.7:
            return f"unclear: {self.samples} samples are too few to tell; draw more"
        if self.pareto_k <= 1.0:
            return "bad: the approximation misses parts of the posterior; choose a richer family"
        return "very bad: the approximation has little to do with the posterior; choose another"


@torch.no_grad()
def importance_check(
    log_joint: LogJoint, family: VariationalFamily, *, samples: int, generator: torch.Generator
) -> ImportanceCheck:
    """Draws samples from a family q, and computes statistics of their importance weights.

    Args:
        log_joint: log p(x, z), evaluated on all data.
        family: variational distribution q.
        samples: number of samples, at least 25. With fewer than a few thousand samples, the
            estimate k̂ (see :func:`pareto_k`) is imprecise.
        generator: random generator on the family's device.

    Raises:
        ValueError: ``samples`` is less than 25, or a weight is NaN or +∞.
        TermError: a term raises an error, or its value has the wrong shape.

    Example:
        The posterior is a standard normal distribution, and q is a normal that is too narrow:

        >>> import torch
        >>> from torch.distributions import Normal
        >>> from wmrl.inference import LogJoint, NormalFactor, VariationalFamily, importance_check
        >>> check = importance_check(
        ...     LogJoint({"p": lambda z: Normal(0.0, 1.0).log_prob(z)}),
        ...     VariationalFamily({"z": NormalFactor(std=0.4)}),
        ...     samples=4000,
        ...     generator=torch.Generator().manual_seed(0),
        ... )
        >>> print(f"{check.elbo:.2f} ± {check.elbo_se:.2f}")
        -0.50 ± 0.01
        >>> print(check.verdict)
        bad: the approximation misses parts of the posterior; choose a richer family
    """
    check_int("samples", samples, at_least=MIN_SAMPLES)
    weights, roundings, wrong = [], [], dict.fromkeys(log_joint.terms, 0)
    precise = copy.deepcopy(family).cpu().double()  # not every device has float64
    chunk = max(1, min(_CHUNK, _MAX_ELEMENTS // max(1, log_joint.num_observations)))
    for begin in range(0, samples, chunk):
        values = family.draw(min(chunk, samples - begin), generator)
        terms = log_joint.evaluate(values)
        for name, term in terms.items():
            wrong[name] += int((torch.isnan(term) | torch.isposinf(term)).sum())
        total = torch.stack([sum_elements(term) for term in terms.values()]).sum(0)
        log_q = family.log_prob(values)
        weights.append((total - log_q).double().cpu())
        exact = precise.log_prob({name: _double(value) for name, value in values.items()})
        roundings.append(log_q.double().cpu() - exact)
    log_weights = torch.cat(weights).numpy()
    if np.isnan(log_weights).any() or np.isposinf(log_weights).any():
        count = int(np.sum(np.isnan(log_weights) | np.isposinf(log_weights)))
        sources = [f"term {name!r}" for name, found in wrong.items() if found] or ["the family"]
        raise ValueError(
            f"log_joint: expected finite numbers or −∞, got NaN or +∞ at {count} of {samples} "
            f"samples, in {', '.join(sources)}"
        )
    within = log_weights[np.isfinite(log_weights)]
    outside = samples - len(within)
    return ImportanceCheck(
        elbo=-math.inf if outside else float(log_weights.mean()),
        elbo_se=math.inf if outside else float(log_weights.std(ddof=1) / np.sqrt(samples)),
        log_evidence=float(logsumexp(log_weights) - math.log(samples)),
        pareto_k=pareto_k(within) if len(within) >= MIN_SAMPLES else math.inf,
        samples=samples,
        outside=outside,
        ess=_effective_sample_size(within) if len(within) else 0.0,
        rounding=abs(float(torch.cat(roundings).mean())),
    )


def pareto_k(log_weights: np.ndarray) -> float:
    """Estimates k̂, the shape parameter of a generalized Pareto fit to the largest weights.

    Args:
        log_weights: logarithms of S importance weights, ``(S,)``, S ≥ 25.

    Returns:
        k̂, fitted by ``arviz-stats``. Nothing is fitted in three cases. If all of the largest
        weights are equal to within 1 %, k̂ is −∞. If the largest weights differ by more, but many of
        them are equal, as with discrete variables, k̂ is NaN. If most weights underflow to 0 when
        they are divided by the largest weight, k̂ is +∞.

    Example:
        >>> import numpy as np
        >>> from wmrl.inference import pareto_k
        >>> uniform = np.random.default_rng(0).uniform(size=50_000)
        >>> round(pareto_k(-0.7 * np.log(uniform)), 1)  # weights u^−0.7, whose k is 0.7
        0.7
    """
    from arviz_stats.base import array_stats  # imported here because it takes seconds

    ordered = np.sort(log_weights)
    size = int(min(0.2 * len(ordered), 3.0 * math.sqrt(len(ordered))))
    tail, cutoff = ordered[-size:], ordered[-size - 1]
    if np.ptp(tail) < _TIE:
        return -math.inf
    # The fit divides by the difference between the lower quartile of the tail and the cutoff.
    quartile = tail[int(size / 4 + 0.5) - 1]
    if len(np.unique(tail.round(_DECIMALS))) <= size // 2 or quartile - cutoff < 10.0**-_DECIMALS:
        return math.nan
    if math.exp(quartile - tail[-1]) == math.exp(cutoff - tail[-1]):  # both underflow
        return math.inf
    # psislw expects log likelihoods of leave-one-out validation, which are negative log weights.
    return float(array_stats.psislw(-log_weights)[1])


def _effective_sample_size(log_weights: np.ndarray) -> float:
    return float(np.exp(2.0 * logsumexp(log_weights) - logsumexp(2.0 * log_weights)))


def _double(values: Tensor) -> Tensor:
    """Moves values to the CPU, and converts floating-point values to float64."""
    return values.cpu().double() if values.is_floating_point() else values.cpu()
