"""World model of Take Cover, trained on random play, and agents trained in its dream alone."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from wmrl.agents.pipeline.presets import preset_of
from wmrl.agents.policy_search.cma_es import CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitness, DreamFitnessConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.config import check_fields
from wmrl.core.seeding import integer_seed
from wmrl.core.validation import check_choice, check_int
from wmrl.data.store import RolloutStore
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.ensemble_training import train_ensemble
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.start_states import StartStatesConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.scripts.reproduce.cached_result import CachedResult
from wmrl.scripts.reproduce.dream_trial import DreamTrial
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import load_vision
from wmrl.vision.training import train_vision
from wmrl.vision.vae import VAEConfig

Learner = Literal["ppo", "cma-es"]

# The world model and PPO have the settings of the training loop.
_PRESET = preset_of("take-cover")

LEARNERS: dict[Learner, str] = {
    "ppo": "PPO, a linear policy on [z, c, h]",
    "cma-es": "CMA-ES, a linear controller on [z, c, h] with thresholds",
}
"""Titles of the learners in tables, by name."""


@dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    """Settings of a world model that is trained on random play.

    Attributes:
        episodes: number of recorded episodes of random play.
        vision: configuration of the vision model. By default, it has 64 latent dimensions, as in
            World Models, and a pixel variance of 0.05. With the paper's 0.5, distant fireballs are
            too small to be drawn. With a calibrated decoder, the latents also contain the texture
            of walls and floor, which the memory model then has to predict.
        vision_training: configuration of the vision model's training.
        memory: configuration of each memory model in the ensemble. By default, agents observe the
            LSTM's cell state c and hidden state h, as in World Models.
        memory_training: configuration of each memory model's training.
        num_members: number of memory models in the ensemble; 1 for a single memory model.
        pessimism: weight k of the disagreement between memory models. The reward in a dream is the
            mean of the rewards that the memory models predict, minus k times the standard deviation
            of these rewards. With a single memory model, k has no effect.
    """

    episodes: int = 2000
    vision: VAEConfig = field(
        default_factory=lambda: VAEConfig(
            latent_dim=_PRESET.latent_dim,
            pixel_variance=_PRESET.pixel_variance,
            mean_frame=_PRESET.mean_frame,
        )
    )
    vision_training: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=6_000))
    memory: MDNRNNConfig = field(
        default_factory=lambda: MDNRNNConfig(
            reward_scale=_PRESET.reward_scale, features=_PRESET.features
        )
    )
    memory_training: MemoryTrainingConfig = field(
        default_factory=lambda: MemoryTrainingConfig(
            steps=8000,
            sequence_length=_PRESET.sequence_length,
            start_states=StartStatesConfig(max_states=1024, warmup_frames=40),
        )
    )
    num_members: int = 1
    pessimism: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("episodes", "num_members"):
            check_int(name, getattr(self, name), at_least=1)


@dataclass(frozen=True, kw_only=True)
class AgentTrialConfig:
    """Settings of the training and scoring of an agent.

    Attributes:
        ppo: settings of PPO. By default, rewards are scaled so that discounted returns are at most
            about 8.
        num_envs: number of dreams in which PPO trains at the same time.
        cma_es: settings of CMA-ES.
        fitness: settings with which CMA-ES evaluates controllers in the dream. The attribute
            ``temperature`` is ignored; each trial sets its own temperature.
        agent_steps: maximum length of a dream in agent steps, for PPO and for scores. The default
            of 525 agent steps is 2100 tics, as an agent step is 4 tics. An episode of the game
            lasts at most 2100 tics.
        dream_episodes: number of dreams in which a trained agent is scored.
        episodes: number of episodes of the game in which a trained agent is scored.
    """

    ppo: PPOConfig = field(
        default_factory=lambda: replace(
            _PRESET.dream, steps=6_000_000, reward_scale=_PRESET.ppo_reward_scale or 1.0
        )
    )
    num_envs: int = 256
    cma_es: CMAESConfig = field(
        default_factory=lambda: CMAESConfig(generations=100, population_size=32, sigma=0.1)
    )
    fitness: DreamFitnessConfig = field(
        default_factory=lambda: DreamFitnessConfig(num_rollouts=16, agent_steps=525)
    )
    agent_steps: int = 525
    dream_episodes: int = 256
    episodes: int = 100

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("num_envs", "agent_steps", "dream_episodes", "episodes"):
            check_int(name, getattr(self, name), at_least=1)


def train_world_model(
    path: str | Path,
    config: WorldModelConfig | None = None,
    *,
    task: Task | str = "take-cover",
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> WorldModelRef:
    """Records random play and trains a world model on it.

    After an interruption, the same call resumes the training. The folder contains the rollout store
    ``data/``, and the training runs ``vision/`` and ``memory/``.

    Args:
        path: folder of the world model.
        config: settings; the defaults if None.
        task: task, or any text that :func:`~wmrl.envs.tasks.registry.find_task` accepts.
        seed: root seed.
        workers: number of worker processes that play the game; one per core if None.
        device: device of the models.
        progress: True to show progress bars.

    Returns:
        A reference to the world model.

    Raises:
        ImportError: the game needs a package that is not installed.
        RunError: the folder is in use, or belongs to a world model with other settings.
        StoreError: the store in the folder has other settings.
    """
    path, config, task = Path(path), config or WorldModelConfig(), find_task(task)
    store = collect(
        task,
        path / "data",
        episodes=config.episodes,
        seed=integer_seed(seed, "take cover", "data"),
        workers=workers,
        progress=progress,
    )
    train_vision(
        [store],
        path / "vision",
        config=config.vision,
        training=replace(config.vision_training, seed=integer_seed(seed, "take cover", "vision")),
        device=device,
        progress=progress,
    )
    vision = load_vision(path / "vision" / "artifact", device=device)
    memory = train_ensemble(
        [store],
        path / "memory",
        vision=vision,
        num_members=config.num_members,
        pessimism=config.pessimism,
        config=config.memory,
        training=replace(config.memory_training, seed=integer_seed(seed, "take cover", "memory")),
        device=device,
        progress=progress,
    )
    return WorldModelRef.of(
        WorldModel.open(task, vision, memory),
        vision=path / "vision" / "artifact",
        memory=path / "memory" / "artifact",
    )


def random_scores(path: str | Path) -> dict[str, float]:
    """Computes statistics of the episodes of random play in a rollout store.

    Returns:
        A dictionary with ``mean`` and ``std``, the mean and standard deviation of the episodes'
        returns, and ``episodes``, the number of episodes.
    """
    scores = np.array([summary.reward for summary in RolloutStore(path).summaries])
    return {"mean": float(scores.mean()), "std": float(scores.std()), "episodes": len(scores)}


def try_agent(
    learner: Learner,
    path: str | Path,
    *,
    ref: WorldModelRef,
    temperature: float,
    config: AgentTrialConfig | None = None,
    task: Task | str = "take-cover",
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Trains an agent in the dream alone, and scores it in the dream and in the game.

    To resume an interrupted trial, repeat the call. If the trial is finished, its result is read
    from the folder. The folder of a finished trial contains the training run ``learner/``, the
    agent ``agent/``, and ``result.json``.

    Args:
        learner: name of the training algorithm.
        path: folder of the trial.
        ref: reference to the world model; the reference is saved with the agent.
        temperature: temperature τ of the dream, for training and for the score in the dream.
        config: settings; the defaults if None.
        task: task, or any text that :func:`~wmrl.envs.tasks.registry.find_task` accepts.
        seed: root seed.
        workers: number of worker processes that play the game; one per core if None.
        device: device of the world model.
        progress: True to show progress bars.

    Returns:
        The result, with ``learner``, ``temperature``, ``seed`` and these entries:

        - ``key``: everything that the result depends on.
        - ``steps`` and ``seconds``: number of agent steps and wall time of the training.
        - ``dream`` and ``dream_std``: mean and standard deviation of the score in the dream.
        - ``mean``, ``std`` and ``returns``: mean, standard deviation and list of the scores in the
          game.
        - ``base``: Gymnasium id of the game.

    Raises:
        ValueError: the learner is unknown, or the folder contains the result of another trial.
        RunError: the folder is in use, or belongs to another trial.
    """
    check_choice("learner", learner, get_args(Learner))
    path, config = Path(path), config or AgentTrialConfig()
    key = {
        "learner": learner,
        "temperature": temperature,
        "config": asdict(config),
        "seed": seed,
        "memory": ref.memory_digest,
    }
    cached = CachedResult(path / "result.json", key, name="trial")
    if cached.value is not None:
        return cached.value
    trial = DreamTrial(
        path=path,
        world_model=ref.open(task=find_task(task), device=device),
        ref=ref,
        temperature=temperature,
        agent_steps=config.agent_steps,
        seed=integer_seed(seed, "take cover", learner),
        provenance={"command": "reproduce take-cover", "seed": seed},
        progress=progress,
    )
    if learner == "ppo":
        training = trial.train_by_ppo(config.ppo, num_envs=config.num_envs)
    else:
        dreams = replace(config.fitness, temperature=temperature)
        fitness = DreamFitness(trial.world_model, dreams, readout="thresholds")
        training = trial.train_by_search(config.cma_es, fitness)
    dream, game = trial.score(
        training.agent,
        dream_episodes=config.dream_episodes,
        episodes=config.episodes,
        workers=workers,
    )
    return cached.store(
        {
            "learner": learner,
            "temperature": temperature,
            "seed": seed,
            "steps": training.steps,
            "seconds": training.seconds,
            "dream": dream.mean,
            "dream_std": dream.std,
            "mean": game.mean,
            "std": game.std,
            "returns": list(game.returns),
            "base": game.base,
        }
    )
