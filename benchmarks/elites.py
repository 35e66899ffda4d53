"""Evaluations a second of searches for elites: 20 joints, batches of 100, DDE's beside ribs' own.

Nothing is trained here but where it is said; both searches go on from the same filled archive, in
turns, so that a machine that is slow for a while is slow for both.
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
from wmrl.agents.quality_diversity.dde import DDEConfig, fill_archive, make_encoding
from wmrl.agents.quality_diversity.emitters import ReconstructionEmitter
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.encodings.trainer import EncodingTrainer
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.envs.planar_arm.arm import Arm

BATCH, GENERATIONS, ROUNDS = 100, 1000, 5


class Asked(Protocol):
    """What both schedulers are."""

    def ask(self) -> np.ndarray:
        """Solutions ``(B, X)``."""

    def tell(self, objective: np.ndarray, measures: np.ndarray) -> Any:
        """What they are worth."""


def generations(scheduler: Asked, problem: ArmProblem) -> float:
    """Evaluations a second over some generations."""
    started = time.perf_counter()
    for _ in range(GENERATIONS):
        scheduler.tell(*problem.evaluate(np.asarray(scheduler.ask(), np.float32)))
    return BATCH * GENERATIONS / (time.perf_counter() - started)


def dde(problem: ArmProblem, start: Elites, config: DDEConfig) -> BanditScheduler:
    """DDE's scheduler, with an encoding that stays as it is."""
    archive = problem.archive.make(problem.size, seed=0, elites=start)
    assert config.encoding is not None
    encoding = make_encoding(config.encoding).eval()
    emitters = [
        ReconstructionEmitter(
            archive,
            encoding,
            crossover=share,
            mutation=mutation,
            neighbours=problem.archive.neighbours(),
            batch_size=BATCH,
            seed=number,
        )
        for number, (share, mutation) in enumerate(config.arms)
    ]
    bandit = SlidingWindowUCB(
        len(emitters),
        window=config.window,
        exploration=config.exploration,
        relative=config.reward == "qd_score",
    )
    return BanditScheduler(archive, emitters, bandit, reward=config.reward)


def ribs(problem: ArmProblem, start: Elites) -> Scheduler:
    """MAP-Elites with line mutation, all of ribs."""
    archive = problem.archive.make(problem.size, seed=0, elites=start)
    limit = np.ones(problem.size)
    emitter = IsoLineEmitter(
        archive,
        iso_sigma=0.006,
        line_sigma=0.2,
        x0=np.zeros(problem.size),
        lower_bounds=-limit,
        upper_bounds=limit,
        batch_size=BATCH,
        seed=0,
    )
    return Scheduler(archive, [emitter])


def seconds(work: Callable[[], Any], rounds: int = 5) -> float:
    """Of one call, at the median."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def main() -> None:
    """Measures and writes."""
    problem = ArmProblem(arm=Arm(joints=20))
    archive = problem.archive.make(problem.size, seed=0)
    fill_archive(archive, problem, share=0.05, batch_size=BATCH, seed=0)
    start = Elites.of(archive)
    encoding = VectorVAEConfig(size=problem.size, latent_size=10)
    searches: dict[str, Asked] = {
        "dde": dde(problem, start, DDEConfig(encoding=encoding)),
        "dde_as_published": dde(problem, start, DDEConfig.as_published(encoding=encoding)),
        "ribs_line": ribs(problem, start),
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
    elites = torch.rand(1950, problem.size, generator=torch.Generator().manual_seed(0)) - 0.5
    # 5 passes over as many elites as there are cells.
    results["seconds_of_one_training"] = seconds(lambda: trainer.fit(elites))
    write_report("elites", results)


if __name__ == "__main__":
    main()
