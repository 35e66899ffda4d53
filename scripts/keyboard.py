"""A keyboard as a driver: held arrow keys become smooth actions."""

from typing import Any

import numpy as np

# Key names as pygame has them: which action dimension they move, and where to.
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
    """Reads pygame's events, for as long as there is a pygame window.

    Left and right (or A and D) move the first action dimension between −1 and 1, up and down (or W
    and S) the second; R starts anew; Escape, Q or closing the window quits.

    Args:
        action_size: A, the number of action dimensions; those beyond the second stay at 0.
        rate: how far an action moves in a second towards where the keys ask it to go, so that a
            tap steers a little and a held key steers fully.

    Attributes:
        quits: whether the player has asked to quit.
    """

    def __init__(self, action_size: int, *, rate: float = 5.0) -> None:
        if action_size < 1 or not rate > 0:
            raise ValueError(f"action_size, rate: expected more than 0, got {action_size}, {rate}")
        self.quits = False
        self._restarts = False
        self._rate = rate
        self._held: set[str] = set()
        self._action = np.zeros(action_size, np.float32)

    def read(self) -> None:
        """Takes in what happened since it last did."""
        import pygame

        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.quits = True
            elif event.type == pygame.WINDOWFOCUSLOST:
                self._held.clear()  # keys released elsewhere are never reported
            elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
                self._take_key(event, down=event.type == pygame.KEYDOWN)

    def take_restart(self) -> bool:
        """Whether the player has asked to start anew since this was last asked."""
        asked, self._restarts = self._restarts, False
        return asked

    def act(self, seconds: float) -> np.ndarray:
        """The action ``(A,) float32`` after ``seconds`` more of the keys that are held."""
        target = np.zeros_like(self._action)
        for name in self._held & _KEYS.keys():
            dimension, value = _KEYS[name]
            if dimension < len(target):
                target[dimension] += value
        target = np.clip(target, -1.0, 1.0)  # an arrow and its letter may both be held
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
