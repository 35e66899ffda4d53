"""Search for elite drivers in the dream, and evaluation of these drivers in the real game."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.quality_diversity.archive import Elites, load_elites
from wmrl.agents.quality_diversity.dde import DDE
from wmrl.agents.quality_diversity.dde_config import DDEConfig
from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.agents.quality_diversity.problems import ControllerProblem, ControllerProblemConfig
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.exploration import NoisyAgent
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.config import check_fields
from wmrl.core.seeding import integer_seed
from wmrl.core.strict_json import jsonable
from wmrl.core.validation import check_int
from wmrl.data.store import RolloutStore
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import ArtifactError
from wmrl.storage.files import write_json
from wmrl.storage.reading import StoredFileError, read_json

SNAPSHOTS = "snapshots.npy"
"""Name of the file with S snapshots of the archive: an array ``(S, cells)`` with the objective in
each cell, or NaN for an empty cell."""


@dataclass(frozen=True, kw_only=True)
class DriverSearchConfig:
    """Configuration of :func:`find_drivers`.

    Attributes:
        problem: configuration of the measures and the archive.
        dream: configuration of the rollouts in the dream.
        search: configuration of MAP-Elites.
        real: configuration of the rollouts in the real game.
        shrinkings: N, number of copies of the initial driver. The search starts with these copies.
            Their parameters are multiplied by 1/N, 2/N, …, 1. The copies thus range from one that
            almost stands still to the initial driver itself.
        seed: root seed.
    """

    problem: ControllerProblemConfig = field(default_factory=ControllerProblemConfig)
    dream: DreamFitnessConfig = field(
        default_factory=lambda: DreamFitnessConfig(
            num_rollouts=16, agent_steps=50, dropout=True, max_batch=1600
        )
    )
    search: DDEConfig = field(
        default_factory=lambda: DDEConfig(
            generations=200,
            crossovers=(0.0,),
            encoding=None,
            mutations=(
                Mutation(iso_sigma=0.01),
                Mutation(iso_sigma=0.03, line_sigma=0.0),
                Mutation(iso_sigma=0.3, line_sigma=0.0, density=0.01, frontier=True),
            ),
            log_every=5,
            checkpoint_every=10,
        )
    )
    real: RealFitnessConfig = field(default_factory=RealFitnessConfig)
    shrinkings: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("shrinkings", self.shrinkings, at_least=1)


@dataclass(frozen=True, eq=False)
class EliteDrivers:
    """Elites that were found in the dream, and the ones that remain elites in the real game.

    Attributes:
        world_model: world model of the drivers.
        problem: problem that the search solved in the dream.
        dreamed: elites of the search, with objectives and measures from the dream.
        real: elites in the real game. The drivers of ``dreamed`` get new objectives and measures
            in the real game, and may thus move to other cells. The best driver of each cell is
            kept.
    """

    world_model: WorldModel
    problem: ControllerProblem
    dreamed: Elites
    real: Elites

    def agent(self, row: int, *, world_model: WorldModelRef | None = None) -> ControllerAgent:
        """Returns the agent of an elite.

        Args:
            row: index of the elite in ``real``.
            world_model: reference to the world model, which is saved with the agent; None to save
                the agent without a reference.
        """
        parameters = self.problem.parameters(self.real.solutions[row])
        return ControllerAgent(self.problem.fitness.controller, parameters, world_model=world_model)


def find_drivers(
    path: str | Path,
    *,
    world_model: WorldModel,
    config: DriverSearchConfig | None = None,
    init: ControllerAgent | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> EliteDrivers:
    """Searches for elite linear controllers in the dream, and evaluates them in the real game.

    To resume an interrupted search, repeat the call. The folder of a finished search contains the
    run ``search/`` and two artifacts: ``dreamed/`` with the elites of the dream, and ``real/`` with
    the elites of the real game.

    Args:
        path: folder of the search.
        world_model: world model with a memory model.
        config: configuration of the search; the defaults if None.
        init: driver to start from; if None, the search starts from random solutions.
        workers: number of processes that play the real game; one per core if None.
        progress: True to show a progress bar.

    Raises:
        ValueError: the world model has no memory model, or ``init`` does not fit the world model.
        RunError: the folder is in use, or belongs to a search with another configuration.
    """
    path, config = Path(path), config or DriverSearchConfig()
    problem = ControllerProblem(DreamFitness(world_model, config.dream), config.problem)
    dreamed, digest = _search(path, problem, config, init, progress=progress)
    with RealFitness(world_model, config.real, workers=workers) as fitness:
        # The seeds differ from those of the dream, for which the elites were selected.
        confirming = replace(config.problem, seed=integer_seed(config.seed, "confirm"))
        real = _confirm(path, ControllerProblem(fitness, confirming), dreamed, digest)
    return EliteDrivers(world_model, problem, dreamed, real)


def evaluate_elites(
    drivers: EliteDrivers,
    path: str | Path,
    *,
    episodes: int,
    min_return: float = -np.inf,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> list[RolloutStore]:
    """Collects episodes of elites in the real game, in one rollout store per elite.

    Args:
        drivers: elites from :func:`find_drivers`.
        path: folder of the stores; complete stores are not collected again.
        episodes: number of episodes of each elite.
        min_return: minimum mean return. Elites whose mean return in ``drivers.real`` is lower are
            left out.
        seed: root seed of the episodes.
        workers: number of processes that play the real game; one per core if None.
        progress: True to show progress bars.

    Returns:
        The stores, ordered by the elites' cells.

    Raises:
        ValueError: no elite reaches ``min_return``.
    """
    rows = np.flatnonzero(drivers.real.objectives >= min_return)
    if not len(rows):
        raise ValueError(
            f"min_return: expected at most {drivers.real.objectives.max():.1f} (the mean return of "
            f"the best elite), got {min_return}; lower min_return"
        )
    return [
        collect(
            drivers.world_model.task,
            Path(path) / f"cell-{drivers.real.cells[row]}",
            policy=drivers.agent(row),
            episodes=episodes,
            seed=integer_seed(seed, "drive", int(drivers.real.cells[row])),
            noise=NoisyAgent(max_scale=0.0),
            world_model=drivers.world_model,
            num_envs=episodes,
            workers=workers,
            progress=progress,
        )
        for row in rows.tolist()
    ]


def _search(
    path: Path,
    problem: ControllerProblem,
    config: DriverSearchConfig,
    init: ControllerAgent | None,
    *,
    progress: bool,
) -> tuple[Elites, str]:
    """Searches for elites in the dream; returns the elites and the digest of their artifact."""
    solutions = None if init is None else _shrunken(problem, init, config.shrinkings)
    with DDE(
        problem, config.search, path=path / "search", seed=config.seed, init=solutions
    ) as search:
        search.learn(progress=progress)
        assert search.elites is not None
        np.save(path / SNAPSHOTS, search.snapshots)
        return search.elites, search.save(path / "dreamed")


def _shrunken(problem: ControllerProblem, init: ControllerAgent, count: int) -> np.ndarray:
    """Returns ``count`` solutions: parameters of ``init``, multiplied by 1/count, 2/count, …, 1."""
    if init.config != problem.fitness.controller:
        raise ValueError(
            f"init: expected a controller with {problem.fitness.controller}, got a controller with "
            f"{init.config}; pass a linear controller trained with this world model"
        )
    shares = np.linspace(0.0, 1.0, count + 1)[1:, None]
    return problem.solutions(shares * init.parameters)


def _confirm(path: Path, problem: ControllerProblem, dreamed: Elites, digest: str) -> Elites:
    """Evaluates the elites of the dream in the real game, and returns the best of each cell.

    If the folder already contains the result for these elites, the result is read from there.
    """
    about = path / "real.json"
    described = jsonable({"dreamed": digest, **problem.describe()})
    with suppress(StoredFileError, ArtifactError):  # missing or damaged: evaluated again
        if read_json(about) == described:
            return load_elites(path / "real")[0]
    objectives, measures = problem.evaluate(dreamed.solutions)
    archive = problem.archive.make(problem.solution_dim, seed=problem.config.seed)
    archive.add(dreamed.solutions, objectives, measures)
    real = Elites.from_archive(archive)
    about.unlink(
        missing_ok=True
    )  # must not describe the new elites if interrupted between the writes
    real.save(path / "real", problem.archive, provenance=described)
    write_json(about, described)
    return real
