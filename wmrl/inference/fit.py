"""Black-box variational inference: fits a family to a posterior by the gradient of the ELBO."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Literal

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from torch import Tensor

from wmrl.core.device import resolve_device
from wmrl.core.seeding import torch_generator
from wmrl.inference._nonfinite import FiniteWatch, bad_draws
from wmrl.inference.diagnostics import LEAST_SAMPLES, ImportanceCheck, importance_check
from wmrl.inference.elbo_gradient import (
    ElboGradient,
    Estimator,
    GradientConfig,
    choose_estimators,
    elbo_gradient,
)
from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint, TermError
from wmrl.training.metrics import MetricsLogger

_LEAST = {
    "steps": 1,
    "window": 1,
    "patience": 1,
    "falls": 0,
    "batch_size": 1,
    "importance_samples": LEAST_SAMPLES,
}
_LOOKED_AT = 64  # draws that are looked at before anything is learned


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a family is fitted.

    The learning rate is constant for as long as the ELBO rises: its mean over a window of steps is
    compared with that of the best window before. Where for some windows it has not risen by more
    than a standard error of the difference, the learning rate falls; after some falls it has
    converged.

    Attributes:
        steps: at most.
        estimator: ``"auto"`` for the reparameterised gradient wherever a variable allows it, or
            ``"score"`` for the score-function gradient everywhere.
        gradient: draws a step, and what lowers the score gradient's variance.
        optimizer: ``"adam"``, or ``"adagrad"`` as in the paper.
        learning_rate: at the start.
        window: steps between looks.
        patience: windows without a rise before the learning rate falls.
        fall: what it is multiplied by.
        falls: how often it falls; at the window's end where it would fall once more, it is over.
        batch_size: observations a step, drawn with replacement; None for all. Terms say which of
            their data these are.
        importance_samples: draws that the result is judged by.
    """

    steps: int = 20_000
    estimator: Literal["auto", "score"] = "auto"
    gradient: GradientConfig = field(default_factory=GradientConfig)
    optimizer: Literal["adam", "adagrad"] = "adam"
    learning_rate: float = 0.05
    window: int = 100
    patience: int = 3
    fall: float = 0.2
    falls: int = 3
    batch_size: int | None = None
    importance_samples: int = 4000

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if name == "batch_size" and value is None:
                continue
            if not isinstance(value, Integral) or value < least:
                raise ValueError(
                    f"{name}: expected a whole number of at least {least}, got {value}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate: expected a finite number above 0, got {self.learning_rate}"
            )
        if not 0 < self.fall < 1:
            raise ValueError(f"fall: expected between 0 and 1, got {self.fall}")
        for name, known in (("estimator", ("auto", "score")), ("optimizer", ("adam", "adagrad"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {known}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Posterior:
    """An approximate posterior, and how good it is.

    Attributes:
        family: q, fitted.
        check: ELBO with its standard error, log evidence and k̂, by importance sampling.
        converged: whether the convergence rule, and not ``steps``, ended it.
        steps: that were taken.
        estimators: how each variable's gradient was estimated.
        trace: a row for each window: ``step``, ``elbo``, ``elbo_se``, ``learning_rate``.
        config: how it was fitted.
        seed: root of all that was random.
    """

    family: VariationalFamily
    check: ImportanceCheck
    converged: bool
    steps: int
    estimators: dict[str, Estimator]
    trace: tuple[dict[str, float], ...]
    config: FitConfig
    seed: int

    @property
    def elbo(self) -> float:
        """The evidence lower bound."""
        return self.check.elbo

    @property
    def log_evidence(self) -> float:
        """Estimate of log p(x)."""
        return self.check.log_evidence

    @property
    def pareto_k(self) -> float:
        """k̂."""
        return self.check.pareto_k

    @property
    def verdict(self) -> str:
        """What k̂ means, in plain words."""
        return self.check.verdict


def fit_posterior(
    log_joint: LogJoint,
    family: VariationalFamily,
    config: FitConfig | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    path: str | Path | None = None,
    progress: bool = True,
) -> Posterior:
    """Maximises the ELBO (Ranganath, Gerrish and Blei 2014, https://arxiv.org/abs/1401.0118).

    Args:
        log_joint: log p(x, z).
        family: q at its start, a factor for each latent variable; it is fitted in place, but for
            parameters whose ``requires_grad`` is not set. In single precision; ``family.double()``
            is for densities that need more, as those of Gamma and Beta factors with counts of
            100,000: the verdict says where log q was too coarse.
        config: how.
        seed: root of all that is random.
        device: where; the family and the log joint's data go there.
        path: folder for the trace, as ``metrics.csv`` and for TensorBoard.
        progress: show a progress bar.

    Raises:
        ValueError: variables and factors do not match, a term raises an error or its value has
            another shape, nothing is to be learned, or minibatches are asked for of data that no
            term has.
        FloatingPointError: a term or a gradient is not finite, at the start or later, or a
            distribution refuses a value later than that; the family is then as it was when all was
            finite for the last time that anyone looked.
    """
    config = config or FitConfig()
    _check_variables(log_joint, family)
    _check_batches(log_joint, config.batch_size)
    where = resolve_device(device)
    family, log_joint = family.to(where), log_joint.to(where)
    generator = torch_generator(seed, "fit-posterior", device=where)
    estimators: dict[str, Estimator] = dict.fromkeys(family.names, "score")
    _check_start(log_joint, family, config.batch_size, generator)
    if config.estimator == "auto":
        estimators = choose_estimators(log_joint, family, generator)
    fit = _Fit(log_joint, family, config, estimators, generator)
    trace: list[dict[str, float]] = []
    logger = nullcontext() if path is None else MetricsLogger(path)
    with logger as log, _bar(config.steps, progress) as advance:
        while not fit.done:
            trace.append(fit.window())
            advance(fit.steps, trace[-1]["elbo"])
            if log is not None:
                log.log(fit.steps, {k: v for k, v in trace[-1].items() if k != "step"})
    try:
        check = importance_check(
            log_joint, family, samples=config.importance_samples, generator=generator
        )
    except ValueError as error:
        if _mistaken(error):
            raise
        # A rare draw, which none of the steps met.
        raise FloatingPointError(
            f"{error} (in the importance check after {fit.steps} steps); the family is fitted, and "
            "stays as it is: choose factors whose support is that of the model"
        ) from error
    return Posterior(
        family, check, fit.converged, fit.steps, estimators, tuple(trace), config, seed
    )


class _Fit:
    """Steps of the optimiser, a window at a time."""

    def __init__(
        self,
        log_joint: LogJoint,
        family: VariationalFamily,
        config: FitConfig,
        estimators: dict[str, Estimator],
        generator: torch.Generator,
    ) -> None:
        self.log_joint, self.family, self.config = log_joint, family, config
        self.estimators, self.generator = estimators, generator
        self.steps, self.falls, self.converged = 0, 0, False
        make = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[config.optimizer]
        learned = ((name, each) for name, each in family.named_parameters() if each.requires_grad)
        self._parameters = dict(learned)
        if not self._parameters:
            raise ValueError(
                "family: expected parameters to learn, got none whose requires_grad is set"
            )
        self._optimizer = make(self._parameters.values(), lr=config.learning_rate)
        self._best = (-math.inf, 0.0)  # a window's ELBO, and its squared error
        self._waited = 0  # windows since then

    @property
    def done(self) -> bool:
        return self.converged or self.steps >= self.config.steps

    def window(self) -> dict[str, float]:
        """Takes the steps until the next look, and looks."""
        good = {name: value.detach().clone() for name, value in self._parameters.items()}
        sums = {name: torch.zeros_like(value) for name, value in good.items()}
        watch = FiniteWatch(self.log_joint, self.family)
        elbos: list[Tensor] = []
        begun = self.steps
        for _ in range(min(self.config.window, self.config.steps - begun)):
            try:
                found = self._step()
            except ValueError as refused:
                self._check(watch, good, begun)  # it may be for what an earlier step left
                self._go_back(good)
                if _mistaken(refused):
                    raise
                raise FloatingPointError(
                    f"log_joint: {refused} (step {self.steps + 1}); {self._advice(begun)}"
                ) from refused
            self.steps += 1
            elbos.append(found.elbo.mean())
            watch.note(found.terms)
            for name, parameter in self._parameters.items():
                sums[name] += parameter.detach()
        self._check(watch, good, begun)
        elbo = torch.stack(elbos).double().cpu()
        error = float(elbo.var() / len(elbo)) if len(elbo) > 1 else 0.0
        rate = self._optimizer.param_groups[0]["lr"]
        mean = float(elbo.mean())
        self._settle(mean, error)
        # Where the ELBO rises no more, the mean over a window is steadier than its last step.
        if self.done and self.falls:
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(sums[name] / len(elbos))
        return {"step": self.steps, "elbo": mean, "elbo_se": error**0.5, "learning_rate": rate}

    def _step(self) -> ElboGradient:
        found = elbo_gradient(
            self.log_joint,
            self.family,
            generator=self.generator,
            config=self.config.gradient,
            estimators=self.estimators,
            rows=self._rows(),
        )
        for name, parameter in self._parameters.items():
            # A term of float64 data has float64 scores.
            parameter.grad = -found.gradients[name].to(parameter.dtype)
        self._optimizer.step()
        return found

    def _rows(self) -> Tensor | None:
        size = self.config.batch_size
        if size is None:
            return None
        device = self.family.device
        return torch.randint(
            self.log_joint.row_count, (size,), generator=self.generator, device=device
        )

    def _settle(self, mean: float, error: float) -> None:
        """Lets the learning rate fall, or ends it all, where the ELBO rises no more."""
        best, other = self._best
        if mean - best > (error + other) ** 0.5:
            self._best, self._waited = (mean, error), 0
            return
        self._waited += 1
        if self._waited < self.config.patience:
            return
        self._waited = 0
        self.converged = self.falls == self.config.falls
        self.falls += 1
        for group in self._optimizer.param_groups:
            group["lr"] *= self.config.fall

    def _go_back(self, good: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(good[name])

    def _advice(self, begun: int) -> str:
        return (
            f"the family is as it was after step {begun}: lower learning_rate, which is "
            f"{self.config.learning_rate}, or choose factors whose support is that of the model"
        )

    def _check(self, watch: FiniteWatch, good: dict[str, Tensor], begun: int) -> None:
        """Raises ``FloatingPointError``, from the window's start, unless all steps were fine."""
        if bool(watch.fine):
            return
        self._go_back(good)
        step = begun + int(watch.steps) + 1
        raise FloatingPointError(
            f"log_joint: {watch.blame()} at step {step}; {self._advice(begun)}"
        )


def _mistaken(error: ValueError) -> bool:
    """Whether a term is wrong in itself, and not at the value that it was given."""
    return isinstance(error, TermError) and not isinstance(error.__cause__, ValueError)


def _check_start(
    log_joint: LogJoint,
    family: VariationalFamily,
    batch_size: int | None,
    generator: torch.Generator,
) -> None:
    """Looks at each term before anything is learned, and at one of its minibatches."""
    values = family.draw(_LOOKED_AT, generator)
    if batch_size is not None:
        log_joint.evaluate(values, rows=torch.arange(batch_size, device=family.device))
    for name, value in log_joint.evaluate(values).items():
        count = int(bad_draws(value))
        if not count:
            continue
        supports = ", ".join(
            f"{each} is over {family[each].support}" for each in log_joint.terms[name].variables
        )
        found = float(value[~torch.isfinite(value)][0])
        raise FloatingPointError(
            f"log_joint: term {name!r} is {found} at {count} of {_LOOKED_AT} draws at the start; "
            f"the family's {supports}: choose a factor whose support is that of the model, or "
            "another start"
        )


def _check_variables(log_joint: LogJoint, family: VariationalFamily) -> None:
    missing = [name for name in log_joint.variables if name not in family.names]
    idle = [name for name in family.names if name not in log_joint.variables]
    if missing:
        raise ValueError(
            f"family: expected a factor for each of {', '.join(log_joint.variables)}, none is for "
            f"{', '.join(missing)}"
        )
    if idle:
        raise ValueError(
            f"family: expected factors of the log joint's variables "
            f"{', '.join(log_joint.variables)}, got also {', '.join(idle)}"
        )


def _check_batches(log_joint: LogJoint, size: int | None) -> None:
    if size is None:
        return
    if not log_joint.row_count:
        raise ValueError(
            f"batch_size: expected None where no term says which of its data are rows, got {size}"
        )
    if size > log_joint.row_count:
        raise ValueError(
            f"batch_size: expected at most the {log_joint.row_count} rows that there are, got "
            f"{size}"
        )


@contextmanager
def _bar(total: int, show: bool) -> Iterator[Callable[[int, float], None]]:
    columns = (TextColumn("[bold]posterior"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), disable=not show) as bar:
        task = bar.add_task("", total=total, note="")

        def advance(done: int, elbo: float) -> None:
            bar.update(task, completed=done, note=f"ELBO {elbo:.3f}")

        yield advance
