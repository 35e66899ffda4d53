"""What batched environments share of Gymnasium's three autoreset modes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def reset_mask(options: Mapping[str, Any] | None, num_envs: int) -> np.ndarray:
    """The rows that a reset is for, ``(N,) bool``: ``options["reset_mask"]``, or all.

    Raises:
        TypeError: it is no array of bool.
        ValueError: it has another shape, or no True.
    """
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(num_envs, dtype=np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask']: expected an array of bool, got {mask!r}")
    if mask.shape != (num_envs,) or not mask.any():
        raise ValueError(
            f"options['reset_mask']: expected shape ({num_envs},) with at least one "
            f"True, got {mask}"
        )
    return mask


def step_limit(max_episode_steps: int | None) -> float:
    """A limit as a number: infinite for None and for −1, Gymnasium's word for none.

    Raises:
        ValueError: it is neither of these nor at least 1.
    """
    if max_episode_steps is None or max_episode_steps == -1:
        return np.inf
    if max_episode_steps < 1:
        raise ValueError(f"max_episode_steps: expected at least 1, got {max_episode_steps}")
    return max_episode_steps


def final_observations(observations: Iterable[Any], ended: np.ndarray) -> np.ndarray:
    """Last observations as Gymnasium's ``final_obs``: an object array with None elsewhere.

    Args:
        observations: of the K rows that ended.
        ended: ``(N,) bool``.
    """
    final = np.full(len(ended), None, dtype=object)
    for row, observation in zip(np.flatnonzero(ended), observations, strict=True):
        final[row] = observation
    return final


def joint_seed(seed: int | Sequence[int | None] | None) -> int | None:
    """One seed for a batch that shares one stream: several are hashed together."""
    if not isinstance(seed, Sequence):
        return seed
    given = [value for value in seed if value is not None]
    return int(np.random.SeedSequence(given).generate_state(1)[0]) if given else None
