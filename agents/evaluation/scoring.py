"""Scoring of agents in the real game and in dreams.

A reported score is the mean and standard deviation of the returns of at least 100 episodes. The
episodes are played in the unmodified base environment, with deterministic actions, on fixed seeds
(:data:`~wmrl.agents.seeds.EVALUATION_SEEDS`) that are used neither for training nor for the
selection of agents. The returns of all episodes are recorded.

Frames that the agent does not observe are not rendered. This does not change the scores (see
:class:`~wmrl.envs.car_racing.lazy_rendering.LazyRendering`).
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from wmrl.agents.agent import Agent, State, load_agent
from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.rollouts.episodes import BatchPolicy, EpisodeScores, run_episodes
from wmrl.agents.seeds import EVALUATION_SEEDS, evaluation_seeds
from wmrl.core.seeding import numpy_generator
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import package_versions
from wmrl.training.progress import progress_bar

RANDOM = "random"
"""Name that selects uniformly random actions instead of an agent."""


def evaluate(
    agent: Agent | str | Path,
    *,
    episodes: int = 100,
    task: Task | str | None = None,
    base: str | None = None,
    seed: int = EVALUATION_SEEDS.start,
    deterministic: bool = True,
    world_model: WorldModel | None = None,
    num_envs: int = 20,
    workers: int | None = None,
    device: str | torch.device = "auto",
    name: str | None = None,
    progress: bool = False,
) -> EvaluationResult:
    """Scores an agent in the real game.

    Args:
        agent: agent; or the name of a shipped agent; or the folder of a saved agent; or
            ``"random"`` for uniformly random actions.
        episodes: number of episodes, each with its own seed.
        task: task to play: a task, its name, its location, or the id of an environment; see
            :func:`~wmrl.envs.tasks.registry.find_task`. An agent plays only the task that it was
            trained on. None for this task; if the task is not registered, it must be given. For
            ``"random"``, any task is allowed; None for ``"car-racing"``.
        base: id of the environment in which the task is played. None for the original game that
            the task's environment reimplements, such as Gymnasium's ``CarRacing-v3`` for
            ``vsg/CarRacing-v3``. If Gymnasium has no such game, None stands for the environment
            of the task.
        seed: seed of the first episode. Each further episode has the next integer as its seed.
        deterministic: True to act without exploration noise.
        world_model: world model of the agent. None to open the world model to which the saved agent
            refers.
        num_envs: number of games that run in parallel.
        workers: number of worker processes, which share the games; 0 to run the games in this
            process, None for one worker per core. The number does not affect the scores.
        device: device of the world model; ignored if ``world_model`` is given.
        name: name of the agent in the result; by default the name of its artifact or class.
        progress: True to show a progress bar.

    Raises:
        ArtifactError: an artifact is missing or damaged, or ``world_model`` is not the one that the
            agent was trained with.
        ValueError: a seed is outside of :data:`~wmrl.agents.seeds.EVALUATION_SEEDS`, another number
            is out of range, or the agent was trained on another task than ``task``.

    Example:
        >>> from wmrl.agents import evaluate
        >>> result = evaluate("random", episodes=2, base="vsg/CarRacing-v3", workers=0)
        >>> result.seeds, result.lengths
        ((1000000, 1000001), (250, 250))
        >>> result.save("runs/random.json")
    """
    seeds = evaluation_seeds(episodes, first=seed)
    options: dict[str, Any] = {
        "num_envs": min(num_envs, episodes),
        "workers": workers,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    env: VectorEnv[Any, Any, Any]
    if agent == RANDOM:
        game = find_task("car-racing" if task is None else task)
        base = base or original_id(game)
        env = FrameVectorEnv(task=game, base=base, **options)
        policy, digest, name = _random_policy(game, seeds), "", name or RANDOM
    else:
        agent, name = _loaded(agent, name)
        world_model = _checked_world_model(agent, world_model, task, device)
        game, base = world_model.task, base or original_id(world_model.task)
        env = LatentVectorEnv.from_world_model(
            world_model, base=base, observation=agent.observation, **options
        )
        policy, digest = _agent_policy(agent, deterministic), agent.digest
    with (
        closing(env),
        progress_bar("evaluation", total=episodes, show=progress, unit="episodes") as advance,
    ):
        scores = run_episodes(env, policy, seeds, on_end=lambda completed: advance(completed))
    return _result(
        scores,
        agent=name,
        task=game.name,
        base=base,
        deterministic=deterministic and agent != RANDOM,
        seeds=seeds,
        digest=digest,
    )


def evaluate_dream(
    agent: Agent | str | Path,
    *,
    episodes: int = 100,
    task: Task | str | None = None,
    agent_steps: int = 250,
    temperature: float = 1.0,
    dropout: bool = False,
    seed: int = EVALUATION_SEEDS.start,
    deterministic: bool = True,
    world_model: WorldModel | None = None,
    device: str | torch.device = "auto",
    name: str | None = None,
) -> EvaluationResult:
    """Scores an agent in the dream of its world model.

    All episodes run as one batch and share one stream of random numbers. An episode therefore
    depends on ``seed``, on its index, and on the number of episodes. The result lists ``seed`` as
    the seed of every episode.

    Args:
        agent: agent; or the name of a shipped agent; or the folder of a saved agent.
        episodes: number of episodes in the dream.
        task: task that the agent was trained on: a task, its name, its location, or the id of an
            environment; see :func:`~wmrl.envs.tasks.registry.find_task`. None is enough if the
            task is registered.
        agent_steps: maximal number of agent steps of an episode.
        temperature: temperature τ of the dream; a higher temperature makes the dream more random.
        dropout: True to keep the dropout of the memory model active.
        seed: seed of the random numbers that all episodes share.
        deterministic: True to act without exploration noise.
        world_model: world model of the agent. None to open the world model to which the saved agent
            refers.
        device: device of the world model; ignored if ``world_model`` is given.
        name: name of the agent in the result; by default the name of its artifact or class.

    Raises:
        ArtifactError: an artifact is missing or damaged, or ``world_model`` is not the one that the
            agent was trained with.
        ValueError: the world model has no memory model, ``seed`` is outside of
            :data:`~wmrl.agents.seeds.EVALUATION_SEEDS`, or the agent was trained on another task
            than ``task``.

    Example:
        >>> from wmrl.agents import evaluate_dream
        >>> result = evaluate_dream("car-racing-dream", episodes=4, agent_steps=20, device="cpu")
        >>> result.base, result.lengths
        ('dream', (20, 20, 20, 20))
        >>> result.mean > 0
        True
    """
    evaluation_seeds(1, first=seed)
    agent, name = _loaded(agent, name)
    world_model = _checked_world_model(agent, world_model, task, device)
    env = DreamVectorEnv.from_world_model(
        world_model,
        episodes,
        temperature=temperature,
        dropout=dropout,
        max_episode_steps=agent_steps,
        observation=agent.observation,
        # Dreams that end draw a new start from the random numbers that all dreams share. Without
        # this, the scores of the others would change.
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    with closing(env):
        scores = run_episodes(env, _agent_policy(agent, deterministic), seed)
    return _result(
        scores,
        agent=name,
        task=world_model.task.name,
        base="dream",
        deterministic=deterministic,
        seeds=(seed,) * episodes,
        digest=agent.digest,
    )


def original_id(task: Task) -> str:
    """Returns the id of the original game that a task's environment reimplements.

    This is ``task.env_id`` without the prefix ``vsg/``. If Gymnasium has no environment with this
    id, the result is ``task.env_id``.
    """
    original = task.env_id.removeprefix("vsg/")
    return original if original in gym.registry else task.env_id


def _result(scores: EpisodeScores, **about: Any) -> EvaluationResult:
    return EvaluationResult(
        returns=tuple(scores.returns.tolist()),
        lengths=tuple(scores.lengths.tolist()),
        terminated=tuple(scores.terminated.tolist()),
        versions=package_versions("gymnasium"),
        **about,
    )


def _loaded(agent: Agent | str | Path, name: str | None) -> tuple[Agent, str]:
    if isinstance(agent, Agent):
        return agent, name or type(agent).__name__
    return load_agent(agent), name or Path(agent).name


def _checked_world_model(
    agent: Agent,
    world_model: WorldModel | None,
    task: Task | str | None,
    device: str | torch.device,
) -> WorldModel:
    if world_model is None:
        return agent.open_world_model(task=task, device=device)
    if task is not None and find_task(task).name != world_model.task.name:
        raise ValueError(
            f"task: expected the task of the world model ({world_model.task.name!r}), got "
            f"{find_task(task).name!r}; leave task out, or pass a world model of the given task"
        )
    if agent.world_model is not None:
        agent.world_model.check(world_model)
    return world_model


def _agent_policy(agent: Agent, deterministic: bool) -> BatchPolicy:
    state: State | None = None

    def act(observations: np.ndarray, episodes: np.ndarray, starts: np.ndarray) -> np.ndarray:
        nonlocal state
        actions, state = agent.predict(
            observations, state=state, episode_start=starts, deterministic=deterministic
        )
        return actions

    return act


def _random_policy(task: Task, seeds: tuple[int, ...]) -> BatchPolicy:
    """Creates a policy that draws uniformly random actions, with one random stream per episode."""
    spec = task.actions
    streams = [numpy_generator(seed, "random actions") for seed in seeds]

    def act(observations: np.ndarray, episodes: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return np.stack([spec.sample(streams[episode]) for episode in episodes])

    return act
