"""Collecting rollouts: many games at once, each episode a function of its number alone."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from wmrl.agents.agent import Agent, load_agent
from wmrl.agents.rollouts.exploration import (
    Behaviour,
    HeldBehaviour,
    NoisyBehaviour,
    SmoothedBehaviour,
)
from wmrl.agents.rollouts.frame_agent import Pilot
from wmrl.agents.rollouts.recorder import Collector
from wmrl.agents.rollouts.scheduler import Schedule
from wmrl.agents.world_model_ref import open_eye
from wmrl.data.store import Episode, RolloutStore, StoreMetadata
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import Eye
from wmrl.training.progress import learning_progress

BEHAVIOURS: dict[str, type[Behaviour]] = {"held": HeldBehaviour, "smoothed": SmoothedBehaviour}
"""Behaviours that need no agent, by name."""

# Writing mostly waits for the disk, so some threads of it keep up with the games.
_WRITERS, _WAITING = 4, 8


def collect(
    task: Task | str,
    path: str | Path,
    *,
    policy: Behaviour | Agent | str = "smoothed",
    episodes: int | None = None,
    frames: int | None = None,
    seed: int = 0,
    noise: NoisyBehaviour | None = None,
    eye: Eye | None = None,
    num_envs: int = 16,
    workers: int | None = None,
    base: str | None = None,
    frame_skip: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> RolloutStore:
    """Records episodes into a rollout store; ends at once where they are all there.

    Each episode is a function of (task, policy, seed, its number): the store's hash is the same
    for any number of workers, and for a collection that was killed and started again. A larger
    ``episodes`` or ``frames`` goes on from a smaller one. Only the ``num_envs`` episodes under
    way, and a few that wait to be written, are in memory.

    Args:
        task: what to play, or its name; its ``patience`` cuts hopeless episodes short.
        path: folder of the store; made if it isn't there.
        policy: a behaviour, ``"held"``, ``"smoothed"``, an agent, or an agent's name or path.
        episodes: how many episodes to have; give this or ``frames``.
        frames: base frames to have: no episode is begun once those begun have taken so many.
            Those under way are finished, so there will be somewhat more.
        seed: root seed.
        noise: the noise added to an agent's actions; the default one if None.
        eye: what an agent looks through; the one that it names if None.
        num_envs: games at once. Where an agent drives, it also is the size of the batches that
            are encoded, on which bits may depend.
        workers: processes that play; see :class:`~wmrl.envs.frames.vector.FrameVectorEnv`.
        base: id of another base environment than the task's.
        frame_skip: base frames a decision lasts; with an agent the eye's, else the task's if None.
        device: where an agent and its eye compute.
        progress: show a progress bar.

    Returns:
        The store, open to write.

    Raises:
        ValueError: neither or both of ``episodes`` and ``frames`` are given, or one is below 1.
        StoreError: the store holds episodes of something else.
        ArtifactError: the agent, or its eye, can't be opened.
    """
    task = find_task(task)
    total = _check_goal(episodes, frames)
    behaviour, pilot = _who_drives(policy, noise, eye, num_envs, device)
    if pilot is not None:
        frame_skip = pilot.eye.frame_skip
    elif frame_skip is None:
        frame_skip = task.frame_skip
    about = {**behaviour.describe(), "seed": seed, "base": base or task.env_id}
    if pilot is not None:
        about |= pilot.describe()
    store = _open_store(path, task, frame_skip, about)
    schedule = Schedule(
        num_envs,
        known={summary.index: summary.length for summary in store.summaries},
        episodes=episodes,
        decisions=None if frames is None else -(-frames // frame_skip),
    )
    fresh = schedule.begin()
    if not schedule.live.any():
        return store  # without making any game
    with (
        learning_progress("collect", total=total, show=progress) as advance,
        _writing(store) as write,
        closing(
            FrameVectorEnv(
                num_envs,
                task=task,
                base=base,
                frame_skip=frame_skip,
                patience=task.patience,
                workers=workers,
                autoreset_mode=AutoresetMode.DISABLED,
            )
        ) as env,
    ):
        collector = Collector(env, behaviour, pilot, seed, write)
        while schedule.live.any():
            collector.begin(schedule.episodes, fresh)
            schedule.tick(collector.step(schedule.live, fresh))
            done = schedule.over if frames is None else schedule.taken * frame_skip
            advance(done, f"{schedule.over} episodes")
            fresh = schedule.begin()
    return store


def _check_goal(episodes: int | None, frames: int | None) -> int:
    if (episodes is None) == (frames is None):
        raise ValueError(f"episodes, frames: expected one of the two, got {episodes} and {frames}")
    name, value = ("frames", frames) if episodes is None else ("episodes", episodes)
    if value is None or value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
    return value


def _open_store(
    path: str | Path, task: Task, frame_skip: int, policy: dict[str, Any]
) -> RolloutStore:
    metadata = StoreMetadata(
        task=task.name,
        frame_shape=(*task.frame_size, 3),
        action_size=task.action_size,
        frame_skip=frame_skip,
        warmup_frames=task.warmup_frames,
        policy=policy,
    )
    return RolloutStore(path, "a", metadata=metadata)


def _who_drives(
    policy: Behaviour | Agent | str,
    noise: NoisyBehaviour | None,
    eye: Eye | None,
    num_envs: int,
    device: str,
) -> tuple[Behaviour, Pilot | None]:
    if isinstance(policy, str):
        policy = BEHAVIOURS[policy]() if policy in BEHAVIOURS else load_agent(policy, device)
    if isinstance(policy, Behaviour):
        return policy, None
    eye = eye or open_eye(policy, device=device)
    return noise or NoisyBehaviour(), Pilot(policy, eye, num_envs)


@contextmanager
def _writing(store: RolloutStore) -> Iterator[Callable[[int, Episode], None]]:
    """Writes episodes on threads; at the end all are written. Raises what a write raised."""
    pending: set[Future[Any]] = set()
    with ThreadPoolExecutor(_WRITERS) as threads:

        def write(index: int, episode: Episode) -> None:
            nonlocal pending
            if len(pending) >= _WAITING:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
            pending.add(threads.submit(store.write, index, episode))

        yield write
        for future in pending:
            future.result()
