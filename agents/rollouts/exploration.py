"""Behaviour policies: what drives while rollouts are collected.

A behaviour keeps nothing between episodes: what it does in one is a function of that episode's
generator and, where an agent is followed, of what the agent proposes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wmrl.envs.tasks.task import Task

ActionStream = Callable[[np.ndarray | None], np.ndarray]
"""One episode's actions: from the agent's proposal ``(A,) float32`` (None where there is no agent)
to the action taken, ``(A,) float32`` inside the task's action space."""


class Behaviour(ABC):
    """Makes a stream of actions for each episode."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What it is, JSON-able: all that its actions depend on besides the seed."""

    @abstractmethod
    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """The actions of an episode that draws from ``generator`` alone."""


@dataclass(frozen=True)
class HeldBehaviour(Behaviour):
    """Uniformly random actions, each held for a random number of decisions.

    World Models (https://arxiv.org/abs/1803.10122), appendix A.2: actions held for 1 to 10 steps.

    Attributes:
        shortest: fewest decisions that an action is held.
        longest: most decisions that an action is held.
    """

    shortest: int = 1
    longest: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(
                f"shortest, longest: expected 1 ≤ shortest ≤ longest, got {self.shortest} and "
                f"{self.longest}"
            )

    def describe(self) -> dict[str, Any]:
        """Name and numbers."""
        return {"name": "held", "shortest": self.shortest, "longest": self.longest}

    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """Draws an action, then how long to hold it, and again."""
        low, high = task.action_space.low, task.action_space.high
        action, left = low, 0

        def act(proposal: np.ndarray | None) -> np.ndarray:
            nonlocal action, left
            if left == 0:
                action = generator.uniform(low, high).astype(np.float32)
                left = int(generator.integers(self.shortest, self.longest + 1))
            left -= 1
            return action

        return act


@dataclass(frozen=True)
class SmoothedBehaviour(Behaviour):
    """Smoothed random actions around a mean that is drawn for each episode.

    The mean is uniform in the task's ``explore_low`` to ``explore_high``; around it swings
    :func:`autoregressive_noise`, whose scale is drawn for each episode too: calm episodes get
    farther, wild ones show what goes wrong.

    Attributes:
        smoothing: ρ in [0, 1), the correlation of one decision's noise with the next one's.
        smallest: the noise's scale is uniform in [smallest, largest]; 1 is half of the action
            space's range.
        largest: see ``smallest``.
    """

    smoothing: float = 0.8
    smallest: float = 0.2
    largest: float = 0.6

    def __post_init__(self) -> None:
        _check_noise(self.smoothing, self.smallest, self.largest)

    def describe(self) -> dict[str, Any]:
        """Name and numbers."""
        return {
            "name": "smoothed",
            "smoothing": self.smoothing,
            "smallest": self.smallest,
            "largest": self.largest,
        }

    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """Draws the episode's mean action and scale, then the noise as it goes."""
        low, high = task.action_space.low, task.action_space.high
        size = task.action_size
        mean = generator.uniform(
            task.explore_low or np.zeros(size), task.explore_high or np.zeros(size)
        )
        scale = generator.uniform(self.smallest, self.largest) * (high - low) / 2
        noise = autoregressive_noise(generator, size=size, smoothing=self.smoothing)

        def act(proposal: np.ndarray | None) -> np.ndarray:
            action: np.ndarray = np.clip(mean + scale * noise(), low, high).astype(np.float32)
            return action

        return act


@dataclass(frozen=True)
class NoisyBehaviour(Behaviour):
    """An agent's proposals with smoothed noise, whose scale is drawn for each episode.

    Attributes:
        smoothing: ρ in [0, 1), the correlation of one decision's noise with the next one's.
        largest: the scale is uniform in [0, largest]; 1 is half of the action space's range.
    """

    smoothing: float = 0.8
    largest: float = 0.6

    def __post_init__(self) -> None:
        _check_noise(self.smoothing, 0.0, self.largest)

    def describe(self) -> dict[str, Any]:
        """Name and numbers."""
        return {"name": "noisy", "smoothing": self.smoothing, "largest": self.largest}

    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """Draws the episode's scale, then the noise as it goes."""
        low, high = task.action_space.low, task.action_space.high
        scale = generator.uniform(0.0, self.largest) * (high - low) / 2
        noise = autoregressive_noise(generator, size=task.action_size, smoothing=self.smoothing)

        def act(proposal: np.ndarray | None) -> np.ndarray:
            if proposal is None:
                raise ValueError("proposal: this behaviour follows an agent; give it one")
            action: np.ndarray = np.clip(proposal + scale * noise(), low, high).astype(np.float32)
            return action

        return act


def autoregressive_noise(
    generator: np.random.Generator, *, size: int, smoothing: float
) -> Callable[[], np.ndarray]:
    """Gaussian noise of unit variance whose values at successive calls are correlated.

    The AR(1) process x_t = ρ x_{t−1} + √(1 − ρ²) ε_t with x_0 ~ N(0, 1), which is stationary.

    Args:
        generator: what it draws from.
        size: number of independent components.
        smoothing: ρ in [0, 1).

    Returns:
        A function that gives the next x_t, ``(size,) float64``.
    """
    x = generator.standard_normal(size)
    fresh = np.sqrt(1.0 - smoothing**2)
    first = True

    def step() -> np.ndarray:
        nonlocal x, first
        if not first:
            x = smoothing * x + fresh * generator.standard_normal(size)
        first = False
        return x

    return step


def _check_noise(smoothing: float, smallest: float, largest: float) -> None:
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"smoothing: expected 0 ≤ smoothing < 1, got {smoothing}")
    if not 0.0 <= smallest <= largest < np.inf:
        raise ValueError(
            f"smallest, largest: expected 0 ≤ smallest ≤ largest < ∞, got {smallest} and {largest}"
        )
