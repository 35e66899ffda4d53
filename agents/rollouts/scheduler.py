"""Assignment of episodes to slots, independent of interruptions."""

from collections.abc import Mapping

import numpy as np

from wmrl.core.validation import check_int


class Schedule:
    """Assigns episodes to slots in the order of their indices, whenever a slot is free.

    Slots play in lockstep. Episodes that are already recorded occupy their slot for their length
    without being played, so that each of the others gets the same slot, and with it the same batch
    entry, as in an uninterrupted collection. An interrupted collection thus ends with the same bits
    even if the results of a computation depend on the position in the batch.

    Args:
        slots: N, number of slots.
        known: lengths, in agent steps, of the recorded episodes by index.
        episodes: number of episodes to begin; no limit if None.
        agent_steps: begin no further episode once those begun have taken this many; no limit if
            None.

    Raises:
        ValueError: there are no slots.

    Attributes:
        episodes: ``(N,) int64``, the episode of each slot, −1 for none.
        live: ``(N,) bool``, slots whose episode is played.
        begun: number of episodes begun.
        over: number of episodes that have ended.
        taken: total number of agent steps.
    """

    def __init__(
        self,
        slots: int,
        *,
        known: Mapping[int, int],
        episodes: int | None = None,
        agent_steps: int | None = None,
    ) -> None:
        check_int("num_envs", slots, at_least=1)
        self._known = known
        self._limit = np.inf if episodes is None else episodes
        self._budget = np.inf if agent_steps is None else agent_steps
        self.episodes = np.full(slots, -1, dtype=np.int64)
        self.live = np.zeros(slots, dtype=np.bool_)
        self._left = np.zeros(slots, dtype=np.int64)  # remaining agent steps of known episodes
        self.begun = self.over = self.taken = 0

    def begin(self) -> np.ndarray:
        """Fills free slots, and skips periods in which all episodes are known.

        Returns:
            ``(N,) bool``, slots that have to begin an episode. The schedule is complete when
            :attr:`live` is all False.
        """
        while True:
            fresh = self._fill()
            known = (self.episodes >= 0) & ~self.live
            if self.live.any() or not known.any():
                return fresh
            self._pass(int(self._left[known].min()), np.zeros_like(known))

    def tick(self, over: np.ndarray) -> None:
        """Counts an agent step in each live slot; episodes in ``over: (N,) bool`` ended with it."""
        self._pass(1, over & self.live)

    def _fill(self) -> np.ndarray:
        fresh = np.zeros_like(self.live)
        for slot in np.flatnonzero(self.episodes < 0):
            if self.begun >= self._limit or self.taken >= self._budget:
                break
            self.episodes[slot] = self.begun
            self._left[slot] = self._known.get(self.begun, 0)
            self.live[slot] = fresh[slot] = self.begun not in self._known
            self.begun += 1
        return fresh

    def _pass(self, agent_steps: int, over: np.ndarray) -> None:
        known = (self.episodes >= 0) & ~self.live
        self.taken += agent_steps * int(np.count_nonzero(self.episodes >= 0))
        self._left[known] -= agent_steps
        over = over | (known & (self._left == 0))
        self.over += int(np.count_nonzero(over))
        self.episodes[over] = -1
        self.live[over] = False
