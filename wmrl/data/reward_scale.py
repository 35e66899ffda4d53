"""Magnitudes of recorded rewards and returns, by which learners scale rewards."""

from collections.abc import Iterator, Sequence

import numpy as np

from wmrl.core.validation import check_float
from wmrl.data.store import RolloutStore


def largest_reward(stores: Sequence[RolloutStore]) -> float:
    """Returns the largest absolute value of the recorded rewards.

    Args:
        stores: rollout stores.

    Returns:
        The largest absolute reward; 0 if the stores contain no agent steps.
    """
    return max((float(np.abs(rewards).max(initial=0.0)) for rewards in _rewards(stores)), default=0)


def return_std(stores: Sequence[RolloutStore], *, gamma: float) -> float:
    """Returns the standard deviation of the discounted returns from all recorded states.

    The discounted return from a state is r₀ + γ r₁ + γ² r₂ + …, where r₀, r₁, r₂, … are the rewards
    that follow the state in its episode.

    Args:
        stores: rollout stores.
        gamma: discount factor γ per agent step.

    Returns:
        The standard deviation; 0 if the stores contain no agent steps.

    Raises:
        ValueError: ``gamma`` is not between 0 and 1.
    """
    check_float("gamma", gamma, at_least=0, at_most=1)
    returns = [_discounted_returns(rewards, gamma) for rewards in _rewards(stores)]
    return float(np.concatenate(returns).std()) if any(map(len, returns)) else 0.0


def _rewards(stores: Sequence[RolloutStore]) -> Iterator[np.ndarray]:
    """Yields the rewards of each episode."""
    for store in stores:
        for index in store.indices:
            yield store.rewards(index)


def _discounted_returns(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """Computes the discounted return ``(T,) float64`` from each state of an episode."""
    returns = np.zeros(len(rewards))
    following = 0.0
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * following
        returns[t] = following
    return returns
