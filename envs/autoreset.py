"""Helpers for resets, step limits and autoreset modes of vector environments."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from wmrl.core.validation import check_int, check_seed


def reset_mask(options: Mapping[str, Any] | None, num_envs: int) -> np.ndarray:
    """Returns a mask ``(N,) bool`` that is True for the environments to reset.

    Args:
        options: options of ``reset``. Their item ``"reset_mask"`` is the mask; without this item,
            all environments are reset.
        num_envs: number N of environments.

    Raises:
        TypeError: the mask is not an array of bool.
        ValueError: the mask has the wrong shape, or selects no environment.
    """
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(num_envs, dtype=np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(
            f"options['reset_mask']: expected an array of bool, got {mask!r}; convert it with "
            "np.array(mask, dtype=bool)"
        )
    if mask.shape != (num_envs,) or not mask.any():
        raise ValueError(
            f"options['reset_mask']: expected shape ({num_envs},) with at least one "
            f"True, got {mask}"
        )
    return mask


def step_limit(max_episode_steps: int | None) -> float:
    """Returns the maximum number of steps per episode, or infinity for no limit.

    Args:
        max_episode_steps: the limit, at least 1. None or −1 means no limit, as in Gymnasium.

    Raises:
        ValueError: ``max_episode_steps`` is 0, below −1, or not an integer.
    """
    if max_episode_steps is None or max_episode_steps == -1:
        return np.inf
    return check_int("max_episode_steps", max_episode_steps, at_least=1)


def final_observations(observations: Iterable[Any], ended: np.ndarray) -> np.ndarray:
    """Returns Gymnasium's ``final_obs``, an object array ``(N,)`` with one entry per environment.

    If the episode of an environment ended, its entry is the final observation, otherwise None.

    Args:
        observations: final observations of the episodes that ended, in the order of the
            environments.
        ended: ``(N,) bool``, True for environments whose episodes ended.
    """
    final = np.full(len(ended), None, dtype=object)
    for index, observation in zip(np.flatnonzero(ended), observations, strict=True):
        final[index] = observation
    return final


def slot_seeds(
    seed: int | Sequence[int | None] | np.ndarray | None, num_envs: int
) -> list[int | None]:
    """Returns one seed for each of N environments; None for environments that are not seeded.

    Args:
        seed: an integer s for the seeds s, s + 1, and so on; one seed or None per environment; or
            None.
        num_envs: number N of environments.

    Raises:
        ValueError: a seed is not an integer of at least 0, or the number of seeds is not N.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, Sequence | np.ndarray):
        if len(seed) != num_envs:
            raise ValueError(f"seed: expected {num_envs} seeds, got {len(seed)}")
        return [None if value is None else check_seed("seed", value) for value in seed]
    first = check_seed("seed", seed)
    return [first + slot for slot in range(num_envs)]


def joint_seed(seed: int | Sequence[int | None] | np.ndarray | None) -> int | None:
    """Returns a single seed for a batch of environments that share one random stream.

    An integer or None is returned unchanged. A sequence of seeds is hashed to one seed; its entries
    of None are ignored.

    Raises:
        ValueError: a seed is not an integer of at least 0.
    """
    if not isinstance(seed, Sequence | np.ndarray):
        return None if seed is None else check_seed("seed", seed)
    given = [check_seed("seed", value) for value in seed if value is not None]
    return int(np.random.SeedSequence(given).generate_state(1)[0]) if given else None
