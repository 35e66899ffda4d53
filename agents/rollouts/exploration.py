"""Exploration policies, which choose the actions while rollouts are collected.

A policy keeps no state between episodes: its actions in an episode depend only on the episode's
random generator and, if it perturbs an agent, on the agent's actions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wmrl.core.action_spec import ActionSpec
from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int
from wmrl.envs.tasks.task import Task

ActionStream = Callable[[np.ndarray | None], np.ndarray]
"""Function that chooses the actions of one episode, one per call.

Its argument is the action that an agent proposes, or None if there is no agent. It returns the
action to take. Argument and result are actions of the task's action space.
"""


class ExplorationPolicy(ABC):
    """Base class of exploration policies, which choose actions while rollouts are collected."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns the policy's name and all its parameters as a JSON-serializable dictionary."""

    @abstractmethod
    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """Starts an episode.

        Args:
            task: task that is played.
            generator: random generator, the policy's only source of randomness.

        Returns:
            The function that chooses the actions of the episode.
        """


@dataclass(frozen=True)
class RepeatedRandom(ExplorationPolicy):
    """Uniformly random actions, each repeated for a random number of agent steps.

    Source: World Models (https://arxiv.org/abs/1803.10122), appendix A.2, where actions are
    repeated 1 to 10 times.

    Attributes:
        min_repeats: minimal number of agent steps with the same action.
        max_repeats: maximal number of agent steps with the same action.

    Raises:
        ValueError: ``min_repeats`` is less than 1 or greater than ``max_repeats``.

    Example:
        >>> import numpy as np
        >>> from wmrl.agents.rollouts import RepeatedRandom
        >>> from wmrl.envs import find_task
        >>> policy = RepeatedRandom(min_repeats=2, max_repeats=2)
        >>> act = policy.start(find_task("car-racing"), np.random.default_rng(0))
        >>> actions = [act(None) for _ in range(4)]
        >>> bool((actions[0] == actions[1]).all()), bool((actions[1] == actions[2]).all())
        (True, False)
    """

    min_repeats: int = 1
    max_repeats: int = 10

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("min_repeats", self.min_repeats, at_least=1)
        check_int("max_repeats", self.max_repeats, at_least=self.min_repeats)

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`ExplorationPolicy.describe`."""
        return {
            "name": "repeated",
            "min_repeats": self.min_repeats,
            "max_repeats": self.max_repeats,
        }

    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """Implements :meth:`ExplorationPolicy.start`."""
        spec = task.actions
        action, left = spec.neutral(), 0

        def act(proposal: np.ndarray | None) -> np.ndarray:
            nonlocal action, left
            if left == 0:
                action = spec.sample(generator)
                left = int(generator.integers(self.min_repeats, self.max_repeats + 1))
            left -= 1
            return action

        return act


@dataclass(frozen=True)
class AutoregressiveNoise(ExplorationPolicy):
    """Autocorrelated random continuous actions around a mean that is drawn for each episode.

    The mean is drawn uniformly between the task's ``explore_low`` and ``explore_high``. The noise
    around the mean is an AR(1) process (see :func:`autoregressive_noise`). The scale of the noise
    is also drawn for each episode: with little noise, episodes get farther; with much noise, they
    show more failures. At a scale of 1, the standard deviation of the noise is half the range of
    the action space.

    Attributes:
        smoothing: correlation ρ in [0, 1) of the noise at successive agent steps.
        min_scale: lower bound of the noise scale.
        max_scale: upper bound of the noise scale, which is drawn uniformly between the two bounds.

    Raises:
        ValueError: an attribute is out of range.
    """

    smoothing: float = 0.8
    min_scale: float = 0.2
    max_scale: float = 0.6

    def __post_init__(self) -> None:
        check_fields(self)
        check_float("smoothing", self.smoothing, at_least=0, below=1)
        check_float("min_scale", self.min_scale, at_least=0)
        check_float("max_scale", self.max_scale, at_least=self.min_scale)

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`ExplorationPolicy.describe`."""
        return {
            "name": "autoregressive",
            "smoothing": self.smoothing,
            "min_scale": self.min_scale,
            "max_scale": self.max_scale,
        }

    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """Implements :meth:`ExplorationPolicy.start`.

        Raises:
            ValueError: the task's actions are discrete, or have no finite bounds.
        """
        low, high = _bounds(task)
        dim = task.action_dim
        mean = generator.uniform(
            task.explore_low or np.zeros(dim), task.explore_high or np.zeros(dim)
        )
        scale = generator.uniform(self.min_scale, self.max_scale) * (high - low) / 2
        noise = autoregressive_noise(generator, dim=dim, smoothing=self.smoothing)

        def act(proposal: np.ndarray | None) -> np.ndarray:
            action: np.ndarray = np.clip(mean + scale * noise(), low, high).astype(np.float32)
            return action

        return act


@dataclass(frozen=True)
class Unperturbed(ExplorationPolicy):
    """Exploration policy that returns the actions of an agent or a function unchanged."""

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`ExplorationPolicy.describe`."""
        return {"name": "unperturbed"}

    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """Implements :meth:`ExplorationPolicy.start`."""
        return _given


@dataclass(frozen=True)
class NoisyAgent(ExplorationPolicy):
    """Actions of an agent with autocorrelated noise, whose scale is drawn for each episode.

    To continuous actions, normally distributed noise is added.

    For discrete actions, this is a variant of ε-greedy exploration in which a random action is held
    for several agent steps. At the first agent step, the policy selects who acts: with probability
    ε, a random action is drawn and held; otherwise, the agent acts. At each later agent step, the
    policy selects anew with probability 1 − ρ. The probability ε is the scale of the noise.

    Attributes:
        smoothing: correlation ρ in [0, 1) of the noise at successive agent steps.
        max_scale: upper bound of the noise scale, which is drawn uniformly from 0 to this bound. At
            a scale of 1, the standard deviation of the noise on continuous actions is half the
            range of the action space. For discrete actions, the scale is a probability, and a bound
            above 1 counts as 1.

    Raises:
        ValueError: an attribute is out of range.
    """

    smoothing: float = 0.8
    max_scale: float = 0.6

    def __post_init__(self) -> None:
        check_fields(self)
        check_float("smoothing", self.smoothing, at_least=0, below=1)
        check_float("max_scale", self.max_scale, at_least=0)

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`ExplorationPolicy.describe`."""
        return {"name": "noisy", "smoothing": self.smoothing, "max_scale": self.max_scale}

    def start(self, task: Task, generator: np.random.Generator) -> ActionStream:
        """Implements :meth:`ExplorationPolicy.start`."""
        if not task.actions.is_continuous:
            return self._start_discrete(task.actions, generator)
        low, high = _bounds(task)
        scale = generator.uniform(0.0, self.max_scale) * (high - low) / 2
        noise = autoregressive_noise(generator, dim=task.action_dim, smoothing=self.smoothing)

        def act(proposal: np.ndarray | None) -> np.ndarray:
            action: np.ndarray = np.clip(_given(proposal) + scale * noise(), low, high)
            return action.astype(np.float32)

        return act

    def _start_discrete(self, spec: ActionSpec, generator: np.random.Generator) -> ActionStream:
        probability = generator.uniform(0.0, min(self.max_scale, 1.0))
        held: np.ndarray | None = None  # the random action, or None while the agent acts
        first = True

        def act(proposal: np.ndarray | None) -> np.ndarray:
            nonlocal held, first
            if first or generator.random() >= self.smoothing:
                held = spec.sample(generator) if generator.random() < probability else None
            first = False
            return _given(proposal) if held is None else held

        return act


def _bounds(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and upper bounds of a task's continuous actions, each ``(A,) float32``.

    Raises:
        ValueError: the actions are discrete, or have no finite bounds.
    """
    spec = task.actions
    if not spec.is_continuous:
        raise ValueError(
            f"policy: expected 'repeated' random actions for the discrete action space "
            f"{spec.space}, got autoregressive noise, which needs continuous actions; choose the "
            "policy 'repeated'"
        )
    if not spec.is_bounded:
        raise ValueError(
            f"action_space: expected finite bounds for random actions, got {spec.space}; set "
            "finite bounds in the task's action space"
        )
    return spec.bounds


def _given(proposal: np.ndarray | None) -> np.ndarray:
    if proposal is None:
        raise ValueError(
            "proposal: expected an agent's action, got None; call collect with the agent as the "
            "argument policy and the NoisyAgent as the argument noise"
        )
    return proposal


def autoregressive_noise(
    generator: np.random.Generator, *, dim: int, smoothing: float
) -> Callable[[], np.ndarray]:
    """Creates a stationary AR(1) process with standard normal marginals.

    x_t = ρ x_{t−1} + √(1 − ρ²) ε_t with x_0 ~ N(0, I) and ε_t ~ N(0, I).

    Args:
        generator: source of x_0 and ε.
        dim: number of independent components.
        smoothing: ρ in [0, 1).

    Returns:
        A function that returns x_0 in its first call, x_1 in its second call, and so on. Each x_t
        is ``(dim,) float64``.
    """
    x = generator.standard_normal(dim)
    innovation = np.sqrt(1.0 - smoothing**2)
    first = True

    def step() -> np.ndarray:
        nonlocal x, first
        if not first:
            x = smoothing * x + innovation * generator.standard_normal(dim)
        first = False
        return x

    return step
