"""Gradient descent on KL(q‖p) of two normal distributions, with several gradient estimators.

Some runs fail by design: the points of their Riemann sum do not span both densities, so that the
sum does not approximate KL(q‖p).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from wmrl.core.seeding import numpy_generator, torch_generator
from wmrl.core.validation import check_float, check_int
from wmrl.inference.elbo_gradient import GradientConfig, elbo_gradient
from wmrl.inference.factor import Factor
from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint
from wmrl.scripts.reproduce.kl.gaussian import (
    Gaussian,
    kl_divergence,
    reparameterized_gradient,
    riemann_kl,
    riemann_kl_gradient,
)

START, TARGET = Gaussian(5.0, 0.8), Gaussian(1.0, 0.3)
"""Initial q and target p."""

CONVERGED = 0.05
"""Threshold in nats: a run has converged if its final KL(q‖p) is below this threshold."""

_REACH = 4.0  # half-width of a span, in standard deviations

Gradient = Callable[[Gaussian], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class KLRun:
    """Settings of a run that fits q to p by gradient descent with momentum.

    The gradient is taken with respect to the mean and the std of q. A step can make the std
    negative, because the std itself is the parameter, not its logarithm. Such a step stops the run.

    Attributes:
        title: description in tables and figures.
        gradient: ``"riemann"`` for the gradient of a Riemann sum; ``"reparameterized"`` for an
            estimate from reparameterized samples; ``"score"`` for an estimate with the score
            function.
        span: distribution that the points of the Riemann sum cover: ``"q"`` for the initial q,
            ``"moving-q"`` for the current q, ``"p"`` for p, ``"both"`` for the initial q and p.
            Each distribution is covered up to four standard deviations from its mean. None if the
            gradient is not ``"riemann"``.
        width: width of the interval that each point represents; if None, the distance between
            adjacent points.
        num_points: number of points of the Riemann sum.
        samples: number of samples per step for gradients that are estimated from samples.
        control_variates: True to reduce the variance of the score-function gradient by control
            variates.
        learning_rate: constant learning rate.
        steps: maximum number of steps.
        momentum: factor by which the velocity is multiplied in each step, in [0, 1).
        start: initial q.
        target: p.
    """

    title: str
    gradient: Literal["riemann", "reparameterized", "score"]
    span: Literal["q", "moving-q", "p", "both"] | None = None
    width: float | None = None
    num_points: int = 500
    samples: int = 10
    control_variates: bool = True
    learning_rate: float = 1e-3
    steps: int = 300
    momentum: float = 0.9
    start: Gaussian = START
    target: Gaussian = TARGET

    def __post_init__(self) -> None:
        if (self.gradient == "riemann") != (self.span is not None):
            raise ValueError(
                "span: expected a value for gradient='riemann', and None for other gradients, got "
                f"{self.span!r} for gradient={self.gradient!r}"
            )
        for name, least in (("steps", 1), ("num_points", 2), ("samples", 1)):
            check_int(name, getattr(self, name), at_least=least)
        for name, value in (
            ("learning_rate", self.learning_rate),
            ("width", 1.0 if self.width is None else self.width),
            ("start", self.start.std),
            ("target", self.target.std),
        ):
            check_float(name, value, above=0)
        check_float("momentum", self.momentum, at_least=0, below=1)

    @property
    def random(self) -> bool:
        """True if the run draws samples, so that its result depends on the seed."""
        return self.gradient != "riemann"

    def interval(self, q: Gaussian) -> tuple[float, float] | None:
        """Returns the lower and upper limit of the points of the Riemann sum.

        Returns None if the run has no Riemann sum.

        Args:
            q: current q. The limits depend on it only if the span is ``"moving-q"``.
        """
        if self.span is None:
            return None
        spanned = {
            "q": [self.start],
            "moving-q": [q],
            "p": [self.target],
            "both": [self.start, self.target],
        }[self.span]
        low = min(each.mean - _REACH * each.std for each in spanned)
        return low, max(each.mean + _REACH * each.std for each in spanned)

    def objective(self, q: Gaussian) -> float | None:
        """Computes the Riemann sum for ``q``, or returns None if the run has no Riemann sum."""
        interval = self.interval(q)
        return None if interval is None else riemann_kl(q, self.target, *self._grid(*interval))

    def estimator(self, *, seed: int) -> Gradient:
        """Creates a function that computes the gradient for the next step, given the current q.

        The gradient is either that of the Riemann sum, or an estimate of the gradient of KL(q‖p)
        from samples. In the second case, each call of the function draws new samples.

        Args:
            seed: seed of the samples; it has no effect on runs without samples.
        """
        if self.gradient == "score":
            return _score_estimator(self, seed)
        if self.gradient == "reparameterized":
            rng = numpy_generator(seed, "kl")
            return lambda q: reparameterized_gradient(
                q, self.target, rng.standard_normal(self.samples)
            )
        return self._riemann_estimator()

    def _riemann_estimator(self) -> Gradient:
        def grid(q: Gaussian) -> tuple[np.ndarray, float]:
            interval = self.interval(q)
            assert interval is not None
            return self._grid(*interval)

        if self.span == "moving-q":
            return lambda q: riemann_kl_gradient(q, self.target, *grid(q))
        held = grid(self.start)
        return lambda q: riemann_kl_gradient(q, self.target, *held)

    def _grid(self, low: float, high: float) -> tuple[np.ndarray, float]:
        points = np.linspace(low, high, self.num_points)
        return points, float(points[1] - points[0]) if self.width is None else self.width


RUNS = {
    "span-q": KLRun(
        title="sum over q's span at the start",
        gradient="riemann",
        span="q",
        learning_rate=1e-4,
        steps=500,
    ),
    "span-q-moving": KLRun(
        title="sum over q's span, which moves with q",
        gradient="riemann",
        span="moving-q",
        learning_rate=1e-4,
        steps=500,
    ),
    "span-p": KLRun(title="sum over p's span", gradient="riemann", span="p", steps=50_000),
    "span-both": KLRun(title="sum over both spans", gradient="riemann", span="both", width=6 / 500),
    "reparameterized": KLRun(title="reparameterized samples", gradient="reparameterized"),
    "score": KLRun(title="score function, control variates", gradient="score"),
    "score-plain": KLRun(
        title="score function, no variance reduction", gradient="score", control_variates=False
    ),
    "score-slow": KLRun(
        title="score function, control variates, a tenth of the rate",
        gradient="score",
        learning_rate=1e-4,
        steps=600,
    ),
    "score-plain-slow": KLRun(
        title="score function, no variance reduction, a tenth of the rate",
        gradient="score",
        control_variates=False,
        learning_rate=1e-4,
        steps=600,
    ),
}
"""Runs by name: the runs of an earlier experiment, and runs with the score function at two learning
rates."""


@dataclass(frozen=True)
class KLTrace:
    """Trajectory of q in a run.

    Attributes:
        run: settings of the run.
        means: mean of q, initially and after each of T steps, ``(T + 1,) float64``.
        stds: standard deviation of q, initially and after each step, ``(T + 1,) float64``.
        gradients: gradient of each step, ``(T, 2) float64``. If an invalid q stopped the run, the
            shape is ``(T + 1, 2)``, and the last gradient is that of the step to the invalid q.
        rejected: invalid q that stopped the run; None if there was none. A q is invalid if its std
            is not positive, or if a parameter is not finite. The step to the invalid q is not
            counted in T.
    """

    run: KLRun
    means: np.ndarray
    stds: np.ndarray
    gradients: np.ndarray
    rejected: Gaussian | None

    def __getitem__(self, step: int) -> Gaussian:
        """Returns q after ``step`` steps."""
        return Gaussian(float(self.means[step]), float(self.stds[step]))

    @property
    def steps(self) -> int:
        """Number of steps taken, T."""
        return len(self.means) - 1

    @property
    def end(self) -> Gaussian:
        """Last valid q of the run."""
        return self[self.steps]

    @property
    def kl(self) -> np.ndarray:
        """Exact KL(q‖p), initially and after each of T steps, ``(T + 1,) float64``."""
        return np.array([kl_divergence(self[k], self.run.target) for k in range(self.steps + 1)])

    @property
    def verdict(self) -> Literal["converged", "did not converge", "stopped"]:
        """Outcome of the run."""
        if self.rejected is not None:
            return "stopped"
        found = kl_divergence(self.end, self.run.target) < CONVERGED
        return "converged" if found else "did not converge"


def descend(run: KLRun, *, seed: int = 0) -> KLTrace:
    """Fits q to p by gradient descent.

    Args:
        run: settings of the run.
        seed: seed of the samples; it has no effect on runs without samples. Score-function runs
            with equal seeds draw the same noise.
    """
    gradient_at = run.estimator(seed=seed)
    q, rejected = run.start, None
    by_mean, by_std = 0.0, 0.0  # velocities
    path, gradients = [q], []
    for _ in range(run.steps):
        gradients.append(gradient_at(q))
        by_mean = run.momentum * by_mean + gradients[-1][0]
        by_std = run.momentum * by_std + gradients[-1][1]
        following = Gaussian(
            q.mean - run.learning_rate * by_mean, q.std - run.learning_rate * by_std
        )
        if not (following.std > 0 and all(map(math.isfinite, following))):
            rejected = following
            break
        q = following
        path.append(q)
    means, stds = np.array(path).T
    return KLTrace(run, means, stds, np.array(gradients), rejected)


def gradient_spread(run: KLRun, *, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Computes the mean and the standard deviation of gradient estimates at the initial q.

    Returns:
        Two arrays ``(2,) float64``: the mean and the standard deviation of ``count`` estimates. The
        first number of each array is for the derivative with respect to the mean of q, and the
        second is for the derivative with respect to the std of q.
    """
    gradient_at = run.estimator(seed=seed)
    found = np.array([gradient_at(run.start) for _ in range(count)])
    return found.mean(0), found.std(0, ddof=1)


def select_steps(last: int, limit: int) -> list[int]:
    """Selects up to ``limit`` of the steps 0 to ``last``, more densely at the start.

    Step 0 and step ``last`` are always selected.

    Raises:
        ValueError: ``limit`` is less than 2.
    """
    check_int("limit", limit, at_least=2)
    return sorted({round(last * (k / (limit - 1)) ** 2) for k in range(limit)})


class _Q(Factor):
    """Variational normal distribution with the mean and the std as parameters.

    The std is not restricted to positive numbers.
    """

    reparameterized: ClassVar[bool] = True
    support: ClassVar[str] = "all real numbers"

    def __init__(self, q: Gaussian) -> None:
        super().__init__()
        self.shape = ()
        self.loc = nn.Parameter(torch.tensor(q.mean, dtype=torch.float64))
        self.scale = nn.Parameter(torch.tensor(q.std, dtype=torch.float64))

    def distribution(self) -> Distribution:
        """Returns the normal distribution with the current mean and std."""
        return Normal(self.loc, self.scale, validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws reparameterized samples, ``(count,) float64``."""
        noise = torch.randn(count, generator=generator, dtype=self.loc.dtype)
        return self.loc + self.scale * noise


def _score_estimator(run: KLRun, seed: int) -> Gradient:
    """Creates a function that estimates the gradient of KL(q‖p) with the score function.

    The function estimates the gradient of the ELBO and changes the sign of the estimate. The ELBO
    is −KL(q‖p), because p is normalized. The estimate is Rao-Blackwellized, but this has no effect
    with a single variable.
    """
    mean, std = run.target
    constant = math.log(std) + 0.5 * math.log(math.tau)
    log_joint = LogJoint({"p": lambda x: -0.5 * ((x - mean) / std) ** 2 - constant})
    factor = _Q(run.start)
    family = VariationalFamily({"x": factor})
    config = GradientConfig(samples=run.samples, control_variates=run.control_variates)
    generator = torch_generator(seed, "kl")

    def estimate(q: Gaussian) -> tuple[float, float]:
        with torch.no_grad():
            factor.loc.fill_(q.mean)
            factor.scale.fill_(q.std)
        found = elbo_gradient(log_joint, family, generator=generator, config=config)
        by_mean, by_std = (-float(value) for value in found.gradients.values())
        return by_mean, by_std

    return estimate
