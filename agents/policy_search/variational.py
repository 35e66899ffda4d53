"""Variational policy search, which learns a posterior over controllers."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.base import ControllerSearch, fitness_metrics, initial_mean
from wmrl.agents.policy_search.fitness import Fitness
from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
from wmrl.agents.seeds import training_seed
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.config import check_fields
from wmrl.core.seeding import torch_generator
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.inference.elbo_gradient import control_variate_mean, score_function
from wmrl.inference.factor import Factor
from wmrl.inference.gaussian_factors import LowRankNormalFactor, NormalFactor

_CHECKPOINT = "variational"
_MAX_STEP = 0.2  # maximum change per generation of a log std, and of directions relative to the std


@dataclass(frozen=True, kw_only=True)
class VariationalSearchConfig:
    """Settings of :class:`VariationalSearch`.

    Attributes:
        generations: total number of generations.
        population_size: P, number of controllers drawn and evaluated per generation.
        rank: number of directions along which parameters may be correlated; 0 for independent
            parameters.
        std: initial standard deviation of each parameter.
        prior_std: s, standard deviation of the prior N(0, s²) on each parameter.
        alpha: initial α, the weight of the KL divergence from the prior: each nat of divergence
            costs α units of the transformed return (see ``returns``). For example, the divergence
            is 1.8 N nats if each of N parameters has a mean of 0 and a standard deviation of
            ``prior_std / 10``.
        alpha_final: final α, reached by geometric decay; None for a constant α.
        returns: transformation of the returns of a generation. ``"raw"`` leaves them unchanged.
            ``"standardized"`` gives them a mean of 0 and a variance of 1. ``"ranks"`` replaces them
            with their ranks, and standardizes the ranks. With ``"standardized"`` or ``"ranks"``,
            the objective changes from generation to generation, so the result is not the posterior
            of a fixed log joint.
        learning_rate: learning rate of the mean, which moves by natural gradient steps.
        std_learning_rate: learning rate of the standard deviations and directions. None for
            (3 + ln N) / (5 √N) with N parameters, as in separable natural evolution strategies
            (Schaul, Glasmachers and Schmidhuber 2011).
        not_finite: treatment of returns that are NaN or infinite. ``"worst"`` replaces them with
            the worst finite return of the generation, and raises an error only if they are more
            than half of the generation. ``"raise"`` raises an error if a generation has any such
            return.
        checkpoint_every: number of generations between checkpoints.

    Example:
        >>> from wmrl.agents import VariationalSearchConfig
        >>> config = VariationalSearchConfig(generations=5, alpha=1.6, alpha_final=0.1)
        >>> [round(config.alpha_at(generation), 3) for generation in range(5)]
        [1.6, 0.8, 0.4, 0.2, 0.1]
    """

    generations: int = 300
    population_size: int = 64
    rank: int = 0
    std: float = 0.1
    prior_std: float = 1.0
    alpha: float = 0.1
    alpha_final: float | None = None
    returns: Literal["raw", "standardized", "ranks"] = "raw"
    learning_rate: float = 1.0
    std_learning_rate: float | None = None
    not_finite: Literal["worst", "raise"] = "worst"
    checkpoint_every: int = 5

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least in (
            ("generations", 1),
            ("population_size", 4),
            ("rank", 0),
            ("checkpoint_every", 1),
        ):
            check_int(name, getattr(self, name), at_least=least)
        positive = ("std", "prior_std", "alpha", "learning_rate")
        optional = ("alpha_final", "std_learning_rate")
        for name in (*positive, *optional):
            value = getattr(self, name)
            if value is None and name in optional:
                continue
            check_float(name, value, above=0)
        check_choice("returns", self.returns, ("raw", "standardized", "ranks"))
        check_choice("not_finite", self.not_finite, ("worst", "raise"))

    def alpha_at(self, generation: int) -> float:
        """Returns α in a generation; the first generation has the number 0."""
        last = self.alpha if self.alpha_final is None else self.alpha_final
        share = generation / max(1, self.generations - 1)
        return float(self.alpha * (last / self.alpha) ** share)


class VariationalSearch(ControllerSearch):
    """Variational search for a normal posterior q over a controller's parameters θ.

    The search maximizes the ELBO of the log joint log p(θ) + return(θ) / α, with a normal prior
    p(θ). Multiplied by α, this ELBO is the mean return of controllers drawn from q, minus α times
    the KL divergence of q from the prior. The gradient of the mean return is estimated as in
    black-box variational inference (Ranganath, Gerrish and Blei 2014,
    https://arxiv.org/abs/1401.0118), by the score-function gradient with control variates. The
    gradient of the divergence is exact.

    The search takes natural gradient steps of limited length. Without the limit, noise in the
    returns would make the steps too long if α is low. A step of the mean is at most
    ``learning_rate`` times √(N / P) standard deviations long, for N parameters and P controllers
    per generation. Noise alone causes steps of this length if return / α has a variance of 1. The
    other parameters of q are its standard deviations and the directions of correlation between
    parameters. Let r be the standard deviation of return / α in a generation. If r is above 1, the
    steps of these other parameters are divided by r.

    The agent uses the posterior's mean as its parameters, and can draw other controllers from the
    posterior. A run that is killed and resumed gives bit-identical results, because the randomness
    of a generation depends only on the root seed and the generation number.

    Args:
        fitness: fitness function; its scores are the returns.
        config: settings.
        path: folder of the run. It is locked until :meth:`close` is called.
        seed: root seed.
        init: agent or parameters ``(N,)`` to use as the initial mean; None for zeros.
        world_model: reference to the controllers' world model, which is saved with the agent; None
            for no reference.

    Attributes:
        posterior: posterior q, with float64 parameters.
        seconds: search time of this run in seconds, including the time before interruptions.

    Raises:
        RunError: the folder is in use, or belongs to a run with a different configuration.
        ValueError: ``init`` does not match the controller of ``fitness``, or is not finite.
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
        world_model: WorldModelRef | None = None,
    ) -> None:
        self.config = config or VariationalSearchConfig()
        self._done = 0
        self._scheduled = self.config.alpha_final not in (None, self.config.alpha)
        start = initial_mean(fitness, init)
        self.posterior = make_posterior(start, self.config, seed=seed)
        super().__init__(fitness, self.config, start, path=path, seed=seed, world_model=world_model)

    @property
    def generation(self) -> int:
        """Number of finished generations."""
        return self._done

    @property
    def agent(self) -> PosteriorAgent:
        """Agent with the current posterior."""
        arrays = {name: p.detach().numpy() for name, p in self.posterior.named_parameters()}
        # Standard deviations may underflow in the agent's float32.
        std = np.exp(arrays["log_scale"]).clip(min=np.finfo(np.float32).tiny)
        return PosteriorAgent(
            self.fitness.controller,
            arrays["loc"],
            std,
            arrays.get("directions"),
            world_model=self.world_model,
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
        """Starts a new search with the mean of a saved posterior as the initial mean.

        To resume an interrupted search, repeat the call that started it, with the same arguments.

        Args:
            name_or_path: name of a shipped :class:`PosteriorAgent`, or folder of a saved one.
            fitness: fitness function; its scores are the returns.
            config: settings.
            path: folder of the run.
            seed: root seed.
        """
        init = PosteriorAgent.load(name_or_path)
        start = init.parameters.astype(np.float64)
        return cls(fitness, config, path=path, seed=seed, init=start, world_model=init.world_model)

    def _generate(self) -> dict[str, float]:
        """Implements :meth:`ControllerSearch._generate`."""
        config, generation = self.config, self.generation
        generator = torch_generator(self._seed, "variational", generation)
        with torch.no_grad():
            drawn = self.posterior.draw(config.population_size, generator)
        seed = training_seed(self._seed, "variational", generation, "fitness")
        returns, finite = self._returns(drawn.numpy(), seed)
        alpha = config.alpha_at(generation)
        kept = np.where(finite, returns, returns[finite].min())
        utilities = torch.from_numpy(transform_returns(kept, config.returns) / alpha)
        step = natural_step(self.posterior, drawn, utilities, prior_std=config.prior_std)
        max_length = math.sqrt(drawn.shape[1] / config.population_size)
        spread = float(utilities.std(correction=0))
        self._move(step, max_length=max_length, std_scale=1.0 / max(1.0, spread))
        self._done += 1
        divergence = float(prior_divergence(self.posterior, config.prior_std).detach())
        std = self.posterior.std
        return {
            **fitness_metrics(returns, finite),
            "posterior/alpha": alpha,
            "posterior/divergence": divergence,
            "posterior/std": float(std.mean()),
            "posterior/mean_norm": float(self.posterior.mean.norm()),
        }

    def _move(self, step: dict[str, Tensor], *, max_length: float, std_scale: float) -> None:
        """Takes a natural gradient step of limited length.

        Args:
            step: natural gradients by parameter name, as returned by :func:`natural_step`.
            max_length: maximum length of the mean's step at a learning rate of 1. It is measured in
                standard deviations of the posterior.
            std_scale: factor for the steps of the posterior's standard deviations and directions,
                in addition to their learning rate.
        """
        size = len(step["loc"])
        own = self.config.std_learning_rate
        std_rate = (3.0 + math.log(size)) / (5.0 * math.sqrt(size)) if own is None else own
        std_rate *= std_scale
        parameters = dict(self.posterior.named_parameters())
        scale = parameters["log_scale"].detach().exp()
        length = float((step["loc"] / scale).norm())
        rate = self.config.learning_rate * min(1.0, max_length / max(length, 1e-12))
        with torch.no_grad():
            parameters["loc"].add_(rate * step["loc"])
            moved = (std_rate * step["log_scale"]).clamp(-_MAX_STEP, _MAX_STEP)
            parameters["log_scale"].add_(moved)
            if "directions" in step:
                limit = _MAX_STEP * scale[:, None]
                moved = (std_rate * step["directions"]).clamp(-limit, limit)
                parameters["directions"].add_(moved)

    def _checkpoint(self) -> Path:
        tensors = {name: p.detach() for name, p in self.posterior.named_parameters()}
        state = {"generation": self.generation, "seconds": self.seconds}
        return self._run.save_checkpoint(_CHECKPOINT, tensors, state)

    def _restore(self) -> None:
        checkpoint = self._run.load_checkpoint(_CHECKPOINT)
        if checkpoint is not None:
            self._resumed_from = checkpoint.path
            self.posterior.load_state_dict(checkpoint.tensors)
            self._done = checkpoint.state["generation"]
            self.seconds = checkpoint.state["seconds"]


def make_posterior(mean: np.ndarray, config: VariationalSearchConfig, *, seed: int) -> Factor:
    """Creates the initial posterior in float64.

    Args:
        mean: mean of the posterior, ``(N,)``.
        config: settings of the search.
        seed: root seed. It determines the initial directions if ``config.rank`` is above 0, and has
            no effect otherwise.
    """
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


def transform_returns(returns: np.ndarray, kind: str) -> np.ndarray:
    """Transforms the returns of a generation.

    Args:
        returns: finite returns, ``(P,)``.
        kind: ``"raw"``, ``"standardized"`` or ``"ranks"``, as in
            :attr:`VariationalSearchConfig.returns`. Equal returns have equal ranks. If all returns
            are equal, ``"standardized"`` and ``"ranks"`` replace them with 0.
    """
    if kind == "raw":
        return returns
    values = returns
    if kind == "ranks":
        values = rankdata(returns)
    centered: np.ndarray = values - values.mean()
    spread = centered.std()
    return centered / spread if spread > 0 else np.zeros_like(centered)


def prior_divergence(posterior: Factor, prior_std: float) -> Tensor:
    """Computes the KL divergence of a normal posterior from the prior, in nats.

    Args:
        posterior: normal distribution q.
        prior_std: s, standard deviation of the prior N(0, s²I).

    Returns:
        KL(q ‖ N(0, s²I)), a tensor of shape ``()``.
    """
    q = posterior.distribution()
    entropy, size = q.entropy().sum(), posterior.shape[0]
    squares = (q.variance + q.mean.square()).sum()
    constant = 0.5 * size * math.log(2.0 * math.pi * prior_std**2)
    return 0.5 * squares / prior_std**2 + constant - entropy


def natural_step(
    posterior: Factor, drawn: Tensor, utilities: Tensor, *, prior_std: float
) -> dict[str, Tensor]:
    """Estimates the natural gradient of E_q[utility] − KL(q ‖ prior).

    q is the normal distribution N(m, diag(σ²) + VVᵀ), or N(m, diag(σ²)) if it has no directions V.
    The natural gradient is the gradient multiplied by the inverse Fisher information. For m, the
    inverse Fisher information is the covariance of q. For log σ, this function uses ½ as the
    inverse Fisher information, which is exact if q has no directions, and approximate otherwise.
    For V, this function uses σ², which is an approximation.

    Args:
        posterior: normal distribution q.
        drawn: samples ``(P, N)`` from q.
        utilities: ``(P,)``, utility of each sample: its transformed return divided by α.
        prior_std: s, standard deviation of the prior N(0, s²I).

    Returns:
        Natural gradients, keyed by the names of q's parameters.
    """
    parameters = dict(posterior.named_parameters())
    with torch.enable_grad():
        divergence = prior_divergence(posterior, prior_std)
    exact = torch.autograd.grad(divergence, list(parameters.values()))
    step = {}
    for (name, score), own in zip(score_function(posterior, drawn).items(), exact, strict=True):
        signal = utilities.reshape(-1, *(1,) * (score.ndim - 1))
        step[name] = control_variate_mean(signal * score, score) - own
    variance = (2.0 * parameters["log_scale"].detach()).exp()
    loc = variance * step["loc"]
    if "directions" in step:
        directions = parameters["directions"].detach()
        loc = loc + directions @ (directions.mT @ step["loc"])
        step["directions"] = variance[:, None] * step["directions"]
    return step | {"loc": loc, "log_scale": 0.5 * step["log_scale"]}
