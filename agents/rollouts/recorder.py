"""Playing and recording episodes in the slots of a vector environment."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from wmrl.agents.rollouts.exploration import ActionStream, Behaviour
from wmrl.agents.rollouts.frame_agent import Pilot
from wmrl.agents.seeds import training_seed
from wmrl.core.seeding import numpy_generator
from wmrl.data.store import Episode
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.tasks.task import completed_slots


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


class Collector:
    """Plays and records in all slots of a vector environment.

    Args:
        env: where, with autoreset mode ``DISABLED``.
        behaviour: what acts, for each episode anew.
        pilot: whose proposals it follows, if any.
        seed: root seed of the collection.
        write: is given each episode that is over, with its number.
    """

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
        # What a memory learns from must not say that finishing is like dying.
        completed = completed_slots(infos, self._env.task.completed_key, self._env.num_envs)
        for slot in np.flatnonzero(over).tolist():
            recording = self._recordings.pop(slot)
            episode = recording.episode(
                terminated=bool(terminated[slot] and not completed[slot]),
                truncated=bool(truncated[slot] or completed[slot]),
                base_frames=int(infos["frames"][slot]),
            )
            self._write(recording.index, episode)
        return over
