"""Helpers of vector environments for resets, step limits and Gymnasium's autoreset modes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from wmrl.core.validation import check_int


def reset_mask(options: Mapping[str, Any] | None, num_envs: int) -> np.ndarray:
    """Returns the environments to reset, ``(N,) bool``: ``options["reset_mask"]``, or all.

    Raises:
        TypeError: the mask is no array of bool.
        ValueError: it has another shape, or contains no True.
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
    """Returns a step limit, infinite for None and for −1, Gymnasium's value for no limit.

    Raises:
        ValueError: the limit is something else that is below 1.
    """
    if max_episode_steps is None or max_episode_steps == -1:
        return np.inf
    return check_int("max_episode_steps", max_episode_steps, at_least=1)


def final_observations(observations: Iterable[Any], ended: np.ndarray) -> np.ndarray:
    """Returns Gymnasium's ``final_obs``: an object array of final observations, or None.

    Args:
        observations: final observations of the K episodes that ended.
        ended: ``(N,) bool``, environments whose episodes ended.
    """
    final = np.full(len(ended), None, dtype=object)
    for index, observation in zip(np.flatnonzero(ended), observations, strict=True):
        final[index] = observation
    return final


def joint_seed(seed: int | Sequence[int | None] | None) -> int | None:
    """Returns one seed for a batch with one random stream; several seeds are hashed together."""
    if not isinstance(seed, Sequence):
        return seed
    given = [value for value in seed if value is not None]
    return int(np.random.SeedSequence(given).generate_state(1)[0]) if given else None
