"""Base class of searches over the parameters of controllers."""

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from wmrl.agents.agent import Evaluator
from wmrl.agents.controller import ControllerAgent
from wmrl.agents.learner import AgentLearner, check_limits
from wmrl.agents.policy_search.fitness import Fitness
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.hashing import array_digest
from wmrl.core.interrupts import Interrupts, deferred_interrupts
from wmrl.core.validation import check_finite, check_seed, check_shape
from wmrl.training.callbacks import Callback
from wmrl.training.progress import progress_bar


class ControllerSearch(AgentLearner):
    """Base class of searches that evaluate controllers generation by generation.

    A subclass implements one generation of the search, and saves and restores checkpoints. The
    randomness of a generation must depend only on the root seed and the generation number. A search
    that is killed and resumed then gives bit-identical results.

    Args:
        fitness: objective to maximize.
        config: settings, a dataclass with at least the fields ``generations``, ``checkpoint_every``
            and ``not_finite``.
        start: initial parameters ``(N,) float64``. A run can be resumed only with the same initial
            parameters.
        path: folder of the run. It is locked until :meth:`close` is called.
        seed: root seed.
        world_model: reference to the controllers' world model, which is saved with the agent; None
            for no reference.

    Attributes:
        algorithm: name of the algorithm, recorded in the provenance of saved agents.
        title: title of the progress bar.
        seconds: search time of this run in seconds, including the time before interruptions.

    Raises:
        RunError: the folder is in use, or belongs to a run with a different configuration.
    """

    _limit: ClassVar[str] = "generations"
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
        world_model: WorldModelRef | None,
    ) -> None:
        self.fitness, self._config = fitness, config
        self.world_model = world_model
        self.seconds = 0.0
        self._interrupts = Interrupts()
        self._seed = seed = check_seed("seed", seed)
        self._open_run(
            path,
            {
                "config": asdict(config),
                "fitness": fitness.describe(),
                "seed": seed,
                "world_model": None if world_model is None else asdict(world_model),
                "init": array_digest(start),
            },
        )

    @property
    @abstractmethod
    def generation(self) -> int:
        """Number of finished generations."""

    @property
    @abstractmethod
    def agent(self) -> ControllerAgent:
        """Agent that represents the current search distribution."""

    @abstractmethod
    def _generate(self) -> dict[str, float]:
        """Runs one generation of the search, and adds 1 to :attr:`generation`.

        Returns:
            Metrics of the generation by name, including ``fitness/mean`` and ``fitness/best``.
        """

    @abstractmethod
    def _checkpoint(self) -> Path:
        """Writes a checkpoint that :meth:`_restore` can read, and that includes :attr:`seconds`.

        Returns:
            The file of the checkpoint.
        """

    @property
    def done(self) -> bool:
        """True if all generations are finished."""
        return bool(self.generation >= self._config.generations)

    def learn(
        self,
        *,
        max_seconds: float | None = None,
        evaluator: Evaluator | None = None,
        evaluate_every: int = 25,
        callbacks: Iterable[Callback] = (),
        progress: bool = True,
    ) -> Self:
        """Runs the remaining generations of the search.

        Ctrl-C ends the search without finishing the current generation. The completed generations
        are saved first, unless Ctrl-C interrupts a call of the evaluator: in this case, the
        generations since the last checkpoint are lost.

        Args:
            max_seconds: limit on the search time of the whole run in seconds, including the time
                before interruptions; None for no limit. The search stops after the generation in
                which the limit is reached.
            evaluator: function that computes metrics of the agent for learning curves. Its run time
                does not count as search time.
            evaluate_every: number of generations between evaluations.
            callbacks: callbacks, as in :meth:`Learner.learn <wmrl.agents.Learner.learn>`. A row is
                logged after each generation.
            progress: True to show a progress bar.

        Returns:
            The search itself.

        Raises:
            FloatingPointError: more candidates have non-finite scores than ``config.not_finite``
                allows, or the search has diverged. The last checkpoint is kept.
            CallbackError: a callback failed. The last checkpoint is kept.
            KeyboardInterrupt: the search was interrupted.
            ValueError: ``max_seconds`` or ``evaluate_every`` is out of range, or the scores have
                the wrong shape.
        """
        limit = check_limits(max_seconds, evaluate_every)
        with (
            deferred_interrupts() as self._interrupts,
            self._callback_list(
                callbacks,
                name=self.title,
                step=self.generation,
                planned=self.done or self.generation % self._config.checkpoint_every == 0,
                progress=progress,
            ) as running,
            progress_bar(
                self.title,
                total=self._config.generations,
                done=self.generation,  # by earlier processes
                show=progress,
                unit="generations",
                max_seconds=max_seconds,
                seconds=self.seconds,
            ) as advance,
        ):
            while not self.done and self.seconds < limit and not running.stopped:
                started = time.perf_counter()
                row = self._generate()
                self.seconds += time.perf_counter() - started
                row["seconds"] = self.seconds
                if evaluator is not None and self.generation % evaluate_every == 0:
                    with self._interrupts.immediate():
                        row |= evaluator(self.agent)
                running.log(self.generation, row)
                over = self.done or self.seconds >= limit or running.stopped
                if over or self.generation % self._config.checkpoint_every == 0:
                    running.sync()
                    running.checkpoint(self.generation, self._checkpoint())
                note = f"mean {row['fitness/mean']:.1f}, best {row['fitness/best']:.1f}"
                advance(self.generation, note, seconds=self.seconds)
        return self

    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Saves the agent as an artifact.

        Args:
            path: folder to write.
            provenance: JSON-serializable description of how the agent was made. It is added to the
                search's own description.

        Returns:
            The digest of the artifact.
        """
        own = {
            "algorithm": self.algorithm,
            "config": asdict(self._config),
            "fitness": self.fitness.describe(),
            "seed": self._seed,
            "generations": self.generation,
        }
        return self.agent.save(path, provenance=own | dict(provenance or {}))

    def _returns(self, candidates: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Evaluates the candidates of a generation.

        Args:
            candidates: ``(P, N)``, parameters of the candidates.
            seed: seed of the rollouts.

        Returns:
            Mean score ``(P,) float64`` of each candidate, and a mask ``(P,) bool`` that is True
            for finite mean scores.

        Raises:
            FloatingPointError: more candidates have non-finite scores than ``config.not_finite``
                allows.
            ValueError: the scores have the wrong shape.
        """
        try:
            with self._interrupts.immediate():  # it takes long and changes nothing
                found = self.fitness(candidates.astype(np.float32), seed)
        except KeyboardInterrupt:
            self._checkpoint()  # an update in progress would have no state to save
            raise
        scores = np.asarray(found, np.float64)
        if scores.ndim not in (1, 2) or len(scores) != len(candidates) or not scores.size:
            raise ValueError(
                f"fitness: expected scores of shape ({len(candidates)}, R), for R rollouts of each "
                f"candidate, got shape {scores.shape}; let the fitness return one row of scores "
                "for each candidate"
            )
        returns = scores.reshape(len(candidates), -1).mean(1)
        finite = np.isfinite(returns)
        bad = int((~finite).sum())
        allowed = 0 if self._config.not_finite == "raise" else len(finite) // 2
        if bad > allowed:
            raise FloatingPointError(
                f"fitness: expected at most {allowed} candidates with non-finite scores in "
                f"generation {self.generation}, got {bad} of {len(finite)} (the first is "
                f"{returns[~finite][0]} for candidate {int(np.argmin(finite))}); the last "
                "checkpoint is kept; check the memory model's predictions, or start in another "
                "folder with a lower sigma (CMA-ES) or std (variational search)"
            )
        return returns, finite


def fitness_metrics(returns: np.ndarray, finite: np.ndarray) -> dict[str, float]:
    """Computes metrics of a generation from the mean score of each candidate.

    Scores that are not finite are counted, and left out of all other metrics.

    Args:
        returns: ``(P,)``, mean score of each candidate.
        finite: ``(P,) bool``, True for candidates whose mean score is finite.
    """
    known = returns[finite]
    return {
        "fitness/mean": float(known.mean()),
        "fitness/best": float(known.max()),
        "fitness/std": float(known.std()),
        "fitness/not_finite": float((~finite).sum()),
    }


def initial_mean(fitness: Fitness, init: ControllerAgent | np.ndarray | None) -> np.ndarray:
    """Returns the initial mean of a search, ``(N,) float64``.

    Args:
        fitness: objective; its ``controller`` determines the number of parameters N.
        init: agent or parameters ``(N,)`` to start from; None for zeros.

    Raises:
        ValueError: ``init`` does not match the controller of ``fitness``, or is not finite.
    """
    size = fitness.controller.parameter_count
    if init is None:
        return np.zeros(size)
    if isinstance(init, ControllerAgent):
        if init.config != fitness.controller:
            raise ValueError(
                f"init: expected an agent with {fitness.controller}, got one with {init.config}; "
                "create the fitness with the hidden_dims and the readout of the agent"
            )
        init = init.parameters
    init = np.array(init, np.float64)
    check_shape("init", init, (size,))
    check_finite("init", init, advice="pass the parameters of a trained controller")
    return init
