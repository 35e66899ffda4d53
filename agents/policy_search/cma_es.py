"""CMA-ES: evolution of a controller, in dreams or in the real game."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch

from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.base import ControllerSearch, fitness_figures, initial_mean
from wmrl.agents.policy_search.cma import (
    CMAState,
    cma_constants,
    cma_sample,
    cma_start,
    cma_update,
)
from wmrl.agents.policy_search.fitness import Fitness
from wmrl.agents.seeds import training_seed
from wmrl.core.seeding import numpy_generator

_CHECKPOINT = "cma-es"
_FULL_LIMIT = 4000


@dataclass(frozen=True, kw_only=True)
class CMAESConfig:
    """How CMA-ES searches; the defaults are those of World Models but for the population.

    Attributes:
        generations: how many in all.
        population: λ, candidates a generation (64 in the paper).
        sigma: σ₀, the first step size.
        covariance: ``"full"``; ``"diagonal"`` keeps variances only, which is the way above some
            thousand parameters.
        not_finite: what to do about a score that is NaN or infinite: ``"worst"`` ranks its
            candidate last and counts it, and stops only if more than half of a generation has
            none; ``"raise"`` stops at the first.
        checkpoint_every: generations between checkpoints.
    """

    generations: int = 300
    population: int = 32
    sigma: float = 0.1
    covariance: Literal["full", "diagonal"] = "full"
    not_finite: Literal["worst", "raise"] = "worst"
    checkpoint_every: int = 5

    def __post_init__(self) -> None:
        for name, least in (("generations", 1), ("population", 4), ("checkpoint_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if not self.sigma > 0:
            raise ValueError(f"sigma: expected more than 0, got {self.sigma}")
        for name, known in (
            ("covariance", ("full", "diagonal")),
            ("not_finite", ("worst", "raise")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {known}, got {getattr(self, name)!r}")


class CMAES(ControllerSearch):
    """Evolves a controller's parameters (https://arxiv.org/abs/1604.00772).

    Its agent is the mean of the search distribution: unlike the best candidate ever seen, it was
    not picked for having been lucky. A generation's candidates and seeds are functions of the root
    seed and the generation's number, so a run that was killed goes on to the same bits.

    Args:
        fitness: what to maximise.
        config: how to search.
        path: the run's folder, which this object owns until :meth:`close`.
        seed: root of all that is random.
        init: where to start: an agent, or parameters ``(N,)``; zeros if None.
        eye: kept with the agent (see :class:`~wmrl.agents.agent.Agent`).

    Attributes:
        state: the search distribution.
        seconds: time spent searching so far, over all sessions.

    Raises:
        RunError: the folder is in use, or belongs to a run of another configuration.
        ValueError: ``init`` does not fit, or the controller is too large for a full covariance.
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
        eye: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config or CMAESConfig()
        size = fitness.controller.parameter_count
        diagonal = self.config.covariance == "diagonal"
        if size > _FULL_LIMIT and not diagonal:
            raise ValueError(
                f"covariance: a full one of {size} parameters needs {8 * size**2 / 1e9:.1f} GB; "
                "use covariance='diagonal' or a smaller controller"
            )
        start = initial_mean(fitness, init)
        self._constants = cma_constants(size, self.config.population, diagonal=diagonal)
        self.state = cma_start(start, self.config.sigma, diagonal=diagonal)
        super().__init__(fitness, self.config, start, path=path, seed=seed, eye=eye)

    @property
    def generation(self) -> int:
        """How many generations are done."""
        return int(self.state.generation)

    @property
    def agent(self) -> ControllerAgent:
        """The mean of the search distribution, as an agent."""
        return ControllerAgent(self.fitness.controller, self.state.mean, eye=self.eye)

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
        """A new search from a saved agent; an interrupted one is resumed by making it again."""
        init = ControllerAgent.load(name_or_path)
        return cls(fitness, config, path=path, seed=seed, init=init, eye=init.eye)

    def _generate(self) -> dict[str, float]:
        """One generation; returns its metrics."""
        generation = self.generation
        generator = numpy_generator(self._seed, "cma-es", generation)
        candidates = cma_sample(self.state, self._constants, generator)
        seed = training_seed(self._seed, "cma-es", generation, "fitness")
        fitness, finite = self._returns(candidates, seed)
        order = np.argsort(-np.where(finite, fitness, -np.inf), kind="stable")
        self.state = cma_update(self.state, candidates, order, self._constants)
        return {
            **fitness_figures(fitness, finite),
            "search/sigma": float(self.state.sigma),
            "search/axis_ratio": float(self.state.scales.max() / self.state.scales.min()),
            "search/mean_norm": float(np.linalg.norm(self.state.mean)),
        }

    def _checkpoint(self) -> None:
        tensors = {name: torch.from_numpy(value) for name, value in self.state._asdict().items()}
        self._run.save_checkpoint(_CHECKPOINT, tensors, {"seconds": self.seconds})

    def _restore(self) -> None:
        checkpoint = self._run.load_checkpoint(_CHECKPOINT)
        if checkpoint is not None:
            arrays = {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}
            self.state = CMAState(**arrays)
            self.seconds = checkpoint.state["seconds"]
