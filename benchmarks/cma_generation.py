"""Seconds and memory of a CMA-ES generation: 64 controllers × 16 rollouts × 1000 dream steps."""

import resource
import time

import numpy as np

from benchmarks.report import write_report
from wmrl.agents.policy_search.fitness import DreamFitness, DreamFitnessConfig
from wmrl.envs.world_model import Eye

POPULATION, ROLLOUTS, DECISIONS = 64, 16, 1000

if __name__ == "__main__":
    eye = Eye.open("car-racing", "car-racing-vae", "car-racing-mdnrnn")
    config = DreamFitnessConfig(rollouts=ROLLOUTS, decisions=DECISIONS)
    fitness = DreamFitness(eye, config)
    size = fitness.controller.parameter_count
    candidates = 0.1 * np.random.default_rng(0).standard_normal((POPULATION, size))
    started = time.perf_counter()
    fitness(candidates.astype(np.float32), 0)
    seconds = time.perf_counter() - started
    write_report(
        "cma_generation",
        {
            "population": POPULATION,
            "rollouts": ROLLOUTS,
            "decisions": DECISIONS,
            "seconds": seconds,
            "steps_per_s": POPULATION * ROLLOUTS * DECISIONS / seconds,
            "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        },
    )
