"""Collecting rollouts: many games at once, each episode a function of its number alone."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from wmrl.agents.agent import Agent
from wmrl.agents.behaviour import (
    ActionStream,
    Behaviour,
    HeldBehaviour,
    NoisyBehaviour,
    SmoothedBehaviour,
)
from wmrl.agents.driver import open_eye
from wmrl.agents.loading import load_agent
from wmrl.agents.pilot import Pilot
from wmrl.agents.progress import learning_progress
from wmrl.agents.schedule import Schedule
from wmrl.agents.seeds import training_seed
from wmrl.envs.eye import Eye
from wmrl.envs.frame_vector import FrameVectorEnv
from wmrl.envs.tasks import Task, find_task
from wmrl.seeding import numpy_generator
from wmrl.store import Episode, RolloutStore, StoreMetadata

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
        workers: processes that play; see :class:`~wmrl.envs.frame_vector.FrameVectorEnv`.
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
    _check_goal(episodes, frames)
    behaviour, pilot = _who_drives(policy, noise, eye, num_envs, device)
    frame_skip = pilot.eye.frame_skip if pilot is not None else frame_skip or task.frame_skip
    about = {**behaviour.describe(), "seed": seed, "base": base or task.env_id}
    metadata = StoreMetadata(
        task=task.name,
        frame_shape=(*task.frame_size, 3),
        action_size=task.action_size,
        frame_skip=frame_skip,
        policy=about if pilot is None else {**about, **pilot.describe()},
    )
    store = RolloutStore(path, "a", metadata=metadata)
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
        learning_progress("collect", total=episodes or frames or 0, show=progress) as advance,
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
        collector = _Collector(env, behaviour, pilot, seed, write)
        while schedule.live.any():
            collector.begin(schedule.episodes, fresh)
            schedule.tick(collector.step(schedule.live, fresh))
            done = schedule.over if episodes else schedule.taken * frame_skip
            advance(done, f"{schedule.over} episodes")
            fresh = schedule.begin()
    return store


@dataclass
class _Recording:
    """An episode under way."""

    index: int
    seed: int
    act: ActionStream
    frames: list[np.ndarray]
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def episode(self, *, terminated: bool, truncated: bool, base_frames: int) -> Episode:
        return Episode(
            frames=np.stack(self.frames),
            actions=np.stack(self.actions),
            rewards=np.array(self.rewards, dtype=np.float32),
            terminated=terminated,
            truncated=truncated,
            info={"seed": self.seed, "frames": base_frames},
        )


class _Collector:
    """Plays and records in all slots of a vector environment."""

    def __init__(
        self,
        env: FrameVectorEnv,
        behaviour: Behaviour,
        pilot: Pilot | None,
        seed: int,
        write: Callable[[int, Episode], None],
    ) -> None:
        self._env = env
        self._behaviour = behaviour
        self._pilot = pilot
        self._seed = seed
        self._write = write
        self._recordings: dict[int, _Recording] = {}
        self._frames = np.zeros(env.observation_space.shape or (), dtype=np.uint8)

    def begin(self, episodes: np.ndarray, fresh: np.ndarray) -> None:
        """Starts ``episodes: (N,) int`` in the slots in ``fresh: (N,) bool``."""
        if not fresh.any():
            return
        indices = {int(slot): int(episodes[slot]) for slot in np.flatnonzero(fresh)}
        seeds = {slot: training_seed(self._seed, "collect", i) for slot, i in indices.items()}
        self._frames, _ = self._env.reset(
            seed=[seeds.get(slot) for slot in range(self._env.num_envs)],
            options={"reset_mask": fresh},
        )
        for slot, index in indices.items():
            generator = numpy_generator(self._seed, "behaviour", index)
            self._recordings[slot] = _Recording(
                index=index,
                seed=seeds[slot],
                act=self._behaviour.start(self._env.task, generator),
                frames=[self._frames[slot]],
            )

    def step(self, live: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """Takes and records a decision in the live slots; returns which ended, ``(N,) bool``."""
        actions = np.zeros(self._env.action_space.shape or (), dtype=np.float32)
        proposals = None if self._pilot is None else self._pilot.propose(self._frames, fresh)
        for slot, recording in self._recordings.items():
            actions[slot] = recording.act(None if proposals is None else proposals[slot])
        if self._pilot is not None:
            self._pilot.remember(actions)
        self._frames, rewards, terminated, truncated, infos = self._env.step(actions)
        for slot, recording in self._recordings.items():
            recording.frames.append(self._frames[slot])
            recording.actions.append(actions[slot])
            recording.rewards.append(float(rewards[slot]))
        over: np.ndarray = live & (terminated | truncated)
        for slot in np.flatnonzero(over).tolist():
            recording = self._recordings.pop(slot)
            episode = recording.episode(
                terminated=bool(terminated[slot]),
                truncated=bool(truncated[slot]),
                base_frames=int(infos["frames"][slot]),
            )
            self._write(recording.index, episode)
        return over


def _check_goal(episodes: int | None, frames: int | None) -> None:
    if (episodes is None) == (frames is None):
        raise ValueError(f"episodes, frames: expected one of the two, got {episodes} and {frames}")
    for name, value in (("episodes", episodes), ("frames", frames)):
        if value is not None and value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")


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
