"""Variational policy search: a posterior over controllers, in dreams or in the real game."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.base import ControllerSearch, fitness_figures, initial_mean
from wmrl.agents.policy_search.fitness import Fitness
from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
from wmrl.agents.seeds import training_seed
from wmrl.core.seeding import torch_generator
from wmrl.inference.elbo_gradient import control_variate_mean, scores
from wmrl.inference.factor import Factor
from wmrl.inference.gaussian_factors import LowRankNormalFactor, NormalFactor

_CHECKPOINT = "variational"
_LONGEST = 0.2  # by which a log standard deviation moves in a generation at most


@dataclass(frozen=True, kw_only=True)
class VariationalSearchConfig:
    """How a posterior over controllers is searched for.

    Attributes:
        generations: how many in all.
        population: P, controllers that are drawn and tried in each.
        rank: directions in which parameters may be correlated; 0 for independent parameters.
        std: standard deviations at the start.
        prior_std: s of the prior N(0, s²) on each parameter.
        temperature: α at the start, in units of the returns (or of what replaces them). A nat of
            divergence from the prior is worth so much return, and N parameters that begin at a
            tenth of the prior's standard deviation have 1.8 N nats.
        final_temperature: α at the end, to which it falls geometrically; that of the start if None.
        returns: ``"raw"``; ``"standardised"`` within each generation, or their ``"ranks"``, spread
            evenly with a variance of 1. These two change the objective: the posterior is that of no
            fixed log joint.
        learning_rate: of the mean, in natural gradient steps.
        std_learning_rate: of the standard deviations; (3 + ln N) / (5 √N) if None, as in separable
            natural evolution strategies (Schaul, Glasmachers and Schmidhuber 2011).
        not_finite: what to do about a return that is NaN or infinite, as
            :class:`~wmrl.agents.policy_search.cma_es.CMAESConfig` has it: ``"worst"`` takes the
            worst finite one of the generation in its place.
        checkpoint_every: generations between checkpoints.
    """

    generations: int = 300
    population: int = 64
    rank: int = 0
    std: float = 0.1
    prior_std: float = 1.0
    temperature: float = 0.1
    final_temperature: float | None = None
    returns: Literal["raw", "standardised", "ranks"] = "raw"
    learning_rate: float = 1.0
    std_learning_rate: float | None = None
    not_finite: Literal["worst", "raise"] = "worst"
    checkpoint_every: int = 5

    def __post_init__(self) -> None:
        for name, least in (
            ("generations", 1),
            ("population", 4),
            ("rank", 0),
            ("checkpoint_every", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        positive = ("std", "prior_std", "temperature", "learning_rate")
        optional = ("final_temperature", "std_learning_rate")
        for name in (*positive, *optional):
            value = getattr(self, name)
            if value is None and name in optional:
                continue
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name}: expected a finite number above 0, got {value}")
        for name, known in (
            ("returns", ("raw", "standardised", "ranks")),
            ("not_finite", ("worst", "raise")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {known}, got {getattr(self, name)!r}")

    def temperature_at(self, generation: int) -> float:
        """α of a generation, which counts from 0."""
        last = self.temperature if self.final_temperature is None else self.final_temperature
        share = generation / max(1, self.generations - 1)
        return float(self.temperature * (last / self.temperature) ** share)


class VariationalSearch(ControllerSearch):
    """Learns a Gaussian posterior over a controller's parameters θ.

    The log joint is log p(θ) + return(θ) / α: α times the ELBO is the mean return of controllers
    drawn from q, less α times its divergence from the prior. The return's gradient is the score
    gradient with control variates of black-box variational inference (Ranganath, Gerrish and Blei
    2014, https://arxiv.org/abs/1401.0118), the divergence's is exact. Steps are natural gradients:
    the mean's no longer than ``learning_rate`` times √(N / P) standard deviations, the length that
    noise alone gives those of returns with a variance of 1; those of the standard deviations are
    divided by the spread of return / α where that is above 1. A low temperature so has no more of
    the returns' noise than a high one.

    Its agent acts by the posterior's mean, and others can be drawn from it. A generation's
    controllers and seeds are functions of the root seed and the generation's number, so a run that
    was killed goes on to the same bits.

    Args:
        fitness: returns.
        config: how.
        path: the run's folder, which this object owns until :meth:`close`.
        seed: root of all that is random.
        init: where the mean starts: an agent, or parameters ``(N,)``; zeros if None.
        eye: kept with the agent (see :class:`~wmrl.agents.agent.Agent`).

    Attributes:
        posterior: q, of float64 parameters.
        seconds: time spent searching so far, over all sessions.

    Raises:
        RunError: the folder is in use, or belongs to a run of another configuration.
        ValueError: ``init`` does not fit.
    """

    algorithm: ClassVar[str] = "variational"
    title: ClassVar[str] = "posterior"

    def __init__(
        self,
        fitness: Fitness,
        config: VariationalSearchConfig | None = None,
        *,
        path: str | Path,
        seed: int = 0,
        init: ControllerAgent | np.ndarray | None = None,
        eye: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config or VariationalSearchConfig()
        self._done = 0
        start = initial_mean(fitness, init)
        self.posterior = make_posterior(start, self.config, seed=seed)
        super().__init__(fitness, self.config, start, path=path, seed=seed, eye=eye)

    @property
    def generation(self) -> int:
        """How many generations are done."""
        return self._done

    @property
    def agent(self) -> PosteriorAgent:
        """The posterior, as an agent."""
        arrays = {name: p.detach().numpy() for name, p in self.posterior.named_parameters()}
        # A search that is sure of its mean may be so beyond what the agent's float32 can say.
        std = np.exp(arrays["log_scale"]).clip(min=np.finfo(np.float32).tiny)
        return PosteriorAgent(
            self.fitness.controller,
            arrays["loc"],
            std,
            arrays.get("directions"),
            eye=self.eye,
        )

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        fitness: Fitness,
        config: VariationalSearchConfig | None = None,
        *,
        path: str | Path,
        seed: int = 0,
    ) -> Self:
        """A new search from a saved mean; an interrupted one is resumed by making it again."""
        init = PosteriorAgent.load(name_or_path)
        start = init.parameters.astype(np.float64)
        return cls(fitness, config, path=path, seed=seed, init=start, eye=init.eye)

    def _generate(self) -> dict[str, float]:
        """One generation; returns its metrics."""
        config, generation = self.config, self.generation
        generator = torch_generator(self._seed, "variational", generation)
        with torch.no_grad():
            drawn = self.posterior.draw(config.population, generator)
        seed = training_seed(self._seed, "variational", generation, "fitness")
        returns, finite = self._returns(drawn.numpy(), seed)
        alpha = config.temperature_at(generation)
        kept = np.where(finite, returns, returns[finite].min())
        utilities = torch.from_numpy(transformed(kept, config.returns) / alpha)
        step = natural_step(self.posterior, drawn, utilities, prior_std=config.prior_std)
        longest = math.sqrt(drawn.shape[1] / config.population)
        spread = float(utilities.std(correction=0))
        self._move(step, longest=longest, share=1.0 / max(1.0, spread))
        self._done += 1
        divergence = float(prior_divergence(self.posterior, config.prior_std).detach())
        std = self.posterior.std
        return {
            **fitness_figures(returns, finite),
            "posterior/temperature": alpha,
            "posterior/divergence": divergence,
            "posterior/std": float(std.mean()),
            "posterior/mean_norm": float(self.posterior.mean.norm()),
        }

    def _move(self, step: dict[str, Tensor], *, longest: float, share: float) -> None:
        """Goes a natural gradient step, or as much of it as is allowed.

        Args:
            step: as :func:`natural_step` gives it.
            longest: of the mean's part, in standard deviations.
            share: of the other parts.
        """
        size = len(step["loc"])
        own = self.config.std_learning_rate
        std_rate = (3.0 + math.log(size)) / (5.0 * math.sqrt(size)) if own is None else own
        std_rate *= share
        parameters = dict(self.posterior.named_parameters())
        scale = parameters["log_scale"].detach().exp()
        length = float((step["loc"] / scale).norm())
        rate = self.config.learning_rate * min(1.0, longest / max(length, 1e-12))
        with torch.no_grad():
            parameters["loc"].add_(rate * step["loc"])
            moved = (std_rate * step["log_scale"]).clamp(-_LONGEST, _LONGEST)
            parameters["log_scale"].add_(moved)
            if "directions" in step:
                limit = _LONGEST * scale[:, None]
                moved = (std_rate * step["directions"]).clamp(-limit, limit)
                parameters["directions"].add_(moved)

    def _checkpoint(self) -> None:
        tensors = {name: p.detach() for name, p in self.posterior.named_parameters()}
        state = {"generation": self.generation, "seconds": self.seconds}
        self._run.save_checkpoint(_CHECKPOINT, tensors, state)

    def _restore(self) -> None:
        checkpoint = self._run.load_checkpoint(_CHECKPOINT)
        if checkpoint is not None:
            self.posterior.load_state_dict(checkpoint.tensors)
            self._done = checkpoint.state["generation"]
            self.seconds = checkpoint.state["seconds"]


def make_posterior(mean: np.ndarray, config: VariationalSearchConfig, *, seed: int) -> Factor:
    """Q at its start, with a mean ``(N,)``, in float64."""
    loc, size = torch.from_numpy(mean), len(mean)
    posterior: Factor
    if config.rank:
        generator = torch_generator(seed, "variational", "directions")
        posterior = LowRankNormalFactor(size, config.rank, std=config.std, generator=generator)
    else:
        posterior = NormalFactor(size, std=config.std)
    posterior = posterior.double()
    with torch.no_grad():
        dict(posterior.named_parameters())["loc"].copy_(loc)
    return posterior


def transformed(returns: np.ndarray, kind: str) -> np.ndarray:
    """Returns ``(P,)`` as they are, standardised, or their ranks with a variance of 1.

    Equal returns have equal ranks; where all are the same, so are the results, which are 0.
    """
    if kind == "raw":
        return returns
    values = returns
    if kind == "ranks":
        values = rankdata(returns)
    centred: np.ndarray = values - values.mean()
    spread = centred.std()
    return centred / spread if spread > 0 else np.zeros_like(centred)


def prior_divergence(posterior: Factor, prior_std: float) -> Tensor:
    """KL(q ‖ N(0, s²I)) of a Gaussian q, ``()``."""
    q = posterior.distribution()
    entropy, size = q.entropy().sum(), posterior.shape[0]
    squares = (q.variance + q.mean.square()).sum()
    constant = 0.5 * size * math.log(2.0 * math.pi * prior_std**2)
    return 0.5 * squares / prior_std**2 + constant - entropy


def natural_step(
    posterior: Factor, drawn: Tensor, utilities: Tensor, *, prior_std: float
) -> dict[str, Tensor]:
    """Natural gradient of E_q[utility] − KL(q ‖ prior), by the names of q's parameters.

    Exact for the mean and, with independent parameters, for the standard deviations, whose Fisher
    information is Σ⁻¹ and 2; directions are scaled by σ² in place of theirs.

    Args:
        posterior: q, Gaussian.
        drawn: ``(P, N)``, drawn from q.
        utilities: ``(P,)``.
        prior_std: s.
    """
    parameters = dict(posterior.named_parameters())
    with torch.enable_grad():
        divergence = prior_divergence(posterior, prior_std)
    exact = torch.autograd.grad(divergence, list(parameters.values()))
    step = {}
    for (name, score), own in zip(scores(posterior, drawn).items(), exact, strict=True):
        signal = utilities.reshape(-1, *(1,) * (score.ndim - 1))
        step[name] = control_variate_mean(signal * score, score) - own
    variance = (2.0 * parameters["log_scale"].detach()).exp()
    loc = variance * step["loc"]
    if "directions" in step:
        directions = parameters["directions"].detach()
        loc = loc + directions @ (directions.mT @ step["loc"])
        step["directions"] = variance[:, None] * step["directions"]
    return step | {"loc": loc, "log_scale": 0.5 * step["log_scale"]}
