"""Helpers for resets, step limits and autoreset modes of vector environments."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from wmrl.core.validation import check_int, check_seed

ResetOptions = dict[str, Any] | Sequence[dict[str, Any] | None] | None
"""Options of a vector environment's ``reset``.

Either one dictionary for all environments, or a sequence with one dictionary or None for each
environment, or None for no options.
"""


def options_of_each(options: ResetOptions, num_envs: int) -> list[dict[str, Any]] | None:
    """Returns one dictionary of options per environment; None if all share the same options.

    Args:
        options: options of a vector environment's ``reset``. A list or tuple contains one
            dictionary or None for each environment. A single dictionary is shared by all
            environments. None means no options.
        num_envs: number N of environments.

    Returns:
        N dictionaries if ``options`` is a list or tuple; entries that are None become empty
        dictionaries. None if ``options`` is a dictionary or None.

    Raises:
        TypeError: ``options`` has another type, or has an entry that is neither a dictionary nor
            None.
        ValueError: the number of entries is not N, or one of the dictionaries has the key
            ``"reset_mask"``.
    """
    if options is None or isinstance(options, Mapping):
        return None
    if not isinstance(options, list | tuple):
        raise TypeError(
            f"options: expected a dictionary or a list of {num_envs} dictionaries, got "
            f"{options!r:.100}"
        )
    if len(options) != num_envs:
        raise ValueError(
            f"options: expected {num_envs} dictionaries, one for each environment, got "
            f"{len(options)}"
        )
    each = [{} if one is None else one for one in options]
    for one in each:
        if not isinstance(one, Mapping):
            raise TypeError(
                f"options: expected a dictionary for each environment, got {one!r:.100}; give None "
                "to an environment without options"
            )
        if "reset_mask" in one:
            raise ValueError(
                "options: expected dictionaries without the key 'reset_mask', got a dictionary "
                "with this key; to reset only some environments, give one dictionary for all "
                "environments"
            )
    return [dict(one) for one in each]


def reset_mask(options: ResetOptions, num_envs: int) -> np.ndarray:
    """Returns a mask ``(N,) bool`` that is True for the environments to reset.

    Args:
        options: options of a vector environment's ``reset``. If ``options`` is a dictionary with
            the item ``"reset_mask"``, this item is the mask. In all other cases, the mask is True
            for all environments.
        num_envs: number N of environments.

    Raises:
        TypeError: the mask is not an array of bool.
        ValueError: the mask has the wrong shape, or selects no environment.
    """
    mask = options.get("reset_mask") if isinstance(options, Mapping) else None
    if mask is None:
        return np.ones(num_envs, dtype=np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(
            f"options['reset_mask']: expected an array of bool, got {mask!r}; convert it with "
            "np.array(mask, dtype=bool)"
        )
    if mask.shape != (num_envs,) or not mask.any():
        raise ValueError(
            f"options['reset_mask']: expected shape ({num_envs},) and at least one True, got {mask}"
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

    An entry is the final observation if the episode of that environment ended, otherwise None.

    Args:
        observations: final observations of the episodes that ended, one for each True in
            ``ended``, in the order of the environments.
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
        seed: an integer s, which gives the seeds s, s + 1, and so on; or a sequence with one seed
            or None for each environment; or None to seed no environment.
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


def joint_seed(seed: int | Sequence[int | None] | np.ndarray | None, num_envs: int) -> int | None:
    """Returns a single seed for a batch of environments that share one random stream.

    An integer or None is returned unchanged. A sequence of seeds, one for each of N environments,
    is hashed to one seed. Entries that are None are ignored; if all entries are None, the result is
    None.

    Raises:
        ValueError: a seed is not an integer of at least 0, or the number of seeds is not N.
    """
    if not isinstance(seed, Sequence | np.ndarray):
        return None if seed is None else check_seed("seed", seed)
    given = [value for value in slot_seeds(seed, num_envs) if value is not None]
    return int(np.random.SeedSequence(given).generate_state(1)[0]) if given else None
