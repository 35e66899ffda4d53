"""Runs in which a Gaussian learns to be another, by minimising KL(q‖p) in several ways.

Some of them can't work, and show why: a sum over points that do not span both densities is no
KL(q‖p).
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
from wmrl.inference.elbo_gradient import GradientConfig, elbo_gradient
from wmrl.inference.factor import Factor
from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint
from wmrl.scripts.reproduce.kl.gaussian import (
    Gaussian,
    gaussian_kl,
    reparameterised_gradient,
    riemann_kl,
    riemann_kl_gradient,
)

START, TARGET = Gaussian(5.0, 0.8), Gaussian(1.0, 0.3)
"""q at the start, and p."""

CONVERGED = 0.05
"""KL(q‖p), in nats, below which a run has found its target."""

_REACH = 4.0  # standard deviations on either side of a mean that an interval spans

Gradient = Callable[[Gaussian], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class KLRun:
    """How q learns: by stochastic gradient descent with momentum over its mean and its std.

    The std is learned as itself and not through its logarithm, so that a step may take it below 0,
    which ends the run.

    Attributes:
        title: in a few words.
        gradient: of a Riemann sum, of draws, or of draws by their scores.
        span: what the sum's points span: four standard deviations around q's mean as it was at the
            start (``"q"``), or as it is at each step (``"moving-q"``), around p's, or both.
        width: that each of the sum's points stands for; their distance if None.
        points: of the sum.
        draws: a step, of the other two gradients.
        control_variates: whether they lower the variance of the scores' gradient.
        learning_rate: constant.
        steps: at most.
        momentum: share of the last step that is kept.
        start: q at the start.
        target: p.
    """

    title: str
    gradient: Literal["riemann", "reparameterised", "score"]
    span: Literal["q", "moving-q", "p", "both"] | None = None
    width: float | None = None
    points: int = 500
    draws: int = 10
    control_variates: bool = True
    learning_rate: float = 1e-3
    steps: int = 300
    momentum: float = 0.9
    start: Gaussian = START
    target: Gaussian = TARGET

    def __post_init__(self) -> None:
        if (self.gradient == "riemann") != (self.span is not None):
            raise ValueError(
                f"span: expected one with the gradient 'riemann', and none with others, got "
                f"{self.span!r} with {self.gradient!r}"
            )
        for name, least in (("steps", 1), ("points", 2), ("draws", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name, value in (
            ("learning_rate", self.learning_rate),
            ("width", 1.0 if self.width is None else self.width),
            ("start", self.start.std),
            ("target", self.target.std),
        ):
            if not value > 0:
                raise ValueError(f"{name}: expected above 0, got {value}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected 0 or more, and less than 1, got {self.momentum}")

    @property
    def random(self) -> bool:
        """Whether runs with different seeds differ."""
        return self.gradient != "riemann"

    def interval(self, q: Gaussian) -> tuple[float, float] | None:
        """The interval that the sum's points span while q is as given; None where there is none."""
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
        """The Riemann sum that is minimised; None where there is none."""
        interval = self.interval(q)
        return None if interval is None else riemann_kl(q, self.target, *self._grid(*interval))

    def estimator(self, *, seed: int) -> Gradient:
        """A function from q to its gradient, or to an estimate, another one at each call."""
        if self.gradient == "score":
            return _score_estimator(self, seed)
        if self.gradient == "reparameterised":
            rng = numpy_generator(seed, "kl")
            return lambda q: reparameterised_gradient(
                q, self.target, rng.standard_normal(self.draws)
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
        points = np.linspace(low, high, self.points)
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
    "reparameterised": KLRun(title="reparameterised draws", gradient="reparameterised"),
    "score": KLRun(title="scores, control variates", gradient="score"),
    "score-plain": KLRun(
        title="scores, no variance reduction", gradient="score", control_variates=False
    ),
    "score-slow": KLRun(
        title="scores, control variates, a tenth of the rate",
        gradient="score",
        learning_rate=1e-4,
        steps=600,
    ),
    "score-plain-slow": KLRun(
        title="scores, no variance reduction, a tenth of the rate",
        gradient="score",
        control_variates=False,
        learning_rate=1e-4,
        steps=600,
    ),
}
"""The earlier experiment's runs, and by scores the same as by draws, at two rates."""


@dataclass(frozen=True)
class KLTrace:
    """What became of q.

    Attributes:
        run: how it learned.
        means: of q at the start and after each of T steps, ``(T + 1,) float64``.
        stds: the same of its standard deviation.
        gradients: that steps were taken by, ``(T, 2) float64``, and one more where the run stopped.
        left: what the last step would have made of q, where that has no std above 0 or is not
            finite: the run has stopped there, and the step is not counted. None where it went on
            to its end.
    """

    run: KLRun
    means: np.ndarray
    stds: np.ndarray
    gradients: np.ndarray
    left: Gaussian | None

    def __getitem__(self, step: int) -> Gaussian:
        """Q after a step."""
        return Gaussian(float(self.means[step]), float(self.stds[step]))

    @property
    def steps(self) -> int:
        """T, that were taken."""
        return len(self.means) - 1

    @property
    def end(self) -> Gaussian:
        """The last q that was one."""
        return self[self.steps]

    @property
    def kl(self) -> np.ndarray:
        """Exact KL(q‖p) at the start and after each step, ``(T + 1,) float64``."""
        return np.array([gaussian_kl(self[k], self.run.target) for k in range(self.steps + 1)])

    @property
    def verdict(self) -> Literal["converged", "did not converge", "stopped"]:
        """How it ended."""
        if self.left is not None:
            return "stopped"
        found = gaussian_kl(self.end, self.run.target) < CONVERGED
        return "converged" if found else "did not converge"


def descend(run: KLRun, *, seed: int = 0) -> KLTrace:
    """Lets q learn.

    Args:
        run: how.
        seed: of the draws, if there are any. Runs by scores with the same seed have the same noise.
    """
    gradient_at = run.estimator(seed=seed)
    q, left = run.start, None
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
            left = following
            break
        q = following
        path.append(q)
    means, stds = np.array(path).T
    return KLTrace(run, means, stds, np.array(gradients), left)


def gradient_spread(run: KLRun, *, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of ``count`` estimates at the start, ``(2,) float64`` each."""
    gradient_at = run.estimator(seed=seed)
    found = np.array([gradient_at(run.start) for _ in range(count)])
    return found.mean(0), found.std(0, ddof=1)


def spread_steps(last: int, most: int) -> list[int]:
    """At most ``most`` steps from 0 to ``last``, both included, closer at the start.

    Raises:
        ValueError: ``most`` is less than 2.
    """
    if most < 2:
        raise ValueError(f"most: expected at least 2, got {most}")
    return sorted({round(last * (k / (most - 1)) ** 2) for k in range(most)})


class _Q(Factor):
    """A Gaussian whose std is a parameter itself."""

    reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "all real numbers"

    def __init__(self, q: Gaussian) -> None:
        super().__init__()
        self.shape = ()
        self.loc = nn.Parameter(torch.tensor(q.mean, dtype=torch.float64))
        self.scale = nn.Parameter(torch.tensor(q.std, dtype=torch.float64))

    def distribution(self) -> Distribution:
        """See :meth:`Factor.distribution`."""
        return Normal(self.loc, self.scale, validate_args=False)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See :meth:`Factor.draw`."""
        noise = torch.randn(count, generator=generator, dtype=self.loc.dtype)
        return self.loc + self.scale * noise


def _score_estimator(run: KLRun, seed: int) -> Gradient:
    """By the gradient of the ELBO, which is −KL(q‖p) since p is a density.

    With one variable there is nothing to leave out of its gradient, and so Rao-Blackwellisation
    changes nothing.
    """
    mean, std = run.target
    constant = math.log(std) + 0.5 * math.log(math.tau)
    log_joint = LogJoint({"p": lambda x: -0.5 * ((x - mean) / std) ** 2 - constant})
    factor = _Q(run.start)
    family = VariationalFamily({"x": factor})
    config = GradientConfig(samples=run.draws, control_variates=run.control_variates)
    generator = torch_generator(seed, "kl")

    def estimate(q: Gaussian) -> tuple[float, float]:
        with torch.no_grad():
            factor.loc.fill_(q.mean)
            factor.scale.fill_(q.std)
        found = elbo_gradient(log_joint, family, generator=generator, config=config)
        by_mean, by_std = (-float(value) for value in found.gradients.values())
        return by_mean, by_std

    return estimate
