"""Evaluation: the protocol that every score in this project follows.

A score is the mean and standard deviation of at least 100 episodes on fixed seeds that took no
part in training or selection (:data:`~wmrl.agents.seeds.EVALUATION_SEEDS`), in the unmodified base
environment, with deterministic actions and all per-episode returns kept. Frames of that environment
that no one looks at are not drawn, which changes no bit of a score (see
:class:`~wmrl.envs.car_racing.lazy_rendering.SparseDrawing`).
"""

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from wmrl.agents.agent import Agent, State, load_agent
from wmrl.agents.rollouts.episodes import BatchPolicy, run_episodes
from wmrl.agents.seeds import EVALUATION_SEEDS, evaluation_seeds
from wmrl.agents.world_model_ref import check_eye, open_eye
from wmrl.core.seeding import numpy_generator
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import Eye
from wmrl.storage.artifact import package_versions
from wmrl.training.progress import learning_progress

RANDOM = "random"
"""Stands for uniformly random actions wherever an agent is to be evaluated."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """Per-episode scores of one agent.

    Attributes:
        agent: what it was called.
        task: the task's name.
        base: id of the environment that it was scored in, or ``"dream"``.
        deterministic: whether it acted without exploration noise.
        seeds: of the episodes.
        returns: undiscounted sums of rewards, in the order of the seeds.
        lengths: decisions an episode lasted.
        terminated: whether the game ended it, rather than the time limit.
        versions: of the packages that the score depends on.
        digest: of the agent's artifact; empty if it has none.
    """

    agent: str
    task: str
    base: str
    deterministic: bool
    seeds: tuple[int, ...]
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    terminated: tuple[bool, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        for name in ("seeds", "returns", "lengths", "terminated"):  # JSON gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != self.episodes:
                raise ValueError(
                    f"{name}: expected {self.episodes} values, one a return, "
                    f"got {len(getattr(self, name))}"
                )
        if not self.returns:
            raise ValueError("returns: expected at least one, got none")

    @property
    def episodes(self) -> int:
        """How many there were."""
        return len(self.returns)

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the returns (of this sample: divided by their number)."""
        return float(np.std(self.returns))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; infinite for one episode, which says nothing of it."""
        if self.episodes == 1:
            return float("inf")
        return float(np.std(self.returns, ddof=1) / np.sqrt(self.episodes))

    @property
    def per_decision(self) -> float:
        """Reward of a decision, over all episodes: what dream and game can be compared by."""
        return float(np.sum(self.returns) / np.sum(self.lengths))

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.std:.1f} ({self.episodes} episodes of {self.base})"

    def save(self, path: str | Path) -> None:
        """Writes JSON, with mean and std beside the returns, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"mean": self.mean, "std": self.std, "episodes": self.episodes} | asdict(self)
        aside = path.with_name(f".{path.name}.{os.getpid()}.new")
        aside.write_text(json.dumps(content, indent=1) + "\n")
        aside.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what :meth:`save` wrote.

        Raises:
            ValueError: it is no such file.
        """
        try:
            content = json.loads(Path(path).read_text())
            for derived in ("mean", "std", "episodes"):
                content.pop(derived)
            return cls(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the JSON of an evaluation ({error})") from error


def evaluate(
    agent: Agent | str | Path,
    *,
    episodes: int = 100,
    task: Task | str = "car-racing",
    base: str | None = None,
    seed: int = EVALUATION_SEEDS.start,
    deterministic: bool = True,
    eye: Eye | None = None,
    num_envs: int = 20,
    workers: int | None = None,
    device: str | torch.device = "auto",
    name: str | None = None,
    progress: bool = False,
) -> EvaluationResult:
    """Scores an agent in the real game.

    Args:
        agent: an agent, its name or path, or ``"random"``.
        episodes: how many, each on a seed of its own.
        task: the game of the random agent; others say which one is theirs.
        base: id of the environment; the task's original if None, which for ``vsg/CarRacing-v3``
            is Gymnasium's own ``CarRacing-v3``.
        seed: the first seed.
        deterministic: act without exploration noise.
        eye: what the agent looks through; opened as the agent's artifact says if None.
        num_envs: games at once. Worker processes share them; their number changes nothing.
        workers: processes that play; one a core if None.
        device: where the eye computes.
        name: what to call the agent in the result.
        progress: show a progress bar.

    Raises:
        ArtifactError: an artifact is missing or damaged, or the eye is not the agent's.
        ValueError: the seeds are not evaluation seeds, or a number is out of range.
    """
    seeds = evaluation_seeds(episodes, first=seed)
    options: dict[str, Any] = {
        "num_envs": min(num_envs, episodes),
        "workers": workers,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    env: VectorEnv[Any, Any, Any]
    if agent == RANDOM:
        game = find_task(task)
        base = base or original_id(game)
        env = FrameVectorEnv(task=game, base=base, **options)
        policy = _random_policy(env, seeds)
    else:
        agent, name = _opened(agent, name)
        eye = _eye_of(agent, eye, device)
        game, base = eye.task, base or original_id(eye.task)
        parts: dict[str, Any] = {"task": game, "vision": eye.vision, "memory": eye.memory}
        env = LatentVectorEnv(base=base, frame_skip=eye.frame_skip, **parts, **options)
        policy = _agent_policy(agent, deterministic)
    with closing(env), learning_progress("evaluation", total=episodes, show=progress) as advance:
        scores = run_episodes(env, policy, seeds, on_end=lambda over: advance(over, ""))
    return EvaluationResult(
        agent=name or (RANDOM if agent == RANDOM else type(agent).__name__),
        task=game.name,
        base=base,
        deterministic=deterministic and agent != RANDOM,
        seeds=seeds,
        returns=tuple(scores.returns.tolist()),
        lengths=tuple(scores.lengths.tolist()),
        terminated=tuple(scores.terminated.tolist()),
        versions=package_versions("gymnasium"),
    )


def evaluate_dream(
    agent: Agent | str | Path,
    *,
    episodes: int = 100,
    decisions: int = 250,
    temperature: float = 1.0,
    dropout: bool = False,
    seed: int = EVALUATION_SEEDS.start,
    deterministic: bool = True,
    eye: Eye | None = None,
    device: str | torch.device = "auto",
    name: str | None = None,
) -> EvaluationResult:
    """What an agent's dream promises it; arguments as in :func:`evaluate`, and the dream's own.

    All episodes are one batch, drawn from one stream of noise that ``seed`` names.
    """
    evaluation_seeds(1, first=seed)
    agent, name = _opened(agent, name)
    eye = _eye_of(agent, eye, device)
    env = DreamVectorEnv(
        episodes,
        task=eye.task,
        vision=eye.vision,
        memory=eye.memory,  # type: ignore[arg-type]  # None is refused there, with a message
        temperature=temperature,
        dropout=dropout,
        max_episode_steps=decisions,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    policy = _agent_policy(agent, deterministic)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    ended, died = np.zeros(episodes, np.bool_), np.zeros(episodes, np.bool_)
    starts = ~ended
    with closing(env):
        observations, _ = env.reset(seed=seed)
        while not ended.all():
            actions = policy(observations, np.arange(episodes), starts)
            observations, rewards, terminated, truncated, _ = env.step(actions)
            returns[~ended] += rewards[~ended]
            lengths[~ended] += 1
            died |= terminated & ~ended
            starts = terminated | truncated
            ended |= starts
    return EvaluationResult(
        agent=name or type(agent).__name__,
        task=eye.task.name,
        base="dream",
        deterministic=deterministic,
        seeds=(seed,) * episodes,
        returns=tuple(returns.tolist()),
        lengths=tuple(lengths.tolist()),
        terminated=tuple(died.tolist()),
        versions=package_versions("gymnasium"),
    )


def original_id(task: Task) -> str:
    """The environment that a task's own one redraws: Gymnasium's of the same name."""
    return task.env_id.removeprefix("vsg/")


def _opened(agent: Agent | str | Path, name: str | None) -> tuple[Agent, str | None]:
    if isinstance(agent, Agent):
        return agent, name
    return load_agent(agent), name or Path(agent).name


def _eye_of(agent: Agent, eye: Eye | None, device: str | torch.device) -> Eye:
    if eye is None:
        return open_eye(agent, device=str(device))
    check_eye(agent, eye)
    return eye


def _agent_policy(agent: Agent, deterministic: bool) -> BatchPolicy:
    state: State | None = None

    def act(observations: np.ndarray, episodes: np.ndarray, starts: np.ndarray) -> np.ndarray:
        nonlocal state
        actions, state = agent.predict(
            observations, state=state, episode_start=starts, deterministic=deterministic
        )
        return actions

    return act


def _random_policy(env: VectorEnv[Any, Any, Any], seeds: tuple[int, ...]) -> BatchPolicy:
    """Uniformly random actions, a stream an episode."""
    space: Any = env.single_action_space
    streams = [numpy_generator(seed, "random actions") for seed in seeds]

    def act(observations: np.ndarray, episodes: np.ndarray, starts: np.ndarray) -> np.ndarray:
        rows = [streams[episode].uniform(space.low, space.high) for episode in episodes]
        return np.stack(rows).astype(np.float32)

    return act
