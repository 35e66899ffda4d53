"""CMA-ES over the parameters of a controller, in dreams or in the real game."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch

from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.base import ControllerSearch, fitness_metrics, initial_mean
from wmrl.agents.policy_search.cma import (
    CMAState,
    check_state,
    cma_constants,
    cma_init,
    cma_sample,
    cma_update,
)
from wmrl.agents.policy_search.fitness import Fitness
from wmrl.agents.seeds import training_seed
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.config import check_fields
from wmrl.core.seeding import numpy_generator
from wmrl.core.validation import check_choice, check_float, check_int

_CHECKPOINT = "cma-es"
_FULL_LIMIT = 4000


@dataclass(frozen=True, kw_only=True)
class CMAESConfig:
    """Settings of :class:`CMAES`.

    Attributes:
        generations: total number of generations.
        population_size: λ, candidates per generation (64 in World Models).
        sigma: σ₀, initial step size.
        covariance: ``"full"`` to adapt the full covariance matrix, or ``"diagonal"`` to adapt
            variances only. Controllers with more than 4000 parameters require ``"diagonal"``.
        not_finite: treatment of candidates whose score is NaN or infinite. ``"worst"`` ranks them
            last, and raises an error only if they are more than half of a generation. ``"raise"``
            raises an error if a generation has any such candidate.
        checkpoint_every: number of generations between checkpoints.
    """

    generations: int = 300
    population_size: int = 32
    sigma: float = 0.1
    covariance: Literal["full", "diagonal"] = "full"
    not_finite: Literal["worst", "raise"] = "worst"
    checkpoint_every: int = 5

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least in (("generations", 1), ("population_size", 4), ("checkpoint_every", 1)):
            check_int(name, getattr(self, name), at_least=least)
        check_float("sigma", self.sigma, above=0)
        check_choice("covariance", self.covariance, ("full", "diagonal"))
        check_choice("not_finite", self.not_finite, ("worst", "raise"))


class CMAES(ControllerSearch):
    """CMA-ES over the parameters of a controller (https://arxiv.org/abs/1604.00772).

    The agent uses the mean of the search distribution as its parameters. Unlike the best candidate
    so far, the mean is not biased by lucky evaluations. A run that is killed and resumed gives
    bit-identical results, because the randomness of a generation depends only on the root seed and
    the generation number.

    Args:
        fitness: objective to maximize.
        config: settings.
        path: folder of the run. It is locked until :meth:`close` is called.
        seed: root seed.
        init: agent or parameters ``(N,)`` to use as the initial mean; None for zeros.
        world_model: reference to the controllers' world model, which is saved with the agent; None
            for no reference.

    Attributes:
        state: state of CMA-ES, which includes the search distribution.
        seconds: search time of this run in seconds, including the time before interruptions.

    Raises:
        RunError: the folder is in use, or belongs to a run with a different configuration.
        ValueError: ``init`` does not match the controller of ``fitness`` or is not finite, or the
            controller is too large for a full covariance.

    Example:
        >>> from wmrl.agents import CMAES, CMAESConfig, DreamFitness, DreamFitnessConfig
        >>> from wmrl.envs import WorldModel
        >>> world_model = WorldModel.open(
        ...     "car-racing", "car-racing-vae", "car-racing-mdnrnn", device="cpu"
        ... )
        >>> fitness = DreamFitness(world_model, DreamFitnessConfig(num_rollouts=2, agent_steps=3))
        >>> config = CMAESConfig(generations=1, population_size=4, sigma=0.05)
        >>> with CMAES(fitness, config, path="runs/cma-es") as search:
        ...     agent = search.learn(progress=False).agent
        >>> agent.parameters.shape == (fitness.controller.parameter_count,)
        True
    """

    algorithm: ClassVar[str] = "cma-es"
    title: ClassVar[str] = "CMA-ES"

    def __init__(
        self,
        fitness: Fitness,
        config: CMAESConfig | None = None,
        *,
        path: str | Path,
        seed: int = 0,
        init: ControllerAgent | np.ndarray | None = None,
        world_model: WorldModelRef | None = None,
    ) -> None:
        self.config = config or CMAESConfig()
        size = fitness.controller.parameter_count
        diagonal = self.config.covariance == "diagonal"
        if size > _FULL_LIMIT and not diagonal:
            raise ValueError(
                f"covariance: expected 'diagonal' for {size} parameters, got 'full', which needs "
                f"{8 * size**2 / 1e9:.1f} GB; use 'diagonal' or a smaller controller"
            )
        start = initial_mean(fitness, init)
        self._constants = cma_constants(size, self.config.population_size, diagonal=diagonal)
        self.state = cma_init(start, self.config.sigma, diagonal=diagonal)
        super().__init__(fitness, self.config, start, path=path, seed=seed, world_model=world_model)

    @property
    def generation(self) -> int:
        """Number of finished generations."""
        return int(self.state.generation)

    @property
    def agent(self) -> ControllerAgent:
        """Agent whose parameters are the mean of the search distribution."""
        return ControllerAgent(
            self.fitness.controller, self.state.mean, world_model=self.world_model
        )

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        fitness: Fitness,
        config: CMAESConfig | None = None,
        *,
        path: str | Path,
        seed: int = 0,
    ) -> Self:
        """Starts a new search with the parameters of a saved agent as the initial mean.

        To resume an interrupted search, repeat the call that started it, with the same arguments.

        Args:
            name_or_path: name of a shipped agent, or folder of a saved agent.
            fitness: objective to maximize.
            config: settings.
            path: folder of the run.
            seed: root seed.
        """
        init = ControllerAgent.load(name_or_path)
        return cls(fitness, config, path=path, seed=seed, init=init, world_model=init.world_model)

    def _generate(self) -> dict[str, float]:
        """Implements :meth:`ControllerSearch._generate`."""
        generation = self.generation
        generator = numpy_generator(self._seed, "cma-es", generation)
        candidates = cma_sample(self.state, self._constants, generator)
        seed = training_seed(self._seed, "cma-es", generation, "fitness")
        fitness, finite = self._returns(candidates, seed)
        order = np.argsort(-np.where(finite, fitness, -np.inf), kind="stable")
        state = cma_update(self.state, candidates, order, self._constants)
        check_state(state)
        self.state = state
        return {
            **fitness_metrics(fitness, finite),
            "search/sigma": float(self.state.sigma),
            "search/axis_ratio": float(self.state.scales.max() / self.state.scales.min()),
            "search/mean_norm": float(np.linalg.norm(self.state.mean)),
        }

    def _checkpoint(self) -> Path:
        tensors = {name: torch.from_numpy(value) for name, value in self.state._asdict().items()}
        return self._run.save_checkpoint(_CHECKPOINT, tensors, {"seconds": self.seconds})

    def _restore(self) -> None:
        checkpoint = self._run.load_checkpoint(_CHECKPOINT)
        if checkpoint is not None:
            self._resumed_from = checkpoint.path
            arrays = {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}
            self.state = CMAState(**arrays)
            self.seconds = checkpoint.state["seconds"]
