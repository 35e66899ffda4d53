"""Compares the speeds of two installations of wmrl in turns, on one machine.

``python -m benchmarks.turns OTHER/.venv/bin/python --pairs 10`` makes 10 pairs of runs of every
measurement. In each pair, one run uses this interpreter and the other uses the given one; their
order changes after each pair. The machine's speed drifts by far more than a few per cent, but the
drift affects both. The report gives the median ratio of the pairs (this installation / the other
one), with a 95 % confidence interval.

The measurements import only from packages such as ``wmrl.agents``, and not from modules within
them, so that they also run in older versions.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def collecting() -> float:
    """Returns base frames per second of collecting with random actions."""
    from wmrl.agents import collect

    def run(frames: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            collect("car-racing", Path(folder) / "store", frames=frames, progress=False)
            return frames / (time.perf_counter() - started)

    run(4_000)
    return run(32_000)


def dream(steps: int = 1500, **world: str) -> float:
    """Returns steps per second, in total, of 64 parallel dreams of the shipped models.

    Args:
        steps: number of measured steps of each dream.
        world: keyword arguments that select the world model, such as ``vision``.
    """
    import gymnasium as gym

    import wmrl.envs  # noqa: F401 - registers the environments

    env = gym.make_vec("vsg/CarRacingDream-v0", num_envs=64, autoreset_mode="SameStep", **world)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = env.action_space.sample()
    for _ in range(steps // 15):
        env.step(actions)
    started = time.perf_counter()
    for _ in range(steps):
        env.step(actions)
    return 64 * steps / (time.perf_counter() - started)


def ensemble_dream() -> float:
    """Returns steps per second, in total, of 64 parallel dreams of the shipped ensemble."""
    return dream(steps=450, vision="car-racing-vqvae")


def latent_env() -> float:
    """Returns agent steps per second, in total, of eight real games with latent observations."""
    import gymnasium as gym

    import wmrl.envs  # noqa: F401 - registers the environments

    env = gym.make_vec("vsg/CarRacingLatent-v0", num_envs=8)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = env.action_space.sample()
    for _ in range(20):
        env.step(actions)
    started, steps = time.perf_counter(), 200
    for _ in range(steps):
        env.step(actions)
    taken = time.perf_counter() - started
    env.close()
    return 8 * steps / taken


def training() -> float:
    """Returns gradient steps per second of a VAE; writing report and artifact is included."""
    from wmrl.agents import collect
    from wmrl.training import TrainingConfig
    from wmrl.vision import train_vision

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = collect("car-racing", folder / "store", frames=8_000, progress=False)
        for run, steps in enumerate((5, 60)):
            started = time.perf_counter()
            training = TrainingConfig(steps=steps, batch_size=100)
            train_vision([store], folder / f"run-{run}", training=training, progress=False)
    return 60 / (time.perf_counter() - started)


def memory_training() -> float:
    """Returns gradient steps per second of an MDN-RNN; writing report and artifact is included."""
    from wmrl.agents import collect
    from wmrl.memory import MemoryTrainingConfig, train_memory
    from wmrl.vision import load_vision

    vision = load_vision("car-racing-vae")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = collect("car-racing", folder / "store", frames=16_000, progress=False)
        for run, steps in enumerate((5, 60)):
            started = time.perf_counter()
            training = MemoryTrainingConfig(steps=steps)
            path = folder / f"run-{run}"
            train_memory([store], path, vision=vision, training=training, progress=False)
    return 60 / (time.perf_counter() - started)


def ppo() -> float:
    """Returns agent steps per second of PPO in 256 dreams, including its updates."""
    import gymnasium as gym

    import wmrl.envs  # noqa: F401 - registers the environments
    from wmrl.agents import PPOConfig, PPOLearner

    dreams = gym.make_vec(
        "vsg/CarRacingDream-v0", num_envs=256, autoreset_mode="SameStep", max_episode_steps=50
    )
    config = PPOConfig(steps=2 * 32 * 8 * 256, rollout_steps=32, chunk_rollouts=8)
    with (
        tempfile.TemporaryDirectory() as folder,
        PPOLearner(dreams, config, path=Path(folder) / "run") as learner,
    ):
        # Ended by its time limit after one rollout, this call warms up.
        learner.learn(max_seconds=1e-9, progress=False)
        done, seconds = learner.steps, learner.seconds
        learner.learn(progress=False)
        return (learner.steps - done) / (learner.seconds - seconds)


MEASUREMENTS: dict[str, Callable[[], float]] = {
    "collecting": collecting,
    "dream": dream,
    "ensemble_dream": ensemble_dream,
    "latent_env": latent_env,
    "vae_training": training,
    "memory_training": memory_training,
    "ppo": ppo,
}


def measure(python: str, name: str) -> float:
    """Returns the result of the measurement ``name``, made in a new process of ``python``."""
    command = [python, str(Path(__file__).resolve()), "--measure", name]
    # The folder of the interpreter's installation must not be on the path of the other one.
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return float(result.stdout.split()[-1])


def median_interval(ratios: list[float]) -> tuple[float, float, float]:
    """Returns the median of ratios, and both ends of its confidence interval of at least 95 %.

    The ends are order statistics, so that no assumption about the distribution is needed. With
    fewer than six ratios, there is no such interval, and the ends are the smallest and the largest
    ratio.
    """
    ordered, count = sorted(ratios), len(ratios)
    rank, tail = 0, 0.0
    for k in range(count // 2):
        tail += math.comb(count, k) / 2**count
        if 2 * tail > 0.05:
            break
        rank = k
    return statistics.median(ordered), ordered[rank], ordered[count - 1 - rank]


def compare(other: str, *, pairs: int, names: list[str]) -> dict[str, dict[str, object]]:
    """Compares this interpreter with another one by pairs of measurements.

    Args:
        other: path of the other interpreter.
        pairs: number of pairs for each measurement.
        names: names of the measurements.

    Returns:
        The median ratio, its interval and all rates, keyed by the measurement's name.
    """
    results: dict[str, dict[str, object]] = {}
    for name in names:
        ratios, rates = [], {"this": [], "other": []}
        for pair in range(pairs):
            turns = {"this": sys.executable, "other": other}
            for side in list(turns)[:: 1 if pair % 2 else -1]:
                rates[side].append(measure(turns[side], name))
            ratios.append(rates["this"][-1] / rates["other"][-1])
        median, low, high = median_interval(ratios)
        print(f"{name:16} {median:.3f} [{low:.3f}, {high:.3f}] of {pairs} pairs", flush=True)
        results[name] = {"ratio": median, "low": low, "high": high, **rates}
    return results


def main() -> None:
    """Parses the command line, measures, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", nargs="?", help="Python interpreter of the other installation")
    parser.add_argument("--pairs", type=int, default=10, help="number of pairs (default: 10)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=MEASUREMENTS,
        default=list(MEASUREMENTS),
        help="measurements to make (default: all)",
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--measure", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(MEASUREMENTS[options.measure]())
        return
    if options.other is None:
        parser.error("other: expected the Python interpreter of another installation, got none")
    results = compare(options.other, pairs=options.pairs, names=options.only)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
