"""What searches over a controller's parameters have in common, whatever they search by."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from wmrl.agents.agent import Evaluator, State
from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.fitness import Fitness
from wmrl.storage.run import Run
from wmrl.training.metrics import MetricsLogger
from wmrl.training.progress import learning_progress


class ControllerSearch(ABC):
    """A search that tries a generation of controllers after the other, and can be killed.

    A subclass makes a generation, and writes and reads its checkpoint. What is random in it must be
    a function of the root seed and the generation's number.

    Args:
        fitness: what controllers are worth.
        config: how: a dataclass with ``generations``, ``checkpoint_every`` and ``not_finite``.
        start: parameters ``(N,) float64`` that it begins with.
        path: the run's folder, which this object owns until :meth:`close`.
        seed: root of all that is random.
        eye: kept with the agent (see :class:`~wmrl.agents.agent.Agent`).

    Attributes:
        seconds: time spent searching so far, over all sessions.

    Raises:
        RunError: the folder is in use, or belongs to a run of another configuration.
    """

    algorithm: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        fitness: Fitness,
        config: Any,
        start: np.ndarray,
        *,
        path: str | Path,
        seed: int,
        eye: Mapping[str, Any] | None,
    ) -> None:
        self.fitness, self._config = fitness, config
        self.eye = dict(eye or {})
        self.seconds = 0.0
        self._seed = seed
        self._run = Run(
            path,
            config={
                "learner": type(self).__name__,
                "config": asdict(config),
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
    @abstractmethod
    def generation(self) -> int:
        """How many generations are done."""

    @property
    @abstractmethod
    def agent(self) -> ControllerAgent:
        """What it has come to."""

    @abstractmethod
    def _generate(self) -> dict[str, float]:
        """One generation; returns its metrics, ``fitness/mean`` among them."""

    @abstractmethod
    def _checkpoint(self) -> None:
        """Writes all that :meth:`_restore` needs, ``seconds`` included."""

    @abstractmethod
    def _restore(self) -> None:
        """Goes to the last checkpoint, if there is one."""

    @property
    def done(self) -> bool:
        """Whether all generations are done."""
        return bool(self.generation >= self._config.generations)

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
            learning_progress(self.title, total=self._config.generations, show=progress) as advance,
        ):
            advance(self.generation, "")  # an earlier session's are done
            while not self.done and self.seconds < limit:
                started = time.perf_counter()
                row = self._generate()
                self.seconds += time.perf_counter() - started
                row["seconds"] = self.seconds
                if evaluator is not None and self.generation % evaluate_every == 0:
                    row |= evaluator(self.agent)
                logger.log(self.generation, row)
                over = self.done or self.seconds >= limit
                if over or self.generation % self._config.checkpoint_every == 0:
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
            "algorithm": self.algorithm,
            "config": asdict(self._config),
            "fitness": self.fitness.describe(),
            "seed": self._seed,
            "generations": self.generation,
        }
        return self.agent.save(path, provenance=own | dict(provenance or {}))

    def close(self) -> None:
        """Gives the run's folder free. The fitness is the caller's to close."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _returns(self, candidates: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean scores ``(P,) float64`` of candidates ``(P, N)``, and which of them are finite.

        Raises:
            FloatingPointError: too many are not.
        """
        scores = self.fitness(candidates.astype(np.float32), seed)
        returns = np.asarray(scores, np.float64).reshape(len(candidates), -1).mean(1)
        finite = np.isfinite(returns)
        bad = int((~finite).sum())
        allowed = 0 if self._config.not_finite == "raise" else len(finite) // 2
        if bad > allowed:
            raise FloatingPointError(
                f"fitness: {bad} of {len(finite)} candidates of generation {self.generation} have "
                f"a score that is not finite (at most {allowed} are allowed); check the memory's "
                "predictions, or begin with smaller steps"
            )
        return returns, finite


def fitness_figures(returns: np.ndarray, finite: np.ndarray) -> dict[str, float]:
    """Metrics of a generation's mean scores ``(P,)``, of those that are finite."""
    known = returns[finite]
    return {
        "fitness/mean": float(known.mean()),
        "fitness/best": float(known.max()),
        "fitness/std": float(known.std()),
        "fitness/not_finite": float((~finite).sum()),
    }


def initial_mean(fitness: Fitness, init: ControllerAgent | np.ndarray | None) -> np.ndarray:
    """Where a search begins, ``(N,) float64``: an agent, parameters, or zeros.

    Raises:
        ValueError: ``init`` is of another controller, or not finite.
    """
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
