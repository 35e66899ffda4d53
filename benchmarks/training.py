"""Measures the training speed of vision models (frames/s) and of memory models (transitions/s).

The measured functions are those that the commands call. The duration of a short run is subtracted
from that of a long run, to exclude other work, such as opening stores and writing reports.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import write_report
from wmrl.agents import collect
from wmrl.data.store import RolloutStore
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.training import MemoryTrainingConfig, train_memory
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import load_vision
from wmrl.vision.training import train_vision
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAEConfig

FRAMES, SHORT = 24_000, 20


def steps_per_second(train: Callable[[int, Path], Any], steps: int, folder: Path) -> float:
    """Measures gradient steps per second of ``train``.

    Args:
        train: function that trains a model, given a number of steps and a folder.
        steps: number of steps by which a long run exceeds a short one, whose duration is
            subtracted.
        folder: folder of the runs.
    """
    taken = []
    for count in (SHORT, SHORT, SHORT + steps):  # the first run fills caches
        started = time.perf_counter()
        train(count, folder / f"run-{len(taken)}")
        taken.append(time.perf_counter() - started)
    return steps / (taken[2] - taken[1])


def vision_rate(store: RolloutStore, config: VAEConfig | VQVAEConfig, steps: int) -> float:
    """Measures frames per second while a vision model is trained."""
    batch = 100

    def train(count: int, path: Path) -> None:
        training = TrainingConfig(steps=count, batch_size=batch)
        train_vision([store], path, config=config, training=training, progress=False)

    with tempfile.TemporaryDirectory() as folder:
        return batch * steps_per_second(train, steps, Path(folder))


def memory_rate(
    store: RolloutStore, vision: str, training: MemoryTrainingConfig, config: Any, steps: int
) -> float:
    """Measures transitions per second while a memory model is trained."""
    model = load_vision(vision)

    def train(count: int, path: Path) -> None:
        train_memory(
            [store],
            path,
            vision=model,
            config=config,
            training=replace(training, steps=count),
            progress=False,
        )

    with tempfile.TemporaryDirectory() as folder:
        rate = steps_per_second(train, steps, Path(folder))
    return training.batch_size * training.sequence_length * rate


def main() -> None:
    """Measures all rates and writes the report."""
    with tempfile.TemporaryDirectory() as folder:
        store = collect("car-racing", Path(folder) / "store", frames=FRAMES, progress=False)
        results = {
            "vae_frames_per_s": vision_rate(store, VAEConfig(), 300),
            "vqvae_frames_per_s": vision_rate(store, VQVAEConfig(warmup_steps=10), 200),
            "mdn_rnn_transitions_per_s": memory_rate(
                store, "car-racing-vae", MemoryTrainingConfig(), None, 500
            ),
            "code_memory_transitions_per_s": memory_rate(
                store, "car-racing-vqvae", MemoryTrainingConfig.discrete(), CodeMemoryConfig(), 100
            ),
        }
    write_report("training", results)


if __name__ == "__main__":
    main()
