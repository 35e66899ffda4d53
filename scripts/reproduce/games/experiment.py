"""Training loop with default settings, and two baselines: random play, and PPO on frames."""

import csv
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO

from wmrl.agents.evaluation.scoring import RANDOM, evaluate, original_id
from wmrl.agents.pipeline.loop import train
from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.agents.rollouts.episodes import run_episodes
from wmrl.agents.rollouts.sb3_policy import SB3Policy
from wmrl.agents.sb3.global_rng import isolated_randomness
from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.agents.seeds import evaluation_seeds, training_seed
from wmrl.core.device import resolve_device
from wmrl.core.seeding import integer_seed
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.scripts.reproduce.cached_result import CachedResult
from wmrl.training.progress import progress_bar

VARIANTS: dict[str, dict[str, Any]] = {
    "boxing-without-sticky-actions": {
        "env_id": "ALE/Boxing-v5",
        "frameskip": 4,
        "repeat_action_probability": 0,
    },
    "pong-without-sticky-actions": {
        "env_id": "ALE/Pong-v5",
        "frameskip": 4,
        "repeat_action_probability": 0,
    },
}
"""Arguments of :meth:`~wmrl.envs.tasks.task.Task.from_env`, by the name of the task.

These tasks need arguments of the environment, which the id of an environment does not contain. They
are the games of the Atari 100k benchmark, which have no sticky actions. Such a game is not random:
all episodes with an agent that acts deterministically are the same."""

PUBLISHED: dict[str, dict[str, float]] = {
    "ALE/Boxing-v5": {"IRIS": 70.1, "SimPLe": 9.1, "random": 0.1},
    "ALE/Pong-v5": {"IRIS": 14.6, "SimPLe": 12.8, "random": -20.7},
}
"""Published mean returns after 100,000 agent steps, by the id of the environment.

Sources: IRIS (https://arxiv.org/abs/2209.00588) and SimPLe (https://arxiv.org/abs/1903.00374)."""

_ATARI = "ALE/"
_PPO_GAMES = 8
# PPO's defaults in Stable-Baselines3, with the 2048 steps of a rollout divided among the games.
# Rollouts are shorter only if the training is.
_ROLLOUT_STEPS, _BATCH_SIZE = 2048 // _PPO_GAMES, 64
_LEAST_SIZE = 36  # of the frames that the convolutions of CnnPolicy take
_UNDESCRIBED = ("action_space", "to_env_action", "frame", "notes")
_SCORE_GAMES = 20  # as in evaluate


def find_game(text: str) -> Task:
    """Finds a task by its name in :data:`VARIANTS`, or as the option ``--task`` of other commands.

    Args:
        text: name in :data:`VARIANTS`, or any text that
            :func:`~wmrl.envs.tasks.registry.find_task` accepts.

    Raises:
        ValueError: there is no such task, or no task can be derived from the environment.
        ImportError: a module cannot be imported, or a package is not installed.
    """
    if text in VARIANTS:
        return Task.from_env(name=text, **VARIANTS[text])
    return find_task(text)


def check_frames(task: Task) -> None:
    """Checks that frames of a task are large enough for PPO's ``CnnPolicy``.

    Raises:
        ValueError: the frames are too small.
    """
    height, width = task.frame_size
    if min(height, width) < _LEAST_SIZE:
        raise ValueError(
            f"tasks: expected frames of at least {_LEAST_SIZE} × {_LEAST_SIZE} pixels for PPO, got "
            f"{height} × {width} pixels in the task {task.name!r}; choose another task, or pass "
            "--no-baseline"
        )


def plan_for(task: Task, *, minutes: float, rounds: int, atari_steps: int) -> TrainingPlan:
    """Creates the plan of a training loop with default settings.

    Args:
        task: task that is played.
        minutes: total time in minutes, for a machine with two cores.
        rounds: number of rounds of data collection and training.
        atari_steps: limit on the agent steps of the real game, for Atari games. Other games have no
            limit.

    Raises:
        ValueError: a number is out of range.
    """
    limit = atari_steps * task.frame_skip if task.env_id.startswith(_ATARI) else None
    return TrainingPlan.for_minutes(minutes, task=task, rounds=rounds, real_frames=limit)


def score_random(
    task: Task,
    path: str | Path,
    *,
    episodes: int,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores uniformly random actions, on the evaluation seeds.

    If a score with the same settings is in the file already, it is read from there.

    Args:
        task: task that is played.
        path: JSON file of the result.
        episodes: number of episodes.
        workers: number of worker processes that play the game; one per core if None.
        progress: True to show a progress bar.

    Returns:
        The result, with ``key``, everything that the result depends on, and with ``mean``, ``std``
        and ``returns``, the mean, standard deviation and list of the returns.

    Raises:
        ValueError: the file contains the result of other settings.
    """
    key = {**_about(task), "episodes": episodes}
    cached = CachedResult(Path(path), key, name="score of random play")
    if cached.value is not None:
        return cached.value
    score = evaluate(RANDOM, episodes=episodes, task=task, workers=workers, progress=progress)
    return cached.store(_score(score.returns))


def try_loop(
    task: Task,
    path: str | Path,
    *,
    plan: TrainingPlan,
    seed: int = 0,
    episodes: int = 100,
    workers: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Runs the whole training loop, and scores the final agent in the real game.

    To resume an interrupted loop, repeat the call. If the loop and its score are complete, the
    result is read from the folder. The folder contains the training run ``loop/``, and
    ``loop.json``.

    Args:
        task: task that is played.
        path: folder of the training run and the result.
        plan: configuration of the training loop.
        seed: root seed.
        episodes: number of episodes of the real game in which the final agent is scored, on the
            evaluation seeds.
        workers: number of worker processes that play the game; one per core if None.
        device: device of the models.
        progress: True to show progress bars.

    Returns:
        The result, with these entries:

        - ``key``: everything that the result depends on.
        - ``fine_tuned``: True if the final agent was fine-tuned in the real game; False if it was
          trained in dreams only.
        - ``frames`` and ``steps``: numbers of frames and of agent steps of the real game that the
          training used. Frames that were played for scores are not counted.
        - ``minutes``: training time in minutes, without the time for scores.
        - ``mean``, ``std`` and ``returns``: mean, standard deviation and list of the returns of the
          final agent.
        - ``base``: id of the environment in which the agent was scored.

    Raises:
        RunError: the folder is in use, or belongs to a loop with other settings.
        ValueError: the folder contains the result of other settings.
    """
    path = Path(path)
    key = {**_about(task), "plan": asdict(plan), "seed": seed, "episodes": episodes}
    cached = CachedResult(path / "loop.json", key, name="training loop")
    if cached.value is not None:
        return cached.value
    result = train(
        task,
        path / "loop",
        plan=plan,
        seed=seed,
        workers=workers,
        device=device,
        progress=progress,
    )
    score = evaluate(
        result.real or result.dream,
        episodes=episodes,
        task=task,
        workers=workers,
        device=device,
        progress=progress,
    )
    used = _used(result.curve)
    return cached.store(
        {
            "fine_tuned": result.real is not None,
            "frames": used.frames,
            "steps": used.frames // task.frame_skip,
            "minutes": used.minutes,
            "base": score.base,
            **_score(score.returns),
        }
    )


def try_ppo(
    task: Task,
    path: str | Path,
    *,
    steps: int,
    frame_stack: int | None = None,
    seed: int = 0,
    episodes: int = 100,
    workers: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Trains PPO of Stable-Baselines3 on the frames of the real game, and scores it.

    The policy is ``CnnPolicy``, and the hyperparameters are the defaults of Stable-Baselines3. If
    the result is in the folder already, as ``ppo.json``, it is read from there. An interrupted
    training cannot be resumed; it starts again.

    Args:
        task: task that is played.
        path: folder of the result.
        steps: number of agent steps of the training. It is rounded up, because PPO always completes
            a rollout.
        frame_stack: number of successive frames that the policy observes together; the task's if
            None.
        seed: root seed.
        episodes: number of episodes of the real game in which the policy is scored, on the
            evaluation seeds, with deterministic actions.
        workers: number of worker processes that play the game; one per core if None.
        device: device of the policy.
        progress: True to show progress bars.

    Returns:
        The result, with these entries:

        - ``key``: everything that the result depends on.
        - ``steps`` and ``seconds``: number of agent steps and wall time of the training.
        - ``mean``, ``std`` and ``returns``: mean, standard deviation and list of the returns.
        - ``base``: id of the environment in which the policy was scored.

    Raises:
        ValueError: the frames of the task are too small, or the folder contains the result of other
            settings.
    """
    check_frames(task)
    task = task.with_frames(frame_stack=frame_stack)
    key = {**_about(task), "steps": steps, "seed": seed, "episodes": episodes}
    cached = CachedResult(Path(path) / "ppo.json", key, name="PPO baseline")
    if cached.value is not None:
        return cached.value
    with isolated_randomness(integer_seed(seed, "games", "ppo")):
        started = time.perf_counter()
        model = _train_ppo(
            task, steps=steps, seed=seed, workers=workers, device=device, progress=progress
        )
        seconds = time.perf_counter() - started
    returns = _play(model, task, episodes=episodes, workers=workers, progress=progress)
    return cached.store(
        {
            "steps": model.num_timesteps,
            "seconds": seconds,
            "base": original_id(task),
            **_score(returns),
        }
    )


class _Used(NamedTuple):
    """Resources that a training loop has used.

    Attributes:
        frames: number of frames of the real game.
        minutes: training time in minutes.
    """

    frames: int
    minutes: float


def _used(curve: Path) -> _Used:
    """Reads the used resources from the score curve of a complete training loop."""
    with curve.open(encoding="utf-8", newline="") as file:
        points = list(csv.DictReader(file))
    # The maximum, because a point that was scored again comes after the final one.
    return _Used(
        frames=max(int(point["real_frames"]) for point in points),
        minutes=max(float(point["minutes"]) for point in points),
    )


def _train_ppo(
    task: Task, *, steps: int, seed: int, workers: int | None, device: str, progress: bool
) -> PPO:
    """Trains PPO, which draws from the global random generators."""
    # Whole batches, since PPO warns of others.
    shortest = -(-steps // _BATCH_SIZE) * _BATCH_SIZE // _PPO_GAMES
    n_steps = min(_ROLLOUT_STEPS, shortest)
    rollout = n_steps * _PPO_GAMES
    total = -(-steps // rollout) * rollout
    games = FrameVectorEnv(
        _PPO_GAMES, task=task, workers=workers, autoreset_mode=AutoresetMode.SAME_STEP
    )
    with (
        closing(games),
        progress_bar("PPO", total=total, show=progress, unit="agent steps") as advance,
    ):
        env = SB3VecEnv(games, completed_key=task.completed_key)
        env.seed(training_seed(seed, "games", "ppo", "env", span=_PPO_GAMES))
        model = PPO("CnnPolicy", env, n_steps=n_steps, device=resolve_device(device))

        def report(_locals: Mapping[str, Any], _globals: Mapping[str, Any]) -> bool:
            advance(model.num_timesteps)
            return True

        return model.learn(total, callback=report)


def _play(
    model: PPO, task: Task, *, episodes: int, workers: int | None, progress: bool
) -> Sequence[float]:
    """Plays episodes on the evaluation seeds, and returns their returns."""
    policy = SB3Policy(model, task)

    def act(frames: np.ndarray, _episodes: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return policy.propose(frames, starts, np.ones_like(starts))

    games = FrameVectorEnv(
        min(_SCORE_GAMES, episodes),
        task=task,
        base=original_id(task),
        workers=workers,
        autoreset_mode=AutoresetMode.DISABLED,
    )
    with (
        closing(games),
        progress_bar("evaluation", total=episodes, show=progress, unit="episodes") as advance,
    ):
        scores = run_episodes(
            games, act, evaluation_seeds(episodes), on_end=lambda completed: advance(completed)
        )
    returns: list[float] = scores.returns.tolist()
    return returns


def _about(task: Task) -> dict[str, Any]:
    """Describes a task by all of its attributes apart from functions and notes."""
    names = [each.name for each in fields(task) if each.name not in _UNDESCRIBED]
    described = {name: getattr(task, name) for name in names}
    return {**described, "env_kwargs": dict(task.env_kwargs), "action_space": str(task.actions)}


def _score(returns: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns)),
        "returns": list(returns),
    }
