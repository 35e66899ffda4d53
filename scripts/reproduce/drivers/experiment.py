"""Elites that drive: a search in the dream, confirmed in the real game, and what its elites see."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.fitness import (
    DreamFitness,
    DreamFitnessConfig,
    RealFitness,
    RealFitnessConfig,
)
from wmrl.agents.quality_diversity.archive import Elites, load_elites
from wmrl.agents.quality_diversity.dde import DDE, DDEConfig
from wmrl.agents.quality_diversity.emitters import Mutation
from wmrl.agents.quality_diversity.problems import ControllerProblem, ControllerProblemConfig
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.exploration import NoisyBehaviour
from wmrl.core.seeding import integer_seed
from wmrl.data.store import RolloutStore
from wmrl.envs.world_model import Eye
from wmrl.storage.files import write_report

SNAPSHOTS = "snapshots.npy"
"""File with the dream's map over time, ``(S, cells)``."""


@dataclass(frozen=True, kw_only=True)
class DriverSearchConfig:
    """How elites are found among drivers.

    Attributes:
        problem: measures and cells.
        dream: how a driver is tried in the dream.
        search: how elites are searched for.
        real: how elites are confirmed in the real game.
        shrinkings: how many weakened copies the search begins with of a driver that is given.
            Between standing still and that driver, they act in ways of their own.
        seed: root of all that is random.
    """

    problem: ControllerProblemConfig = field(default_factory=ControllerProblemConfig)
    dream: DreamFitnessConfig = field(
        default_factory=lambda: DreamFitnessConfig(
            rollouts=16, decisions=50, dropout=True, max_batch=1600
        )
    )
    search: DDEConfig = field(
        default_factory=lambda: DDEConfig(
            generations=200,
            crossovers=(0.0,),
            encoding=None,
            mutations=(
                Mutation(iso=0.01),
                Mutation(iso=0.03, line=0.0),
                Mutation(iso=0.3, line=0.0, density=0.01, frontier=True),
            ),
            log_every=5,
            checkpoint_every=10,
        )
    )
    real: RealFitnessConfig = field(default_factory=RealFitnessConfig)
    shrinkings: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shrinkings < 1:
            raise ValueError(f"shrinkings: expected at least 1, got {self.shrinkings}")


@dataclass(frozen=True, eq=False)
class EliteDrivers:
    """Drivers that were the best of their kind in the dream, and what they are in the real game.

    Attributes:
        eye: what they look through.
        problem: the dream's.
        dreamed: elites by what the dream says of them.
        real: the same drivers by what the game says: those that are the best of their cell there.
    """

    eye: Eye
    problem: ControllerProblem
    dreamed: Elites
    real: Elites

    def agent(self, row: int, *, eye: Mapping[str, Any] | None = None) -> ControllerAgent:
        """The driver of a row of ``real``."""
        parameters = self.problem.parameters(self.real.solutions[row])
        return ControllerAgent(self.problem.fitness.controller, parameters, eye=eye)


def find_drivers(
    path: str | Path,
    *,
    eye: Eye,
    config: DriverSearchConfig | None = None,
    init: ControllerAgent | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> EliteDrivers:
    """Searches for elites among linear controllers in the dream, and drives them for real.

    The folder's ``search/`` is a run: killed at any moment, the same call goes on. It ends up with
    artifacts of both kinds of elites, ``dreamed/`` and ``real/``.

    Args:
        path: folder of the search.
        eye: vision and memory.
        config: how.
        init: a driver to begin with.
        workers: processes that play.
        progress: show a progress bar.

    Raises:
        ValueError: ``init`` is not a controller of this eye, or the eye has no memory.
        RunError: the folder is in use, or belongs to another search.
    """
    path, config = Path(path), config or DriverSearchConfig()
    problem = ControllerProblem(DreamFitness(eye, config.dream), config.problem)
    dreamed, digest = _search(path, problem, config, init, progress=progress)
    with RealFitness(eye, config.real, workers=workers) as fitness:
        # Seeds of its own: what was lucky in the dream is not to be lucky again.
        own = replace(config.problem, seed=integer_seed(config.seed, "confirm"))
        real = _confirm(path, ControllerProblem(fitness, own), dreamed, digest)
    return EliteDrivers(eye, problem, dreamed, real)


def drive(
    drivers: EliteDrivers,
    path: str | Path,
    *,
    episodes: int,
    least: float = -np.inf,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> list[RolloutStore]:
    """Lets elites drive the real game: a store of each of them.

    Args:
        drivers: who drives.
        path: folder of the stores; what is there already is not driven again.
        episodes: of each driver.
        least: mean return in the real game that an elite needs to be let drive.
        seed: root of the episodes' seeds.
        workers: processes that play.
        progress: show progress bars.

    Raises:
        ValueError: no elite is that good.
    """
    rows = np.flatnonzero(drivers.real.objectives >= least)
    if not len(rows):
        raise ValueError(
            f"least: expected at most {drivers.real.objectives.max():.1f}, the best elite's mean "
            f"return, got {least}"
        )
    return [
        collect(
            drivers.eye.task,
            Path(path) / f"cell-{drivers.real.cells[row]}",
            policy=drivers.agent(row),
            episodes=episodes,
            seed=integer_seed(seed, "drive", int(drivers.real.cells[row])),
            noise=NoisyBehaviour(largest=0.0),
            eye=drivers.eye,
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
    """Elites in the dream, and their artifact's digest."""
    start = None if init is None else _shrunken(problem, init, config.shrinkings)
    with DDE(problem, config.search, path=path / "search", seed=config.seed, init=start) as search:
        search.learn(progress=progress)
        assert search.elites is not None
        np.save(path / SNAPSHOTS, search.snapshots)
        return search.elites, search.save(path / "dreamed")


def _shrunken(problem: ControllerProblem, init: ControllerAgent, count: int) -> np.ndarray:
    """Copies ``(count, X)`` from weak ones to the driver itself."""
    if init.config != problem.fitness.controller:
        raise ValueError(
            f"init: expected a controller of {problem.fitness.controller}, got {init.config}"
        )
    shares = np.linspace(0.0, 1.0, count + 1)[1:, None]
    return problem.solutions(shares * init.parameters)


def _confirm(path: Path, problem: ControllerProblem, dreamed: Elites, digest: str) -> Elites:
    about = path / "real.json"
    described = json.loads(json.dumps({"dreamed": digest, **problem.describe()}))
    if about.exists() and json.loads(about.read_text()) == described:
        return load_elites(path / "real")[0]
    objectives, measures = problem.evaluate(dreamed.solutions)
    archive = problem.archive.make(problem.size, seed=problem.config.seed)
    archive.add(dreamed.solutions, objectives, measures)
    real = Elites.of(archive)
    about.unlink(missing_ok=True)  # it would say what is not so, if a kill came before the new one
    real.save(path / "real", problem.archive, provenance=described)
    write_report(about, described)
    return real
