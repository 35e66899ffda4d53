"""What an eye's training data is worth: eyes that differ in nothing else, from frames to scores."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from wmrl.agents.evaluation import evaluate
from wmrl.agents.ppo.learner import PPOConfig, PPOLearner
from wmrl.agents.world_model_ref import eye_entry
from wmrl.core.seeding import integer_seed
from wmrl.data.store import RolloutStore
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import Eye
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.training import MemoryTrainingConfig, train_ensemble
from wmrl.scripts.reproduce.cached_result import KeptReport
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.evaluation import vision_report
from wmrl.vision.training import train_vision
from wmrl.vision.vqvae import VQVAEConfig


@dataclass(frozen=True, kw_only=True)
class EyeTrialConfig:
    """How an eye is made and tried; the same for all that are compared.

    Attributes:
        vision: sizes of the eye.
        vision_training: how it learns.
        memory: sizes of a memory in its codes.
        memory_training: how each memory learns.
        members: memories that dream as one; what they disagree on lowers the dreamed reward, which
            keeps the driver from living on what one of them gets wrong.
        dream: how PPO learns in their dream.
        dreams: dreams at once.
        decisions: that a dream lasts.
        episodes: of the driver's score in the unmodified game.
    """

    vision: VQVAEConfig = field(default_factory=VQVAEConfig)
    vision_training: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=2500))
    memory: CodeMemoryConfig = field(default_factory=CodeMemoryConfig)
    memory_training: MemoryTrainingConfig = field(
        default_factory=lambda: MemoryTrainingConfig.symbols(steps=3000)
    )
    members: int = 2
    dream: PPOConfig = field(default_factory=lambda: PPOConfig.dream(steps=1_000_000))
    dreams: int = 256
    decisions: int = 50
    episodes: int = 100


def try_eye(
    path: str | Path,
    *,
    task: Task,
    seen: Sequence[RolloutStore],
    world: Sequence[RolloutStore],
    judged: Mapping[str, np.ndarray],
    config: EyeTrialConfig | None = None,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Trains an eye, a memory in its codes and a driver in that dream, and scores the driver.

    The folder holds a run for each stage and ``result.json``: killed at any moment, the same call
    goes on, and ends at once where all is done.

    Args:
        path: folder of the trial.
        task: the game.
        seen: what the eye learns from.
        world: what the memory learns from, which is the same for eyes that are compared.
        judged: frames ``(N, H, W, 3) uint8`` by name that the eye's figures are taken on.
        config: how.
        seed: root of all randomness.
        workers: processes that play.
        device: where models are trained and run.
        progress: show progress bars.

    Returns:
        ``seed``; ``eye``, figures by the names of ``judged``; ``memory``, held-out figures of its
        first member; ``mean``, ``std`` and ``returns`` of the driver's episodes.

    Raises:
        ValueError: the folder holds the result of another trial.
        RunError: a stage's folder is in use, or belongs to another trial.
    """
    path, config = Path(path), config or EyeTrialConfig()
    asked = {
        "task": task.name,
        "config": asdict(config),
        "seed": seed,
        "seen": [store.content_hash() for store in seen],
        "world": [store.content_hash() for store in world],
        "judged": {name: _digest(frames) for name, frames in judged.items()},
    }
    report = KeptReport(path / "result.json", asked, what="trial")
    if report.found is not None:
        return report.found
    vision = train_vision(
        seen,
        path / "vision",
        config=config.vision,
        training=replace(config.vision_training, seed=integer_seed(seed, "vision")),
        device=device,
        progress=progress,
    )
    figures = {name: vision_report(vision, frames) for name, frames in judged.items()}
    memory = train_ensemble(
        world,
        path / "memory",
        vision=vision,
        members=config.members,
        config=config.memory,
        training=replace(config.memory_training, seed=integer_seed(seed, "memory")),
        device=device,
        progress=progress,
    )
    eye = Eye.open(task, vision, memory)
    _learn_to_drive(path, eye, config, seed, progress=progress)
    score = evaluate(
        path / "driver", episodes=config.episodes, eye=eye, workers=workers, progress=progress
    )
    member = json.loads((path / "memory/member-0/report.json").read_text())
    return report.keep(
        {
            "seed": seed,
            "eye": figures,
            "memory": member["held_out"],
            "mean": score.mean,
            "std": score.std,
            "returns": list(score.returns),
            "base": score.base,
        }
    )


def _digest(frames: np.ndarray) -> str:
    return sha256(frames.tobytes()).hexdigest()


def _learn_to_drive(
    path: Path, eye: Eye, config: EyeTrialConfig, seed: int, *, progress: bool
) -> None:
    """PPO in the dream; leaves ``driver/``."""
    env = DreamVectorEnv(
        config.dreams,
        task=eye.task,
        vision=eye.vision,
        memory=eye.memory,  # type: ignore[arg-type]  # there is one
        dropout=True,
        max_episode_steps=config.decisions,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    parts = (
        os.path.relpath(path / part / "artifact", path / "driver") for part in ("vision", "memory")
    )
    vision, memory = parts
    with (
        closing(env),
        PPOLearner(
            env,
            config.dream,
            path=path / "learner",
            seed=integer_seed(seed, "driver"),
            eye=eye_entry(eye, vision=vision, memory=memory),
        ) as learner,
    ):
        learner.learn(progress=progress)
        learner.save(path / "driver", provenance={"command": "reproduce drivers", "seed": seed})
