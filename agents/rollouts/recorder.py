"""Recording of episodes that are played in a vector environment."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from wmrl.agents.rollouts.exploration import ActionStream, ExplorationPolicy
from wmrl.agents.rollouts.frame_policy import FramePolicy
from wmrl.agents.seeds import training_seed
from wmrl.core.frames import newest_frames
from wmrl.core.seeding import numpy_generator
from wmrl.data.store import Episode
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.tasks.task import completed_slots


@dataclass
class _PartialEpisode:
    """Episode in progress, with everything that has been recorded of the episode so far."""

    index: int
    seed: int
    act: ActionStream
    frames: list[np.ndarray]
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def episode(self, *, terminated: bool, truncated: bool, base_frames: int) -> Episode:
        with np.errstate(over="ignore"):  # the episode refuses rewards beyond float32
            rewards = np.array(self.rewards, dtype=np.float32)
        try:
            return Episode(
                frames=np.stack(self.frames),
                actions=np.stack(self.actions),
                rewards=rewards,
                terminated=terminated,
                truncated=truncated,
                info={"seed": self.seed, "frames": base_frames},
            )
        except ValueError as error:
            raise ValueError(f"{error} (episode {self.index}, seed {self.seed})") from error


class Collector:
    """Player and recorder of episodes in the N sub-environments (slots) of a vector environment.

    Args:
        env: vector environment with autoreset mode ``DISABLED``.
        exploration: exploration policy, which is started anew for each episode.
        frame_policy: policy to whose actions ``exploration`` adds noise; None if ``exploration``
            acts alone.
        seed: root seed of the collection.
        write: function that is called at the end of each episode. Its arguments are the index and
            the content of the episode.
    """

    def __init__(
        self,
        env: FrameVectorEnv,
        exploration: ExplorationPolicy,
        frame_policy: FramePolicy | None,
        seed: int,
        write: Callable[[int, Episode], None],
    ) -> None:
        self._env = env
        self._exploration = exploration
        self._frame_policy = frame_policy
        self._seed = seed
        self._write = write
        self._episodes: dict[int, _PartialEpisode] = {}
        self._frames = np.zeros(env.observation_space.shape or (), dtype=np.uint8)

    def begin(self, episodes: np.ndarray, fresh: np.ndarray) -> None:
        """Begins new episodes.

        Args:
            episodes: ``(N,) int``, index of the episode in each slot.
            fresh: ``(N,) bool``, True for slots whose episode has to begin.
        """
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
            self._episodes[slot] = _PartialEpisode(
                index=index,
                seed=seeds[slot],
                act=self._exploration.start(self._env.task, generator),
                frames=[self._frame(slot)],
            )

    def cut(self, frame_skip: int) -> None:
        """Cuts off all episodes in progress, and writes them as truncated.

        Episodes without any agent steps are not written.

        Args:
            frame_skip: number of base frames per agent step.
        """
        for partial in self._episodes.values():
            if partial.actions:
                frames = len(partial.actions) * frame_skip
                episode = partial.episode(terminated=False, truncated=True, base_frames=frames)
                self._write(partial.index, episode)
        self._episodes.clear()

    def step(self, live: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """Takes and records one agent step in each slot that has an episode in progress.

        Args:
            live: ``(N,) bool``, True for slots with an episode in progress.
            fresh: ``(N,) bool``, True for slots whose episode has just begun.

        Returns:
            ``(N,) bool``, True for slots whose episode ended at this step.
        """
        actions = self._env.task.actions.neutral((self._env.num_envs,))
        policy = self._frame_policy
        proposals = None if policy is None else policy.propose(self._frames, fresh, live)
        for slot, partial in self._episodes.items():
            actions[slot] = partial.act(None if proposals is None else proposals[slot])
        if policy is not None:
            policy.advance(actions)
        self._frames, rewards, terminated, truncated, infos = self._env.step(actions)
        for slot, partial in self._episodes.items():
            partial.frames.append(self._frame(slot))
            partial.actions.append(actions[slot])
            partial.rewards.append(float(rewards[slot]))
        over: np.ndarray = live & (terminated | truncated)
        # Completed episodes are recorded as truncated, so that a memory model does not learn that
        # completing the task is the same as failing.
        completed = completed_slots(infos, self._env.task.completed_key, self._env.num_envs)
        for slot in np.flatnonzero(over).tolist():
            partial = self._episodes.pop(slot)
            episode = partial.episode(
                terminated=bool(terminated[slot] and not completed[slot]),
                truncated=bool(truncated[slot] or completed[slot]),
                base_frames=int(infos["frames"][slot]),
            )
            self._write(partial.index, episode)
        return over

    def _frame(self, slot: int) -> np.ndarray:
        """Returns the newest frame of a slot, which is the frame to record.

        If the task stacks frames, the result is a copy of the newest frame in the stack.
        """
        seen: np.ndarray = self._frames[slot]
        count = self._env.task.frame_stack
        return seen if count == 1 else newest_frames(seen, count).copy()  # a view keeps the stack
