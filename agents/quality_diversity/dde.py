"""Data-Driven Encodings: MAP-Elites with an encoding that is learned from the elites found."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from ribs.archives import ArchiveBase
from torch import Tensor

from wmrl.agents.learner import Learner
from wmrl.agents.quality_diversity.archive import Elites
from wmrl.agents.quality_diversity.bandit import BanditScheduler, SlidingWindowUCB
from wmrl.agents.quality_diversity.dde_config import DDEConfig, make_encoding
from wmrl.agents.quality_diversity.emitters import ReconstructionEmitter
from wmrl.agents.quality_diversity.initialization import add_evaluated, fill_archive
from wmrl.agents.quality_diversity.problems import Problem
from wmrl.core.device import resolve_device
from wmrl.core.hashing import array_digest
from wmrl.core.seeding import integer_seed, torch_generator
from wmrl.core.validation import check_seed, check_shape
from wmrl.encodings.base import Encoding
from wmrl.encodings.trainer import EncodingTrainer
from wmrl.storage.run import RunError
from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import Callback
from wmrl.training.progress import Advance, progress_bar

_CHECKPOINT = "dde"


class DDE(Learner):
    """Data-Driven Encodings (Gaier, Asteroth and Mouret 2020, https://arxiv.org/abs/2003.04389).

    DDE is MAP-Elites with an encoding that is learned from the elites. In each generation, a bandit
    selects an emitter. The solutions of this emitter are evaluated and added to the archive. Every
    few generations, the encoding is trained further on the current elites. Without an encoding,
    DDE is MAP-Elites with the mutations of ``config.mutations``.

    A run that was interrupted and resumed gives bit-identical results: all randomness is a function
    of the root seed and the generation number, and the archive is rebuilt from its elites at each
    checkpoint.

    Args:
        problem: problem to solve.
        config: configuration of the search.
        path: folder of the run. It is locked until :meth:`close` is called.
        seed: root seed.
        init: ``(N, X)``, solutions to evaluate before the random initialization. None to initialize
            with random solutions only.
        device: device of the encoding.

    Attributes:
        problem: problem to solve.
        config: configuration of the search.
        elites: elites at the last checkpoint. Before the first checkpoint, these are the elites of
            the initialization. None until :meth:`learn` has completed the initialization.
        generation: number of completed generations.
        evaluations: number of evaluated solutions.
        seconds: wall time of the completed generations, in seconds.
        training_seconds: part of ``seconds`` that was spent on training the encoding.
        metrics: metrics by name, as in the last row of ``metrics.csv`` before the last checkpoint;
            empty before the first checkpoint.
        snapshots: ``(S, cells) float32``, objective in each cell at S points in time; NaN for
            empty cells.

    Raises:
        RunError: the folder is in use, or belongs to a run with a different configuration.
        ValueError: the encoding or ``init`` does not have the dimension X of the problem's
            solutions, or ``init`` is not within [−1, 1].

    Example:
        >>> from wmrl.agents.quality_diversity import DDE, ArmProblem, DDEConfig
        >>> from wmrl.encodings import VectorVAEConfig
        >>> from wmrl.envs import Arm
        >>> problem = ArmProblem(arm=Arm(num_joints=6))
        >>> encoding = VectorVAEConfig(input_dim=6, latent_dim=3)
        >>> config = DDEConfig(generations=20, encoding=encoding)
        >>> with DDE(problem, config, path="runs/dde", device="cpu") as search:
        ...     search = search.learn(progress=False)
        >>> search.generation, search.evaluations
        (20, 2200)
        >>> search.elites.solutions.shape == (len(search.elites), 6)
        True
    """

    _limit: ClassVar[str] = "generations"
    _consistent = True  # True if archive, bandit and encoding are of the same generation

    def __init__(
        self,
        problem: Problem,
        config: DDEConfig | None = None,
        *,
        path: str | Path,
        seed: int = 0,
        init: np.ndarray | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.problem, self.config = problem, config or DDEConfig()
        seed = check_seed("seed", seed)
        self._seed, self._init = seed, _checked_init(init, problem.solution_dim)
        self.elites: Elites | None = None
        self.generation = self.evaluations = 0
        self.seconds = self.training_seconds = 0.0
        self.metrics: dict[str, float] = {}
        self.snapshots = np.zeros((0, problem.archive.num_cells), np.float32)
        self._bandit = SlidingWindowUCB(
            len(self.config.bandit_arms),
            window=self.config.window,
            exploration=self.config.exploration,
            relative=self.config.reward == "qd_score",
        )
        self._trainer = self._make_trainer(device)
        self._neighbors = problem.archive.neighbors()
        self._open_run(
            path,
            {
                "config": asdict(self.config),
                "problem": problem.describe(),
                "seed": seed,
                "init": array_digest(self._init),
            },
        )

    @property
    def encoding(self) -> Encoding | None:
        """Encoding that is trained on the elites; None if ``config.encoding`` is None."""
        return None if self._trainer is None else self._trainer.encoding

    @property
    def done(self) -> bool:
        """True if all generations are completed."""
        return bool(self.generation >= self.config.generations)

    def learn(self, *, callbacks: Iterable[Callback] = (), progress: bool = True) -> Self:
        """Runs the remaining generations, continuing from the last checkpoint.

        Args:
            callbacks: callbacks, as in :meth:`Learner.learn <wmrl.agents.Learner.learn>`. If one of
                them ends the search, the search ends at the next checkpoint.
            progress: True to show a progress bar.

        Returns:
            The search itself.

        Raises:
            RunError: an earlier call on this object was interrupted between checkpoints.
            ValueError: random solutions cannot fill ``config.initial_coverage`` of the cells, or an
                objective or measure has a wrong shape or is not finite.
            FloatingPointError: the encoding's loss is not finite.
            CallbackError: a callback failed. The last checkpoint is kept.
        """
        if not self._consistent:
            raise RunError(
                f"{self.path}: expected a search that was not interrupted in learn(), got an "
                "interrupted one; to continue from the last checkpoint, close this DDE and create "
                "a new one with the same path"
            )
        with (
            self._callback_list(
                callbacks, name="elites", step=self.generation, progress=progress
            ) as running,
            progress_bar(
                "elites",
                total=self.config.generations,
                done=self.generation,
                show=progress,
                unit="generations",
            ) as advance,
        ):
            if self.elites is None:
                self._consistent = False
                self.elites = self._initial_elites()
                self._consistent = True
            while not self.done and not running.stopped:
                self._segment(running, advance)
        return self

    def archive(self) -> ArchiveBase:
        """Creates a ``ribs`` archive that contains the current :attr:`elites`."""
        seed = integer_seed(self._seed, "archive", self.generation)
        return self.problem.archive.make(self.problem.solution_dim, seed=seed, elites=self.elites)

    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Saves the elites as an artifact.

        Args:
            path: folder to write.
            provenance: JSON-serializable description of how the elites were found. It is added to
                the search's own description.

        Returns:
            The digest of the artifact.

        Raises:
            ValueError: there are no elites, because :meth:`learn` has not been called.
        """
        if self.elites is None:
            raise ValueError("elites: expected at least one, got none yet; call learn() first")
        own = {
            "config": asdict(self.config),
            "problem": self.problem.describe(),
            "seed": self._seed,
            "evaluations": self.evaluations,
        }
        whole = own | dict(provenance or {})
        return self.elites.save(path, self.problem.archive, provenance=whole)

    def _make_trainer(self, device: str | torch.device) -> EncodingTrainer | None:
        if self.config.encoding is None:
            return None
        generator = torch_generator(self._seed, "encoding-weights")
        encoding = make_encoding(self.config.encoding, generator=generator)
        if encoding.input_dim != self.problem.solution_dim:
            raise ValueError(
                f"encoding: expected input_dim {self.problem.solution_dim} (the problem's "
                f"solution_dim), got {encoding.input_dim}; change input_dim of config.encoding"
            )
        encoding = encoding.to(resolve_device(device)).eval()
        return EncodingTrainer(encoding, self.config.training, seed=self._seed)

    def _initial_elites(self) -> Elites:
        """Evaluates ``init``, then random solutions until the initial coverage is reached.

        Returns:
            The elites among all evaluated solutions.
        """
        archive, config = self.archive(), self.config
        if len(self._init):
            add_evaluated(archive, self._init, *self._evaluate(self._init))
        self.evaluations += fill_archive(
            archive,
            self.problem,
            initial_coverage=config.initial_coverage,
            batch_size=config.batch_size,
            seed=self._seed,
        )
        return Elites.from_archive(archive)

    def _segment(self, running: CallbackList, advance: Advance) -> None:
        """Runs the generations up to the next checkpoint, and writes the checkpoint.

        Args:
            running: callbacks to which the rows of metrics are passed.
            advance: function that updates the progress bar.
        """
        config, began, before = self.config, time.monotonic(), self.seconds
        self._consistent = False
        archive = self.archive()
        emitters = self._emitters(archive)
        scheduler = BanditScheduler(archive, emitters, self._bandit, reward=config.reward)
        pulls = np.zeros(len(config.bandit_arms), int)
        snapshots = [self.snapshots]
        row: dict[str, float] = {}
        losses: dict[str, float] = {}
        note = ""
        end = min(self.generation + config.checkpoint_every, config.generations)
        while self.generation < end:
            if self._trainer is not None and self.generation % config.train_every == 0:
                started = time.monotonic()
                losses = self._trainer.fit(torch.from_numpy(archive.data("solution")))
                self.training_seconds += time.monotonic() - started
            scheduler.tell(*self._evaluate(scheduler.ask()))
            pulls[scheduler.emitter_index] += 1
            self.generation += 1
            if self.generation % config.snapshot_every == 0:
                snapshots.append(self.problem.archive.snapshot(archive)[None])
            if self.generation % config.log_every == 0 or self.generation == end:
                self.seconds = before + time.monotonic() - began
                row = self._metrics(archive, pulls, losses)
                running.log(self.generation, row)
                pulls[:] = 0
                coverage, fitness = row["archive/coverage"], row["archive/mean_fitness"]
                note = f"coverage {coverage:.1%}, mean fitness {fitness:.4f}"
            advance(self.generation, note)
        self.elites, self.snapshots = Elites.from_archive(archive), np.concatenate(snapshots)
        self.metrics = row
        running.sync()
        path = self._checkpoint()
        self._consistent = True
        running.checkpoint(self.generation, path)

    def _evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        evaluated = self.problem.evaluate(solutions)
        self.evaluations += len(solutions)
        return evaluated

    def _emitters(self, archive: ArchiveBase) -> list[ReconstructionEmitter]:
        config = self.config
        return [
            ReconstructionEmitter(
                archive,
                self.encoding,
                crossover=crossover,
                mutation=mutation,
                neighbors=self._neighbors,
                batch_size=config.batch_size,
                seed=integer_seed(self._seed, "emitter", self.generation, number),
            )
            for number, (crossover, mutation) in enumerate(config.bandit_arms)
        ]

    def _metrics(
        self, archive: ArchiveBase, pulls: np.ndarray, losses: dict[str, float]
    ) -> dict[str, float]:
        stats = archive.stats
        shares = pulls / max(1, pulls.sum())
        names = [
            f"bandit/{share:g}-{number}"
            for share in self.config.crossovers
            for number in range(len(self.config.mutations))
        ]
        return {
            "evaluations": self.evaluations,
            "archive/coverage": float(stats.coverage),
            "archive/mean_fitness": float(stats.obj_mean or 0.0),
            "archive/best_fitness": float(stats.obj_max or 0.0),
            "archive/qd_score": float(stats.qd_score),
            **dict(zip(names, map(float, shares), strict=True)),
            **{f"encoding/{name}": value for name, value in losses.items()},
        }

    def _checkpoint(self) -> Path:
        assert self.elites is not None
        tensors: dict[str, Tensor] = {f"elites.{k}": v for k, v in self.elites.tensors().items()}
        tensors["snapshots"] = torch.from_numpy(self.snapshots)
        state: dict[str, Any] = {
            "generation": self.generation,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
            "bandit": self._bandit.state(),
            "row": self.metrics,
        }
        if self._trainer is not None:
            learned, state["trainer"] = self._trainer.state()
            tensors |= {f"trainer.{k}": v for k, v in learned.items()}
        cut = self.generation % self.config.checkpoint_every != 0
        return self._save_checkpoint(
            _CHECKPOINT, tensors, state, cut=cut, may_hold_nan=("snapshots",)
        )

    def _restore(self) -> None:
        checkpoint = self._load_checkpoint(
            _CHECKPOINT, at="generation", limit=self.config.generations
        )
        if checkpoint is None:
            return
        tensors, state = checkpoint.tensors, checkpoint.state
        self.elites = Elites.from_tensors(_below(tensors, "elites."))
        self.snapshots = tensors["snapshots"].numpy()
        for name in ("generation", "evaluations", "seconds", "training_seconds"):
            setattr(self, name, state[name])
        self._bandit.restore(state["bandit"])
        self.metrics = state.get("row", {})
        if self._trainer is not None:
            self._trainer.restore(_below(tensors, "trainer."), state["trainer"])


def _checked_init(init: np.ndarray | None, solution_dim: int) -> np.ndarray:
    """Checks initial solutions and returns them as ``(N, X) float32``.

    If ``init`` is None, the result is empty: N is 0.
    """
    if init is None:
        return np.zeros((0, solution_dim), np.float32)
    solutions = np.asarray(init, np.float32)
    check_shape("init", solutions, ("N", solution_dim))
    if not (np.abs(solutions) <= 1.0).all():  # is also False for NaN
        raise ValueError(
            "init: expected numbers in [-1, 1], got numbers outside of this range or NaN; scale or "
            "clip the solutions"
        )
    return solutions


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
