"""Conversion of keyboard input into actions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wmrl.core.action_spec import ActionSpec
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
# Options that a key other than a digit chooses, if an option has one of these names.
_OPTIONS = {
    "left": ("left",),
    "a": ("left",),
    "right": ("right",),
    "d": ("right",),
    "up": ("up", "forward", "gas"),
    "w": ("up", "forward", "gas"),
    "down": ("down", "backward", "brake"),
    "s": ("down", "backward", "brake"),
    "space": ("fire", "jump", "toggle", "attack"),
}
_IDLE = ("stay", "noop", "none", "nothing", "idle", "coast")
_QUIT, _RESTART = ("escape", "q"), ("r", "return")


class Keyboard:
    """Converter of key events in an open pygame window into smooth continuous actions.

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
        """Moves the action towards the target that the held keys set, and returns the action.

        Args:
            seconds: time step, in seconds. No action dimension changes by more than
                ``rate * seconds``.

        Returns:
            The action, ``(A,) float32``.
        """
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


class ChoiceKeyboard(Keyboard):
    """Converter of key events in an open pygame window into discrete actions.

    The keys depend on the kind of action space:

    - ``Discrete``: a digit that is held chooses the option with this index. An arrow key (or W, A,
      S, D) or the space bar that is held chooses the option that is named after the key, such as
      ``"left"`` or ``"fire"``. While no such key is held, the action is the option whose name means
      that nothing is done, such as ``"noop"`` or ``"stay"``. If there is no such option, the action
      is the first option.
    - ``MultiDiscrete``: each press of digit i moves choice i to the next option of this choice.
    - ``MultiBinary``: bit i is 1 while digit i is held, otherwise 0.

    Args:
        spec: description of the discrete actions.
        names: names of the options of a ``Discrete`` space; empty if the options have no names.
    """

    def __init__(self, spec: ActionSpec, names: Sequence[str] = ()) -> None:
        super().__init__(spec.dim)
        self._spec = spec
        self._names = [name.lower() for name in names]
        self._chosen = spec.neutral()
        idle = [index for index, name in enumerate(self._names) if name in _IDLE]
        self._idle = idle[0] if idle else 0

    def act(self, seconds: float) -> np.ndarray:
        """Returns the action that the pressed keys choose.

        Args:
            seconds: ignored, because a key changes a discrete action at once.
        """
        spec = self._spec
        if spec.kind == "multi_discrete":
            return self._chosen.copy()
        if spec.kind == "multi_binary":
            bits = [str(index) in self._held for index in range(len(spec.num_options))]
            return np.array(bits, spec.dtype)
        chosen = [index for name in sorted(self._held) for index in self._options_of(name)]
        return np.asarray(spec.start[0] + (chosen[-1] if chosen else self._idle), spec.dtype)

    def _options_of(self, key: str) -> list[int]:
        """Returns a list with the index of the option that a key chooses in a ``Discrete`` space.

        The list is empty if the key chooses no option.
        """
        if key.isdigit() and int(key) < self._spec.num_options[0]:
            return [int(key)]
        wanted = _OPTIONS.get(key, ())
        return [index for index, name in enumerate(self._names) if name in wanted][:1]

    def _take_key(self, event: Any, *, down: bool) -> None:
        import pygame

        super()._take_key(event, down=down)
        name = pygame.key.name(event.key)
        spec = self._spec
        if down and spec.kind == "multi_discrete" and name.isdigit():
            choice = int(name)
            if choice < len(spec.num_options):
                start, number = spec.start[choice], spec.num_options[choice]
                self._chosen[choice] = start + (self._chosen[choice] - start + 1) % number


def keyboard_for(spec: ActionSpec, names: Sequence[str] = ()) -> Keyboard:
    """Creates the converter from key events to the actions of a game.

    Args:
        spec: description of the actions.
        names: names of the action dimensions, or of the options of a ``Discrete`` space; empty if
            there are no names. For continuous actions, the names are ignored.
    """
    return Keyboard(spec.dim) if spec.is_continuous else ChoiceKeyboard(spec, names)
