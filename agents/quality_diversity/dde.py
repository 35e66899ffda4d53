"""DDE-Elites: MAP-Elites whose variation learns what its elites have in common."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from ribs.archives import ArchiveBase
from torch import Tensor

from wmrl.agents.quality_diversity.archive import Elites
from wmrl.agents.quality_diversity.bandit import BanditScheduler, SlidingWindowUCB
from wmrl.agents.quality_diversity.emitters import Mutation, ReconstructionEmitter
from wmrl.agents.quality_diversity.initial_fill import add_evaluated, fill_archive
from wmrl.agents.quality_diversity.problems import Problem
from wmrl.core.device import resolve_device
from wmrl.core.seeding import integer_seed, torch_generator
from wmrl.encodings.base import Encoding
from wmrl.encodings.trainer import EncodingTrainer, EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.storage.run import Run, RunError
from wmrl.training.metrics import MetricsLogger, read_metrics
from wmrl.training.progress import learning_progress

_CHECKPOINT = "dde"
EncodingConfig = VectorVAEConfig | VectorVQVAEConfig


@dataclass(frozen=True, kw_only=True)
class DDEConfig:
    """How elites are searched for.

    The defaults find more of them, and better ones, than those of Data-Driven Encodings, which are
    :meth:`as_published`.

    Attributes:
        generations: batches of children.
        batch_size: children a batch.
        fill: share of the cells that random solutions fill before the first generation.
        crossovers: shares of reconstructive children; with each of the mutations an arm.
        mutations: ways to mutate.
        reward: of the bandit, see :class:`~wmrl.agents.quality_diversity.bandit.BanditScheduler`.
        window: generations that the bandit remembers.
        exploration: weight of the bandit's bonus.
        encoding: the model; None for none, and then ``crossovers`` must be ``(0.0,)``.
        training: how it learns.
        train_every: generations between its trainings.
        log_every: generations that one row of the metrics covers.
        checkpoint_every: generations between checkpoints, a multiple of ``log_every``. A run is the
            same bits however often it was interrupted, but not with another number here.
        snapshots: how often, evenly over the run, the map is kept for its film.
    """

    generations: int = 10_000
    batch_size: int = 100
    fill: float = 0.05
    crossovers: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    mutations: tuple[Mutation, ...] = (
        Mutation(),
        Mutation(iso=0.03, line=0.0),
        # A few numbers by much: into cells that small steps of all of them do not lead to.
        Mutation(iso=0.3, line=0.0, density=0.01, frontier=True),
    )
    reward: Literal["entered", "qd_score"] = "qd_score"
    window: int = 200
    exploration: float = 0.5
    encoding: EncodingConfig | None = field(default_factory=VectorVAEConfig)
    training: EncodingTrainingConfig = field(default_factory=EncodingTrainingConfig)
    train_every: int = 10
    log_every: int = 50
    checkpoint_every: int = 100
    snapshots: int = 100

    def __post_init__(self) -> None:
        for name in ("crossovers", "mutations"):
            object.__setattr__(self, name, _distinct(name, getattr(self, name)))
        counts = ("generations", "batch_size", "window", "train_every", "log_every")
        for name in (*counts, "checkpoint_every", "snapshots"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value}")
        if not all(isinstance(each, Mutation) for each in self.mutations):
            raise TypeError(f"mutations: expected each to be a Mutation, got {self.mutations}")
        if not all(0.0 <= share <= 1.0 for share in self.crossovers):
            raise ValueError(f"crossovers: expected shares from 0 to 1, got {self.crossovers}")
        if self.reward not in ("entered", "qd_score"):
            raise ValueError(f"reward: expected 'entered' or 'qd_score', got {self.reward!r}")
        if not 0.0 <= self.exploration < np.inf:
            raise ValueError(f"exploration: expected at least 0, got {self.exploration}")
        if not 0.0 < self.fill <= 0.5:
            raise ValueError(f"fill: expected a share in (0, 0.5], got {self.fill}")
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every: expected a multiple of log_every ({self.log_every}), got "
                f"{self.checkpoint_every}"
            )
        if not isinstance(self.encoding, EncodingConfig | None):
            raise TypeError(
                "encoding: expected the configuration of an encoding, such as VectorVAEConfig(), "
                f"or None, got {self.encoding!r}"
            )
        if self.encoding is None and max(self.crossovers) > 0:
            raise ValueError(
                f"crossovers: expected (0.0,) without an encoding, got {self.crossovers}"
            )

    @property
    def arms(self) -> tuple[tuple[float, Mutation], ...]:
        """Share of reconstructions and mutation of each arm of the bandit."""
        return tuple((share, each) for share in self.crossovers for each in self.mutations)

    @classmethod
    def as_published(cls, **changes: Any) -> Self:
        """The settings of Data-Driven Encodings, with some changed."""
        published: dict[str, Any] = {
            "mutations": (Mutation(), Mutation(line=0.0)),
            "reward": "entered",
            "window": 1000,
            "exploration": 2**0.5,
            "training": EncodingTrainingConfig(weight_penalty=0.0),
            "train_every": 1,
        }
        return cls(**published | changes)

    @property
    def snapshot_every(self) -> int:
        """Generations between snapshots."""
        return max(1, self.generations // self.snapshots)


class DDE:
    """Searches for elites (Gaier, Asteroth and Mouret 2020, https://arxiv.org/abs/2003.04389).

    Every few generations the encoding learns from the archive, going on from its weights; in each,
    a bandit chooses how children are made; they are evaluated and compete for the archive's cells.
    Without an encoding it is MAP-Elites with isotropic and line mutation. All that is random is a
    function of the root seed and the generation's number, and the archive is made anew from its
    elites at each checkpoint, so a run that was killed goes on to the same bits.

    Args:
        problem: what to search.
        config: how.
        path: the run's folder, which this object owns until :meth:`close`.
        seed: root of all that is random.
        init: solutions ``(N, X)`` that are evaluated first, before random ones.
        device: where the encoding learns.

    Attributes:
        elites: what the archive held at the last checkpoint.
        encoding: the model, or None.
        generation: how many are done.
        evaluations: how many solutions were evaluated.
        seconds: time spent so far; ``training_seconds`` of it in the encoding's training.
        snapshots: ``(S, cells) float32``, objectives over time, NaN where a cell was empty.

    Raises:
        RunError: the folder is in use, or belongs to a run of another configuration.
        ValueError: the encoding, or ``init``, does not fit the problem.
    """

    _whole = True  # whether all parts are of one generation

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
        self._seed, self._init = seed, _checked_init(init, problem.size)
        self.elites: Elites | None = None
        self.generation = self.evaluations = 0
        self.seconds = self.training_seconds = 0.0
        self.snapshots = np.zeros((0, problem.archive.cell_count), np.float32)
        self._bandit = SlidingWindowUCB(
            len(self.config.arms),
            window=self.config.window,
            exploration=self.config.exploration,
            relative=self.config.reward == "qd_score",
        )
        self._trainer = self._make_trainer(device)
        self._neighbours = problem.archive.neighbours()
        self._run = Run(
            path,
            config={
                "learner": "DDE",
                "config": asdict(self.config),
                "problem": problem.describe(),
                "seed": seed,
                "init": sha256(self._init.tobytes()).hexdigest(),
            },
        )
        try:
            self._restore()
        except BaseException:
            self._run.close()
            raise

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._run.path

    @property
    def encoding(self) -> Encoding | None:
        """The model that learns from the elites."""
        return None if self._trainer is None else self._trainer.encoding

    @property
    def done(self) -> bool:
        """Whether all generations are done."""
        return self.generation >= self.config.generations

    def learn(
        self,
        *,
        progress: bool = True,
        until: Callable[[dict[str, float]], bool] | None = None,
    ) -> Self:
        """Searches until ``config.generations``, from the run's last checkpoint on.

        Args:
            progress: show a progress bar.
            until: stop at a checkpoint if it says so of the last row of the metrics.

        Returns:
            Itself.

        Raises:
            RunError: an earlier call was interrupted between checkpoints.
            ValueError: random solutions fill too few cells, or an evaluation is not finite.
            FloatingPointError: the encoding's loss is not finite.
        """
        if not self._whole:
            raise RunError(
                f"{self.path}: expected a search that was not interrupted, this object's was; "
                "close it and make a new one on that folder, which goes on from the last checkpoint"
            )
        with (
            MetricsLogger(self._run.path, resume_step=self.generation or None) as logger,
            learning_progress("elites", total=self.config.generations, show=progress) as advance,
        ):
            if self.elites is None:
                self._whole = False
                self.elites = self._fill()
                self._whole = True
            advance(self.generation, "")
            row = next(reversed(read_metrics(self.path / "metrics.csv")), None)
            while not self.done and not (row and until is not None and until(row)):
                row = self._segment(logger)
                advance(
                    self.generation,
                    f"{row['archive/coverage']:.1%} at {row['archive/mean_fitness']:.4f}",
                )
        return self

    def archive(self) -> ArchiveBase:
        """A ``ribs`` archive with the elites of the last checkpoint."""
        seed = integer_seed(self._seed, "archive", self.generation)
        return self.problem.archive.make(self.problem.size, seed=seed, elites=self.elites)

    def save(self, path: str | Path) -> str:
        """Writes the elites as an artifact and returns its digest."""
        if self.elites is None:
            raise ValueError("elites: expected some, found none yet; call learn() first")
        made = {"config": asdict(self.config), "problem": self.problem.describe()}
        own = {"seed": self._seed, "evaluations": self.evaluations}
        return self.elites.save(path, self.problem.archive, provenance=made | own)

    def close(self) -> None:
        """Gives the run's folder free."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _make_trainer(self, device: str | torch.device) -> EncodingTrainer | None:
        if self.config.encoding is None:
            return None
        generator = torch_generator(self._seed, "encoding-weights")
        encoding = make_encoding(self.config.encoding, generator=generator)
        if encoding.size != self.problem.size:
            raise ValueError(
                f"encoding: expected one of vectors of {self.problem.size} numbers, as the "
                f"problem's solutions, got {encoding.size}"
            )
        encoding = encoding.to(resolve_device(device)).eval()
        return EncodingTrainer(encoding, self.config.training, seed=self._seed)

    def _fill(self) -> Elites:
        """What it is to begin with, and random solutions until so many cells are filled."""
        archive, config = self.archive(), self.config
        if len(self._init):
            add_evaluated(archive, self._init, *self._evaluate(self._init))
        self.evaluations += fill_archive(
            archive,
            self.problem,
            share=config.fill,
            batch_size=config.batch_size,
            seed=self._seed,
        )
        return Elites.of(archive)

    def _segment(self, logger: MetricsLogger) -> dict[str, float]:
        """Generations from one checkpoint to the next; returns the last row of the metrics."""
        config, began, before = self.config, time.monotonic(), self.seconds
        self._whole = False
        archive = self.archive()
        emitters = self._emitters(archive)
        scheduler = BanditScheduler(archive, emitters, self._bandit, reward=config.reward)
        pulls = np.zeros(len(config.arms), int)
        snapshots = [self.snapshots]
        row: dict[str, float] = {}
        losses: dict[str, float] = {}
        end = min(self.generation + config.checkpoint_every, config.generations)
        while self.generation < end:
            if self._trainer is not None and self.generation % config.train_every == 0:
                started = time.monotonic()
                losses = self._trainer.fit(torch.from_numpy(archive.data("solution")))
                self.training_seconds += time.monotonic() - started
            scheduler.tell(*self._evaluate(scheduler.ask()))
            pulls[scheduler.arm] += 1
            self.generation += 1
            if self.generation % config.snapshot_every == 0:
                snapshots.append(self.problem.archive.snapshot(archive)[None])
            if self.generation % config.log_every == 0 or self.generation == end:
                self.seconds = before + time.monotonic() - began
                row = self._row(archive, pulls, losses)
                logger.log(self.generation, row)
                pulls[:] = 0
        self.elites, self.snapshots = Elites.of(archive), np.concatenate(snapshots)
        self._checkpoint()
        self._whole = True
        return row

    def _evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self.problem.evaluate(solutions)
        self.evaluations += len(solutions)
        return found

    def _emitters(self, archive: ArchiveBase) -> list[ReconstructionEmitter]:
        config = self.config
        return [
            ReconstructionEmitter(
                archive,
                self.encoding,
                crossover=crossover,
                mutation=mutation,
                neighbours=self._neighbours,
                batch_size=config.batch_size,
                seed=integer_seed(self._seed, "emitter", self.generation, arm),
            )
            for arm, (crossover, mutation) in enumerate(config.arms)
        ]

    def _row(
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

    def _checkpoint(self) -> None:
        assert self.elites is not None
        tensors: dict[str, Tensor] = {f"elites.{k}": v for k, v in self.elites.tensors().items()}
        tensors["snapshots"] = torch.from_numpy(self.snapshots)
        state: dict[str, Any] = {
            "generation": self.generation,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
            "bandit": self._bandit.state(),
        }
        if self._trainer is not None:
            learned, state["trainer"] = self._trainer.state()
            tensors |= {f"trainer.{k}": v for k, v in learned.items()}
        self._run.save_checkpoint(_CHECKPOINT, tensors, state)

    def _restore(self) -> None:
        checkpoint = self._run.load_checkpoint(_CHECKPOINT)
        if checkpoint is None:
            return
        tensors, state = checkpoint.tensors, checkpoint.state
        self.elites = Elites.from_tensors(_below(tensors, "elites."))
        self.snapshots = tensors["snapshots"].numpy()
        for name in ("generation", "evaluations", "seconds", "training_seconds"):
            setattr(self, name, state[name])
        self._bandit.restore(state["bandit"])
        if self._trainer is not None:
            self._trainer.restore(_below(tensors, "trainer."), state["trainer"])


def _checked_init(init: np.ndarray | None, size: int) -> np.ndarray:
    """``(N, size) float32``, no rows if None."""
    if init is None:
        return np.zeros((0, size), np.float32)
    solutions = np.asarray(init, np.float32)
    if solutions.ndim != 2 or solutions.shape[1] != size:
        raise ValueError(
            f"init: expected shape (N, {size}), solutions of the problem, got {solutions.shape}"
        )
    if not (np.abs(solutions) <= 1.0).all():  # NaN is not either
        raise ValueError("init: expected numbers in [-1, 1], got others; scale or clip them")
    return solutions


def _distinct(name: str, values: Any) -> tuple[Any, ...]:
    """At least one, and none twice: each is an arm of the bandit with a column in the metrics."""
    found = tuple(values) if isinstance(values, Iterable) else ()
    if not found:
        raise ValueError(f"{name}: expected at least one, in a tuple, got {values!r}")
    if any(each in found[:place] for place, each in enumerate(found)):
        raise ValueError(f"{name}: expected each once, got {values!r}")
    return found


def make_encoding(config: EncodingConfig, *, generator: torch.Generator | None = None) -> Encoding:
    """The encoding that a configuration describes, with weights drawn from the generator."""
    if isinstance(config, VectorVQVAEConfig):
        return VectorVQVAE(config, generator=generator)
    return VectorVAE(config, generator=generator)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
