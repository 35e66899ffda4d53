"""Black-box variational inference by gradient ascent on the ELBO."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from wmrl.core.config import check_fields
from wmrl.core.device import resolve_device
from wmrl.core.seeding import torch_generator
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.inference._fit_checks import (
    check_batch_size,
    check_initial_terms,
    check_variables,
    is_term_bug,
)
from wmrl.inference._nonfinite import NonFiniteTracker
from wmrl.inference.diagnostics import MIN_SAMPLES, ImportanceCheck, importance_check
from wmrl.inference.elbo_gradient import (
    ElboGradient,
    Estimator,
    GradientConfig,
    choose_estimators,
    elbo_gradient,
)
from wmrl.inference.family import VariationalFamily
from wmrl.inference.log_joint import LogJoint
from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import Callback, RunContext
from wmrl.training.progress import progress_bar

EstimatorChoice = Literal["auto", "score"]
Optimizer = Literal["adam", "adagrad"]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of :func:`fit_posterior`.

    The learning rate is constant while the ELBO rises. After each window of steps, the mean ELBO of
    the window is compared with that of the best window so far. The ELBO has risen if the new mean
    is higher by more than one standard error of the difference. After ``patience`` windows in a row
    without a rise (a plateau), the learning rate decays. After ``max_lr_decays`` decays, the next
    plateau ends the fit, which has then converged.

    Attributes:
        steps: maximum number of steps.
        estimator: ``"auto"`` uses the reparameterized gradient for each variable that allows it,
            and the score-function gradient for the others. ``"score"`` uses the score-function
            gradient for all variables.
        gradient: settings of the gradient estimate: the number of samples per step, and the
            variance reduction of score-function gradients.
        optimizer: ``"adam"``, or ``"adagrad"`` as in Ranganath, Gerrish and Blei (2014).
        learning_rate: initial learning rate.
        window: number of steps per window.
        patience: number of windows without a rise before the learning rate decays.
        lr_decay: factor by which the learning rate is multiplied at each decay.
        max_lr_decays: maximum number of decays.
        batch_size: number of observations per step, drawn with replacement from the data that
            :attr:`Term.minibatched` names; None for all observations.
        importance_samples: number of samples for the importance check after the last step.
    """

    steps: int = 20_000
    estimator: EstimatorChoice = "auto"
    gradient: GradientConfig = field(default_factory=GradientConfig)
    optimizer: Optimizer = "adam"
    learning_rate: float = 0.05
    window: int = 100
    patience: int = 3
    lr_decay: float = 0.2
    max_lr_decays: int = 3
    batch_size: int | None = None
    importance_samples: int = 4000

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("steps", "window", "patience"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("max_lr_decays", self.max_lr_decays, at_least=0)
        if self.batch_size is not None:
            check_int("batch_size", self.batch_size, at_least=1)
        check_int("importance_samples", self.importance_samples, at_least=MIN_SAMPLES)
        check_float("learning_rate", self.learning_rate, above=0)
        check_float("lr_decay", self.lr_decay, above=0, below=1)
        check_choice("estimator", self.estimator, get_args(EstimatorChoice))
        check_choice("optimizer", self.optimizer, get_args(Optimizer))


@dataclass(frozen=True)
class Posterior:
    """Approximate posterior, with diagnostics of its quality.

    Attributes:
        family: fitted variational distribution q.
        check: result of the importance check after the last step: ELBO, log evidence, k̂ and
            others.
        converged: True if the fit converged within the maximum number of steps.
        steps: number of steps taken.
        estimators: gradient estimator by variable name, ``"score"`` or ``"reparameterized"``.
        trace: metrics of each window of steps, with the keys ``step``, ``elbo``, ``elbo_se`` and
            ``learning_rate``.
        config: settings of the fit.
        seed: root seed of the fit.
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
        """Estimate of the evidence lower bound (ELBO), in nats."""
        return self.check.elbo

    @property
    def log_evidence(self) -> float:
        """Estimate of the log evidence log p(x) of the data x, in nats."""
        return self.check.log_evidence

    @property
    def pareto_k(self) -> float:
        """k̂, the estimated shape parameter of the tail of the importance weights."""
        return self.check.pareto_k

    @property
    def verdict(self) -> str:
        """Quality of the fit in words, such as "good: the approximation covers the posterior"."""
        return self.check.verdict


def fit_posterior(
    log_joint: LogJoint,
    family: VariationalFamily,
    config: FitConfig | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    path: str | Path | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> Posterior:
    """Fits a variational family to a posterior by maximizing the ELBO.

    The method is black-box variational inference (Ranganath, Gerrish and Blei 2014,
    https://arxiv.org/abs/1401.0118).

    Args:
        log_joint: log joint density log p(x, z) of the data x and the latent variables z.
        family: initial variational distribution, with a factor for each latent variable. It is
            fitted in place, except for parameters whose ``requires_grad`` is False. If
            :attr:`Posterior.verdict` says that single precision was too low, repeat the fit with
            ``family.double()``. Gamma and beta factors need double precision if the data
            are counts of about 100,000.
        config: settings of the fit; None for the default settings.
        seed: root seed of all randomness.
        device: device of the computation; ``"auto"`` for a GPU if there is one. The family is moved
            to this device. The data of the log joint are copied to it.
        path: folder to which :attr:`Posterior.trace` is written, as ``metrics.csv`` and TensorBoard
            events; None to write no files.
        callbacks: callbacks of the fit, see :class:`~wmrl.training.callbacks.Callback`. A row is
            logged after each window of steps. There are no checkpoints.
        progress: True to show a progress bar.

    Raises:
        ValueError: the factors do not match the log joint's variables, no parameter is trainable,
            or ``config.batch_size`` does not suit the log joint's data.
        TermError: a term raises an error, or its value has the wrong shape.
        FloatingPointError: a term or a gradient is not finite, or a distribution in a term rejects
            a value during the fit. The parameters are then reset to their values at the start of
            the current window of steps (:attr:`FitConfig.window`). If the error occurs in the
            importance check after the last step, the parameters keep their fitted values.

    Example:
        The posterior of a rate with a Gamma(2, 1) prior after 14 events in 4 intervals is
        Gamma(16, 5), with a mean of 3.2 and a standard deviation of 0.8.

        >>> import torch
        >>> from torch.distributions import Gamma, Poisson
        >>> from wmrl.inference import (
        ...     FitConfig, GammaFactor, LogJoint, Term, VariationalFamily, fit_posterior
        ... )
        >>> counts = torch.tensor([3.0, 5.0, 2.0, 4.0])
        >>> log_joint = LogJoint(
        ...     {
        ...         "prior": lambda rate: Gamma(2.0, 1.0).log_prob(rate),
        ...         "data": Term(
        ...             lambda rate, c: Poisson(rate[:, None]).log_prob(c).sum(1), {"c": counts}
        ...         ),
        ...     }
        ... )
        >>> family = VariationalFamily({"rate": GammaFactor()})
        >>> posterior = fit_posterior(
        ...     log_joint, family, FitConfig(steps=300), device="cpu", progress=False
        ... )
        >>> rate = posterior.family["rate"]
        >>> print(f"{rate.mean:.1f} ± {rate.std:.1f}")
        3.2 ± 0.8
        >>> print(posterior.verdict)
        good: the approximation covers the posterior
    """
    config = config or FitConfig()
    check_variables(log_joint, family)
    check_batch_size(log_joint, config.batch_size)
    where = resolve_device(device)
    family, log_joint = family.to(where), log_joint.to(where)
    generator = torch_generator(seed, "fit-posterior", device=where)
    estimators: dict[str, Estimator] = dict.fromkeys(family.names, "score")
    check_initial_terms(log_joint, family, config.batch_size, generator)
    if config.estimator == "auto":
        estimators = choose_estimators(log_joint, family, generator)
    fit = _Fit(log_joint, family, config, estimators, generator)
    trace: list[dict[str, float]] = []
    context = RunContext(name="posterior", path=None if path is None else Path(path))
    with (
        CallbackList(callbacks, context, progress=progress) as running,
        progress_bar("posterior", total=config.steps, show=progress) as advance,
    ):
        while not fit.done and not running.stopped:
            trace.append(fit.run_window())
            advance(
                fit.steps,
                f"ELBO {trace[-1]['elbo']:.3f}",
                total=fit.steps if fit.done else None,  # it may have converged earlier
            )
            running.log(fit.steps, {k: v for k, v in trace[-1].items() if k != "step"})
    try:
        check = importance_check(
            log_joint, family, samples=config.importance_samples, generator=generator
        )
    except ValueError as error:
        if is_term_bug(error):
            raise
        # The cause is a rare sample: no step drew one like it.
        raise FloatingPointError(
            f"{error} (in the importance check after {fit.steps} steps); the family keeps its "
            "fitted parameters; choose factors with the same support as the model"
        ) from error
    return Posterior(
        family, check, fit.converged, fit.steps, estimators, tuple(trace), config, seed
    )


class _Fit:
    """Optimization of a family, one window of steps at a time."""

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
        self.steps, self.lr_decays, self.converged = 0, 0, False
        make = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[config.optimizer]
        learned = ((name, each) for name, each in family.named_parameters() if each.requires_grad)
        self._parameters = dict(learned)
        if not self._parameters:
            raise ValueError(
                "family: expected trainable parameters, got none; set requires_grad to True for at "
                "least one parameter"
            )
        self._optimizer = make(self._parameters.values(), lr=config.learning_rate)
        self._best = (-math.inf, 0.0)  # ELBO of the best window, and its squared standard error
        self._waited = 0  # windows since the best one

    @property
    def done(self) -> bool:
        """True if the fit has converged or has taken the maximum number of steps."""
        return self.converged or self.steps >= self.config.steps

    def run_window(self) -> dict[str, float]:
        """Takes the steps of one window, then updates the learning rate or ends the fit.

        Returns:
            Metrics of the window, an entry of :attr:`Posterior.trace`.
        """
        good = {name: value.detach().clone() for name, value in self._parameters.items()}
        sums = {name: torch.zeros_like(value) for name, value in good.items()}
        tracker = NonFiniteTracker(self.log_joint, self.family)
        elbos: list[Tensor] = []
        first = self.steps
        for _ in range(min(self.config.window, self.config.steps - first)):
            try:
                found = self._step()
            except ValueError as error:
                # The cause may be parameters that an earlier step made non-finite.
                self._check_finite(tracker, good, first)
                self._restore(good)
                if is_term_bug(error):
                    raise
                raise FloatingPointError(
                    f"log_joint: {error} (step {self.steps + 1}); {self._advice(first)}"
                ) from error
            self.steps += 1
            elbos.append(found.elbo.mean())
            tracker.update(found.terms)
            for name, parameter in self._parameters.items():
                sums[name] += parameter.detach()
        self._check_finite(tracker, good, first)
        elbo = torch.stack(elbos).double().cpu()
        squared_error = float(elbo.var() / len(elbo)) if len(elbo) > 1 else 0.0
        rate = self._optimizer.param_groups[0]["lr"]
        mean = float(elbo.mean())
        self._update_learning_rate(mean, squared_error)
        # At a plateau, the average over a window is more accurate than its last step.
        if self.done and self.lr_decays:
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(sums[name] / len(elbos))
        return {
            "step": self.steps,
            "elbo": mean,
            "elbo_se": squared_error**0.5,
            "learning_rate": rate,
        }

    def _step(self) -> ElboGradient:
        """Takes an optimizer step, and returns the gradient estimate that it was based on."""
        found = elbo_gradient(
            self.log_joint,
            self.family,
            generator=self.generator,
            config=self.config.gradient,
            estimators=self.estimators,
            indices=self._minibatch(),
        )
        for name, parameter in self._parameters.items():
            # Terms with float64 data lead to float64 gradients.
            parameter.grad = -found.gradients[name].to(parameter.dtype)
        self._optimizer.step()
        return found

    def _minibatch(self) -> Tensor | None:
        """Draws the indices of a minibatch, ``(B,) int64``; returns None if all data are used."""
        size = self.config.batch_size
        if size is None:
            return None
        device = self.family.device
        return torch.randint(
            self.log_joint.num_observations, (size,), generator=self.generator, device=device
        )

    def _update_learning_rate(self, mean: float, squared_error: float) -> None:
        """Decays the learning rate, or ends the fit, at a plateau.

        A plateau is a series of ``config.patience`` windows in which the ELBO has not risen.

        Args:
            mean: mean ELBO of the current window.
            squared_error: squared standard error of ``mean``.
        """
        best, best_squared_error = self._best
        if mean - best > (squared_error + best_squared_error) ** 0.5:
            self._best, self._waited = (mean, squared_error), 0
            return
        self._waited += 1
        if self._waited < self.config.patience:
            return
        self._waited = 0
        self.converged = self.lr_decays == self.config.max_lr_decays
        self.lr_decays += 1
        for group in self._optimizer.param_groups:
            group["lr"] *= self.config.lr_decay

    def _restore(self, good: dict[str, Tensor]) -> None:
        """Resets the parameters to ``good``, their values at the start of the current window."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(good[name])

    def _advice(self, first: int) -> str:
        return (
            f"the family was reset to the parameters that it had after step {first}; use a "
            f"learning_rate below {self.config.learning_rate}, or factors with the same support as "
            "the model"
        )

    def _check_finite(self, tracker: NonFiniteTracker, good: dict[str, Tensor], first: int) -> None:
        """Checks that all terms and gradients of the current window were finite.

        Args:
            tracker: record of the non-finite values of the window.
            good: values of the parameters at the start of the window.
            first: number of steps taken before the window.

        Raises:
            FloatingPointError: a value was not finite. The parameters are then reset to ``good``.
        """
        if bool(tracker.all_finite):
            return
        self._restore(good)
        step = first + int(tracker.finite_steps) + 1
        raise FloatingPointError(
            f"log_joint: {tracker.describe()} at step {step}; {self._advice(first)}"
        )
