"""Functions from frames to actions, as policies."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from wmrl.agents.rollouts.frame_policy import FramePolicy
from wmrl.envs.tasks.task import Task

FrameFunction = Callable[[np.ndarray], Any]
"""Function that maps a frame ``(H, W, C) uint8`` of a task to an action of the task.

If the task stacks K frames, its argument is a stack, ``(H, W, C · K) uint8``.
"""


class FunctionPolicy(FramePolicy):
    """Policy that calls a function for each game: ``function(frame) -> action``.

    Args:
        function: function that returns the action for a frame. It is called once for each agent
            step of each game. The games are played in parallel, so that successive calls are for
            different games.
        task: task that is played.
    """

    def __init__(self, function: FrameFunction, task: Task) -> None:
        self._function = function
        self._actions = task.actions

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`FramePolicy.describe`: the name of the function, not its content."""
        return {"function": _name_of(self._function)}

    def propose(self, frames: np.ndarray, fresh: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Implements :meth:`FramePolicy.propose`.

        Raises:
            ValueError: the function returned something that is not an action of the task.
        """
        actions = self._actions.neutral((len(frames),))
        for slot in np.flatnonzero(live):
            chosen = self._function(frames[slot].copy())
            actions[slot] = self._actions.check("policy: action", chosen)
        return actions


def _name_of(function: Any) -> str:
    """Returns the module and the name of a function, joined by a dot.

    For a ``functools.partial``, these are the module and the name of the function that it wraps.
    For any other callable object, these are the module and the name of the object's class.
    """
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
