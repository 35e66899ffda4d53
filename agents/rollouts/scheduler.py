"""Assignment of episodes to the slots of a vector environment.

If a collection is interrupted and resumed, the assignment is the same as without an interruption.
"""

from collections.abc import Mapping

import numpy as np

from wmrl.core.validation import check_int


class Schedule:
    """Assignment of episodes to the N sub-environments (slots) of a vector environment.

    All slots are stepped together. A slot that is free gets the episode with the next index.

    If an interrupted collection is resumed, episodes that are already recorded are not played
    again. Each recorded episode still occupies a slot for its number of agent steps. The other
    episodes therefore get the same slots as in an uninterrupted collection. The results are then
    bit-identical, even if the result of a computation depends on the position in the batch.

    Args:
        slots: number of slots, N.
        known: mapping from the index of each recorded episode to its length in agent steps.
        episodes: maximal number of episodes, including recorded ones; None for no limit.
        agent_steps: total number of agent steps after which no further episode begins; None for no
            limit.
        slot_limit: maximum number of agent steps in each slot, including those of recorded
            episodes; None for no limit. When the limit is reached, episodes in progress must be
            cut off.

    Raises:
        ValueError: ``slots`` is less than 1.

    Attributes:
        episodes: ``(N,) int64``, index of the episode in each slot; −1 for none.
        live: ``(N,) bool``, True for slots whose episode is being played; False for slots that are
            free or hold a recorded episode.
        begun: number of episodes that have begun, including recorded ones.
        over: number of episodes that have ended, including recorded ones.
        taken: total number of agent steps so far, including those of recorded episodes.
    """

    def __init__(
        self,
        slots: int,
        *,
        known: Mapping[int, int],
        episodes: int | None = None,
        agent_steps: int | None = None,
        slot_limit: int | None = None,
    ) -> None:
        check_int("num_envs", slots, at_least=1)
        self._known = known
        self._limit = np.inf if episodes is None else episodes
        self._budget = np.inf if agent_steps is None else agent_steps
        self._slot_limit = np.inf if slot_limit is None else slot_limit
        self._time = 0  # number of agent steps in each slot
        self.episodes = np.full(slots, -1, dtype=np.int64)
        self.live = np.zeros(slots, dtype=np.bool_)
        self._left = np.zeros(slots, dtype=np.int64)  # remaining agent steps of recorded episodes
        self.begun = self.over = self.taken = 0

    @property
    def expired(self) -> bool:
        """True if ``slot_limit`` is reached; episodes in progress must then be cut off."""
        return bool(self._time >= self._slot_limit)

    def begin(self) -> np.ndarray:
        """Assigns episodes to free slots.

        While the slots hold only recorded episodes, no game has to be stepped. In this case, the
        method itself counts the steps of these episodes, until a slot gets an episode to be played.

        Returns:
            ``(N,) bool``, True for slots in which a new episode has to begin. The schedule is
            complete if :attr:`live` is False for all slots.
        """
        while True:
            fresh = self._fill()
            known = (self.episodes >= 0) & ~self.live
            if self.live.any() or not known.any():
                return fresh
            self._pass(int(self._left[known].min()), np.zeros_like(known))

    def tick(self, over: np.ndarray) -> None:
        """Counts one agent step in each slot that holds an episode.

        Args:
            over: ``(N,) bool``, True for slots whose episode ended at this step.
        """
        self._pass(1, over & self.live)

    def _fill(self) -> np.ndarray:
        fresh = np.zeros_like(self.live)
        for slot in np.flatnonzero(self.episodes < 0):
            if self.begun >= self._limit or self.taken >= self._budget or self.expired:
                break
            self.episodes[slot] = self.begun
            self._left[slot] = self._known.get(self.begun, 0)
            self.live[slot] = fresh[slot] = self.begun not in self._known
            self.begun += 1
        return fresh

    def _pass(self, agent_steps: int, over: np.ndarray) -> None:
        known = (self.episodes >= 0) & ~self.live
        self._time += agent_steps
        self.taken += agent_steps * int(np.count_nonzero(self.episodes >= 0))
        self._left[known] -= agent_steps
        over = over | (known & (self._left == 0))
        self.over += int(np.count_nonzero(over))
        self.episodes[over] = -1
        self.live[over] = False
