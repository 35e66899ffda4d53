"""Keyboard input that converts held arrow keys into smooth actions."""

from typing import Any

import numpy as np

from wmrl.core.validation import check_float, check_int

# Action dimension and direction of each key, by its pygame name.
_KEYS = {
    "left": (0, -1.0),
    "a": (0, -1.0),
    "right": (0, 1.0),
    "d": (0, 1.0),
    "up": (1, 1.0),
    "w": (1, 1.0),
    "down": (1, -1.0),
    "s": (1, -1.0),
}
_QUIT, _RESTART = ("escape", "q"), ("r", "return")


class Keyboard:
    """Converter of key events in an open pygame window into smooth actions.

    The keys left and right (or A and D) change the first action dimension, and up and down (or W
    and S) change the second. Actions stay between −1 and 1. R or Return restarts the episode.
    Escape, Q or closing the window quits.

    Args:
        action_dim: number of action dimensions, A; dimensions beyond the second stay at 0.
        rate: maximum change of an action per second. A tap on a key steers slightly, and a held key
            steers fully after ``1 / rate`` seconds.

    Attributes:
        quits: True once the player has asked to quit.
    """

    def __init__(self, action_dim: int, *, rate: float = 5.0) -> None:
        check_int("action_dim", action_dim, at_least=1)
        check_float("rate", rate, above=0)
        self.quits = False
        self._restarts = False
        self._rate = rate
        self._held: set[str] = set()
        self._action = np.zeros(action_dim, np.float32)

    def read(self) -> None:
        """Processes the key and window events since the last call."""
        import pygame

        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.quits = True
            elif event.type == pygame.WINDOWFOCUSLOST:
                self._held.clear()  # releases in another window are not reported
            elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
                self._take_key(event, down=event.type == pygame.KEYDOWN)

    def take_restart(self) -> bool:
        """Returns True if a restart was requested since the last call, and clears the request."""
        requested, self._restarts = self._restarts, False
        return requested

    def act(self, seconds: float) -> np.ndarray:
        """Holds the current keys for ``seconds``; returns the resulting action ``(A,) float32``."""
        target = np.zeros_like(self._action)
        for name in self._held & _KEYS.keys():
            dimension, value = _KEYS[name]
            if dimension < len(target):
                target[dimension] += value
        target = np.clip(target, -1.0, 1.0)  # an arrow key and its letter may both be held
        step = self._rate * seconds
        self._action = self._action + np.clip(target - self._action, -step, step)
        return self._action.copy()

    def _take_key(self, event: Any, *, down: bool) -> None:
        import pygame

        name = pygame.key.name(event.key)
        if down:
            self._held.add(name)
            self.quits = self.quits or name in _QUIT
            self._restarts = self._restarts or name in _RESTART
        else:
            self._held.discard(name)
