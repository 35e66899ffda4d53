"""Which slot plays which episode, the same whatever was played already."""

from collections.abc import Mapping

import numpy as np


class Schedule:
    """Gives episodes to slots in the order of their numbers, whenever a slot is free.

    Slots play in lock step. Episodes that are known already take their slot for as long as they
    lasted, without being played: so each of the others gets the slot, and with it the row of the
    batch, that it would have had in one go. That makes an interrupted collection end with the
    same bits even where what is computed for a row depends on which row it is.

    Args:
        slots: N, the number of slots.
        known: lengths, in decisions, of the episodes that are known, by number.
        episodes: how many episodes to begin; no limit if None.
        decisions: begin no episode once those begun have taken so many; no limit if None.

    Raises:
        ValueError: there are no slots.

    Attributes:
        episodes: ``(N,) int64``, the episode that each slot has, −1 for none.
        live: ``(N,) bool``, slots whose episode is to be played.
        begun: episodes that were begun.
        over: episodes that are over.
        taken: decisions that all of them took.
    """

    def __init__(
        self,
        slots: int,
        *,
        known: Mapping[int, int],
        episodes: int | None = None,
        decisions: int | None = None,
    ) -> None:
        if slots < 1:
            raise ValueError(f"num_envs: expected at least 1, got {slots}")
        self._known = known
        self._limit = np.inf if episodes is None else episodes
        self._budget = np.inf if decisions is None else decisions
        self.episodes = np.full(slots, -1, dtype=np.int64)
        self.live = np.zeros(slots, dtype=np.bool_)
        self._left = np.zeros(slots, dtype=np.int64)  # decisions of known episodes
        self.begun = self.over = self.taken = 0

    def begin(self) -> np.ndarray:
        """Fills free slots, and skips the time in which only known episodes are under way.

        Returns:
            ``(N,) bool``, the slots that must begin an episode; where :attr:`live` has no True,
            all is done.
        """
        while True:
            fresh = self._fill()
            known = (self.episodes >= 0) & ~self.live
            if self.live.any() or not known.any():
                return fresh
            self._pass(int(self._left[known].min()), np.zeros_like(known))

    def tick(self, over: np.ndarray) -> None:
        """A decision was taken in every live slot; those in ``over: (N,) bool`` ended by it."""
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

    def _pass(self, decisions: int, over: np.ndarray) -> None:
        known = (self.episodes >= 0) & ~self.live
        self.taken += decisions * int(np.count_nonzero(self.episodes >= 0))
        self._left[known] -= decisions
        over = over | (known & (self._left == 0))
        self.over += int(np.count_nonzero(over))
        self.episodes[over] = -1
        self.live[over] = False
