"""Interface of policies that act on the frames of several games in parallel."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np


class FramePolicy(ABC):
    """Base class of policies that play N games from their frames."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serializable description that differs between different policies."""

    @abstractmethod
    def propose(self, frames: np.ndarray, fresh: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Observes the games and chooses actions, without exploration noise.

        Args:
            frames: ``(N, H, W, C) uint8``, current frames of the games, or stacks of K frames,
                ``(N, H, W, C · K) uint8``.
            fresh: ``(N,) bool``, True for games that have just begun.
            live: ``(N,) bool``, True for games whose episode is in progress.

        Returns:
            One action per game. Actions of games without an episode in progress have no effect.
        """

    def advance(self, actions: np.ndarray) -> None:
        """Updates the policy's state, if it has one, with the actions that are taken in the games.

        The default implementation does nothing.

        Args:
            actions: actions, with exploration noise, that are taken in the N games.
        """
        return
