"""Evaluation of vision models by their reconstructions and by the scores of drivers.

The drivers are trained in the dreams of world models that contain these vision models.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from wmrl.agents.evaluation.scoring import evaluate
from wmrl.agents.pipeline.presets import preset_of
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.ppo.learner import PPOLearner
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.config import check_fields
from wmrl.core.hashing import array_digest
from wmrl.core.seeding import integer_seed
from wmrl.core.validation import check_int
from wmrl.data.store import RolloutStore
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.ensemble_training import train_ensemble
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.scripts.reproduce.cached_result import CachedResult
from wmrl.storage.reading import read_json
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.evaluation import vision_report
from wmrl.vision.training import train_vision
from wmrl.vision.vqvae import VQVAEConfig


@dataclass(frozen=True, kw_only=True)
class VisionTrialConfig:
    """Configuration of :func:`try_vision`, which trains and tests a vision model.

    Attributes:
        vision: configuration of the vision model.
        vision_training: configuration of the vision model's training.
        memory: configuration of the memory models, which predict the vision model's codes.
        memory_training: configuration of the memory models' training.
        num_members: number of memory models in the ensemble. Where the memory models disagree, the
            reward in the dream is lower. This keeps the driver from exploiting the errors of one
            memory model.
        dream: configuration of PPO, which trains the driver in the dream.
        num_dreams: number of parallel dreams.
        agent_steps: maximum length of a dream in agent steps.
        episodes: number of episodes of the real game in which the driver is scored.
    """

    vision: VQVAEConfig = field(default_factory=VQVAEConfig)
    vision_training: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=2500))
    memory: CodeMemoryConfig = field(
        default_factory=lambda: CodeMemoryConfig(reward_scale=preset_of("car-racing").reward_scale)
    )
    memory_training: MemoryTrainingConfig = field(
        default_factory=lambda: MemoryTrainingConfig.discrete(steps=3000)
    )
    num_members: int = 2
    dream: PPOConfig = field(default_factory=lambda: PPOConfig.dream(steps=1_000_000))
    num_dreams: int = 256
    agent_steps: int = 50
    episodes: int = 100

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("num_members", "num_dreams", "agent_steps", "episodes"):
            check_int(name, getattr(self, name), at_least=1)


def try_vision(
    path: str | Path,
    *,
    task: Task,
    vision_data: Sequence[RolloutStore],
    memory_data: Sequence[RolloutStore],
    held_out: Mapping[str, np.ndarray],
    config: VisionTrialConfig | None = None,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a vision model, memory models and a driver, and scores the driver in the real game.

    The driver is trained in the dream of the memory models. To resume an interrupted trial,
    repeat the call. If the trial is finished, its result is read from the folder. The folder of a
    finished trial contains a run for each stage, the artifact ``driver/``, and ``result.json``.

    Args:
        path: folder of the trial.
        task: task whose game is played.
        vision_data: training data of the vision model.
        memory_data: training data of the memory models. This data should be the same in all trials
            that are compared.
        held_out: sets of held-out frames ``(N, H, W, 3) uint8``, keyed by the name of the set.
        config: configuration of the trial; the defaults if None.
        seed: root seed.
        workers: number of processes that play the real game; one per core if None.
        device: device of the models.
        progress: True to show progress bars.

    Returns:
        The result, with ``seed`` and these entries:

        - ``key``: everything that the result depends on.
        - ``vision``: metrics of the vision model on each set of ``held_out``.
        - ``memory``: metrics of the first memory model on held-out episodes.
        - ``mean``, ``std`` and ``returns``: mean, standard deviation and list of the driver's
          returns in the real game.
        - ``base``: Gymnasium id of the real game.

    Raises:
        ValueError: the folder contains the result of another trial.
        RunError: the folder of a stage is in use, or belongs to another trial.
    """
    path, config = Path(path), config or VisionTrialConfig()
    key = {
        "task": task.name,
        "config": asdict(config),
        "seed": seed,
        "vision_data": [store.content_hash() for store in vision_data],
        "memory_data": [store.content_hash() for store in memory_data],
        "held_out": {name: array_digest(frames) for name, frames in held_out.items()},
    }
    cached = CachedResult(path / "result.json", key, name="trial")
    if cached.value is not None:
        return cached.value
    vision = train_vision(
        vision_data,
        path / "vision",
        config=config.vision,
        training=replace(config.vision_training, seed=integer_seed(seed, "vision")),
        device=device,
        progress=progress,
    )
    metrics = {name: vision_report(vision, frames) for name, frames in held_out.items()}
    memory = train_ensemble(
        memory_data,
        path / "memory",
        vision=vision,
        num_members=config.num_members,
        config=config.memory,
        training=replace(config.memory_training, seed=integer_seed(seed, "memory")),
        device=device,
        progress=progress,
    )
    world_model = WorldModel.open(task, vision, memory)
    _train_driver(path, world_model, config, seed, progress=progress)
    score = evaluate(
        path / "driver",
        episodes=config.episodes,
        world_model=world_model,
        workers=workers,
        progress=progress,
    )
    member = read_json(path / "memory/member-0/report.json")
    return cached.store(
        {
            "seed": seed,
            "vision": metrics,
            "memory": member["held_out"],
            "mean": score.mean,
            "std": score.std,
            "returns": list(score.returns),
            "base": score.base,
        }
    )


def _train_driver(
    path: Path, world_model: WorldModel, config: VisionTrialConfig, seed: int, *, progress: bool
) -> None:
    """Trains a driver by PPO in the dream, and writes its artifact to the folder ``driver/``."""
    env = DreamVectorEnv.from_world_model(
        world_model,
        config.num_dreams,
        dropout=True,
        max_episode_steps=config.agent_steps,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    ref = WorldModelRef.of(
        world_model,
        vision=path / "vision" / "artifact",
        memory=path / "memory" / "artifact",
        relative_to=path / "driver",
    )
    with (
        closing(env),
        PPOLearner(
            env,
            config.dream,
            path=path / "learner",
            seed=integer_seed(seed, "driver"),
            world_model=ref,
        ) as learner,
    ):
        learner.learn(progress=progress)
        learner.save(path / "driver", provenance={"command": "reproduce drivers", "seed": seed})
