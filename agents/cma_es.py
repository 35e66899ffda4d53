"""CMA-ES: evolution of a controller, in dreams or in the real game."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch

from wmrl.agents.agent import State
from wmrl.agents.cma_update import (
    CMAState,
    cma_constants,
    cma_sample,
    cma_start,
    cma_update,
)
from wmrl.agents.controller import ControllerAgent
from wmrl.agents.evaluator import Evaluator
from wmrl.agents.fitness import Fitness
from wmrl.agents.progress import learning_progress
from wmrl.agents.seeds import training_seed
from wmrl.metrics import MetricsLogger
from wmrl.run import Run
from wmrl.seeding import numpy_generator

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


class CMAES:
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
        self.fitness, self.config = fitness, config or CMAESConfig()
        self.eye = dict(eye or {})
        self.seconds = 0.0
        self._seed = seed
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
        self._run = Run(
            path,
            config={
                "learner": "CMAES",
                "config": asdict(self.config),
                "fitness": fitness.describe(),
                "seed": seed,
                "eye": self.eye,
                "init": sha256(start.tobytes()).hexdigest(),
            },
        )
        try:
            self._restore()
        except BaseException:
            self._run.close()
            raise

    @property
    def generation(self) -> int:
        """How many generations are done."""
        return int(self.state.generation)

    @property
    def done(self) -> bool:
        """Whether all generations are done."""
        return self.generation >= self.config.generations

    @property
    def agent(self) -> ControllerAgent:
        """The mean of the search distribution, as an agent."""
        return ControllerAgent(self.fitness.controller, self.state.mean, eye=self.eye)

    def learn(
        self,
        *,
        max_seconds: float | None = None,
        evaluator: Evaluator | None = None,
        evaluate_every: int = 25,
        progress: bool = True,
    ) -> Self:
        """Searches until ``config.generations``, from where the run's last checkpoint is.

        Args:
            max_seconds: stop after the generation in which so many seconds are over, counted
                over all sessions of this run.
            evaluator: measures the agent for curves; its time does not count.
            evaluate_every: generations between measurements.
            progress: show a progress bar.

        Returns:
            Itself.

        Raises:
            FloatingPointError: scores are not finite, and ``config.not_finite`` says to stop.
        """
        limit = np.inf if max_seconds is None else max_seconds
        with (
            MetricsLogger(self._run.path, resume_step=self.generation or None) as logger,
            learning_progress("CMA-ES", total=self.config.generations, show=progress) as advance,
        ):
            while not self.done and self.seconds < limit:
                started = time.perf_counter()
                row = self._generate()
                self.seconds += time.perf_counter() - started
                row["seconds"] = self.seconds
                if evaluator is not None and self.generation % evaluate_every == 0:
                    row |= evaluator(self.agent)
                logger.log(self.generation, row)
                over = self.done or self.seconds >= limit
                if over or self.generation % self.config.checkpoint_every == 0:
                    self._checkpoint()
                advance(self.generation, f"mean {row['fitness/mean']:.1f}")
        return self

    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """The agent's :meth:`~wmrl.agents.agent.Agent.predict`."""
        return self.agent.predict(observation, state, episode_start, deterministic)

    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Writes the agent as an artifact and returns its digest."""
        own = {
            "algorithm": "cma-es",
            "config": asdict(self.config),
            "fitness": self.fitness.describe(),
            "seed": self._seed,
            "generations": self.generation,
        }
        return self.agent.save(path, provenance=own | dict(provenance or {}))

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

    def close(self) -> None:
        """Gives the run's folder free. The fitness is the caller's to close."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _generate(self) -> dict[str, float]:
        """One generation; returns its metrics."""
        generation = self.generation
        generator = numpy_generator(self._seed, "cma-es", generation)
        candidates = cma_sample(self.state, self._constants, generator)
        seed = training_seed(self._seed, "cma-es", generation, "fitness")
        scores = self.fitness(candidates.astype(np.float32), seed)
        fitness = np.asarray(scores, np.float64).reshape(len(candidates), -1).mean(1)
        finite = np.isfinite(fitness)
        self._check_finite(finite)
        order = np.argsort(-np.where(finite, fitness, -np.inf), kind="stable")
        self.state = cma_update(self.state, candidates, order, self._constants)
        return {
            "fitness/mean": float(fitness[finite].mean()),
            "fitness/best": float(fitness[finite].max()),
            "fitness/std": float(fitness[finite].std()),
            "fitness/not_finite": float((~finite).sum()),
            "search/sigma": float(self.state.sigma),
            "search/axis_ratio": float(self.state.scales.max() / self.state.scales.min()),
            "search/mean_norm": float(np.linalg.norm(self.state.mean)),
        }

    def _check_finite(self, finite: np.ndarray) -> None:
        bad = int((~finite).sum())
        allowed = 0 if self.config.not_finite == "raise" else len(finite) // 2
        if bad > allowed:
            raise FloatingPointError(
                f"fitness: {bad} of {len(finite)} candidates of generation {self.generation} have "
                f"a score that is not finite (at most {allowed} are allowed); check the memory's "
                "predictions, or lower sigma"
            )

    def _checkpoint(self) -> None:
        tensors = {name: torch.from_numpy(value) for name, value in self.state._asdict().items()}
        self._run.save_checkpoint(_CHECKPOINT, tensors, {"seconds": self.seconds})

    def _restore(self) -> None:
        checkpoint = self._run.load_checkpoint(_CHECKPOINT)
        if checkpoint is not None:
            arrays = {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}
            self.state = CMAState(**arrays)
            self.seconds = checkpoint.state["seconds"]


def initial_mean(fitness: Fitness, init: ControllerAgent | np.ndarray | None) -> np.ndarray:
    """``(N,) float64``."""
    size = fitness.controller.parameter_count
    if init is None:
        return np.zeros(size)
    if isinstance(init, ControllerAgent):
        if init.config != fitness.controller:
            raise ValueError(f"init: expected an agent of {fitness.controller}, got {init.config}")
        init = init.parameters
    if init.shape != (size,) or not np.isfinite(init).all():
        raise ValueError(f"init: expected {size} finite numbers, got shape {init.shape}")
    return np.array(init, np.float64)
