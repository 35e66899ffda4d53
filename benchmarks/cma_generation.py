"""Measures time and memory of a CMA-ES generation: 64 controllers × 16 dreams × 1000 steps."""

import resource
import time

import numpy as np

from benchmarks.report import write_report
from wmrl.agents.policy_search.fitness import DreamFitness, DreamFitnessConfig
from wmrl.envs.world_model import WorldModel

POPULATION_SIZE, NUM_ROLLOUTS, AGENT_STEPS = 64, 16, 1000

if __name__ == "__main__":
    world_model = WorldModel.open("car-racing", "car-racing-vae", "car-racing-mdnrnn")
    config = DreamFitnessConfig(num_rollouts=NUM_ROLLOUTS, agent_steps=AGENT_STEPS)
    fitness = DreamFitness(world_model, config)
    size = fitness.controller.parameter_count
    candidates = 0.1 * np.random.default_rng(0).standard_normal((POPULATION_SIZE, size))
    started = time.perf_counter()
    fitness(candidates.astype(np.float32), 0)
    seconds = time.perf_counter() - started
    write_report(
        "cma_generation",
        {
            "population_size": POPULATION_SIZE,
            "num_rollouts": NUM_ROLLOUTS,
            "agent_steps": AGENT_STEPS,
            "seconds": seconds,
            "steps_per_s": POPULATION_SIZE * NUM_ROLLOUTS * AGENT_STEPS / seconds,
            "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        },
    )
