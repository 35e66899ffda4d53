"""Measures evaluations per second of DDE and ribs on an arm of 20 joints, in batches of 100.

All searches start from the same archive and take turns, so that a slow phase of the machine affects
all of them. They do not train an encoding; that training is measured separately.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from ribs.emitters import IsoLineEmitter
from ribs.schedulers import Scheduler

from benchmarks.report import write_report
from wmrl.agents.quality_diversity.archive import Elites
from wmrl.agents.quality_diversity.bandit import BanditScheduler, SlidingWindowUCB
from wmrl.agents.quality_diversity.dde_config import DDEConfig, make_encoding
from wmrl.agents.quality_diversity.emitters import ReconstructionEmitter
from wmrl.agents.quality_diversity.initialization import fill_archive
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.encodings.trainer import EncodingTrainer
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.envs.planar_arm.arm import Arm

BATCH, GENERATIONS, ROUNDS = 100, 1000, 5


class AskTell(Protocol):
    """Common interface of the schedulers of DDE and ribs."""

    def ask(self) -> np.ndarray:
        """Returns B solutions of X parameters to evaluate, ``(B, X)``."""

    def tell(self, objective: np.ndarray, measures: np.ndarray) -> Any:
        """Receives the objectives ``(B,)`` and M measures ``(B, M)`` of the B solutions."""


def generations(scheduler: AskTell, problem: ArmProblem) -> float:
    """Measures evaluations per second over ``GENERATIONS`` generations."""
    started = time.perf_counter()
    for _ in range(GENERATIONS):
        scheduler.tell(*problem.evaluate(np.asarray(scheduler.ask(), np.float32)))
    return BATCH * GENERATIONS / (time.perf_counter() - started)


def dde(problem: ArmProblem, initial: Elites, config: DDEConfig) -> BanditScheduler:
    """Creates the scheduler of DDE with an untrained encoding."""
    archive = problem.archive.make(problem.solution_dim, seed=0, elites=initial)
    assert config.encoding is not None
    encoding = make_encoding(config.encoding).eval()
    emitters = [
        ReconstructionEmitter(
            archive,
            encoding,
            crossover=share,
            mutation=mutation,
            neighbors=problem.archive.neighbors(),
            batch_size=BATCH,
            seed=number,
        )
        for number, (share, mutation) in enumerate(config.bandit_arms)
    ]
    bandit = SlidingWindowUCB(
        len(emitters),
        window=config.window,
        exploration=config.exploration,
        relative=config.reward == "qd_score",
    )
    return BanditScheduler(archive, emitters, bandit, reward=config.reward)


def ribs(problem: ArmProblem, initial: Elites) -> Scheduler:
    """Creates the scheduler of ribs for MAP-Elites with line mutation."""
    archive = problem.archive.make(problem.solution_dim, seed=0, elites=initial)
    limit = np.ones(problem.solution_dim)
    emitter = IsoLineEmitter(
        archive,
        iso_sigma=0.006,
        line_sigma=0.2,
        x0=np.zeros(problem.solution_dim),
        lower_bounds=-limit,
        upper_bounds=limit,
        batch_size=BATCH,
        seed=0,
    )
    return Scheduler(archive, [emitter])


def seconds(work: Callable[[], Any], rounds: int = 5) -> float:
    """Measures the duration of ``work`` in seconds: the median over ``rounds`` calls."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def main() -> None:
    """Runs the benchmarks and writes the report."""
    problem = ArmProblem(arm=Arm(num_joints=20))
    archive = problem.archive.make(problem.solution_dim, seed=0)
    fill_archive(archive, problem, initial_coverage=0.05, batch_size=BATCH, seed=0)
    initial = Elites.from_archive(archive)
    encoding = VectorVAEConfig(input_dim=problem.solution_dim, latent_dim=10)
    searches: dict[str, AskTell] = {
        "dde": dde(problem, initial, DDEConfig(encoding=encoding)),
        "dde_as_published": dde(problem, initial, DDEConfig.as_published(encoding=encoding)),
        "ribs_line": ribs(problem, initial),
    }
    rates: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(ROUNDS):
        for name, scheduler in searches.items():
            rates[name].append(generations(scheduler, problem))
    results: dict[str, Any] = {
        f"evaluations_per_s_{name}": float(np.median(found)) for name, found in rates.items()
    }
    results["dde_without_training_over_ribs_line"] = (
        results["evaluations_per_s_dde"] / (results["evaluations_per_s_ribs_line"])
    )
    trainer = EncodingTrainer(make_encoding(encoding))
    elites = (
        torch.rand(1950, problem.solution_dim, generator=torch.Generator().manual_seed(0)) - 0.5
    )
    # The training has 5 epochs over as many elites as there are cells.
    results["seconds_of_one_training"] = seconds(lambda: trainer.fit(elites))
    write_report("elites", results)


if __name__ == "__main__":
    main()
