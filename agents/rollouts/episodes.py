"""Driving many seeded episodes in a batched environment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

BatchPolicy = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From observations ``(N, ...)``, the episode that each slot is in ``(N,) int`` and whether it has
just begun ``(N,) bool`` to actions ``(N, A) float32``."""


@dataclass(frozen=True)
class EpisodeScores:
    """What episodes came to, in the order of their seeds.

    Attributes:
        returns: ``(E,) float64`` undiscounted sums of rewards.
        lengths: ``(E,) int64`` decisions.
        terminated: ``(E,) bool``, ended by the game rather than by a limit.
        actions: ``(E, A) float64``, means over an episode's decisions.
        magnitudes: ``(E, A) float64``, means of the actions' absolute values.
    """

    returns: np.ndarray
    lengths: np.ndarray
    terminated: np.ndarray
    actions: np.ndarray
    magnitudes: np.ndarray


def run_episodes(
    env: VectorEnv[Any, Any, Any],
    policy: BatchPolicy,
    seeds: Sequence[int],
    *,
    on_end: Callable[[int], None] | None = None,
) -> EpisodeScores:
    """Runs one episode a seed, as many at a time as the environment has slots.

    A slot whose episode ends takes the next seed. An episode is a function of its seed (and of a
    policy that looks at one row at a time), so the number of worker processes behind the
    environment changes nothing.

    Args:
        env: a batched environment with autoreset mode ``DISABLED`` that takes a seed a slot, and
            in which slots that have ended, or never began, idle.
        policy: what acts.
        seeds: the episodes' seeds.
        on_end: called with the number of episodes that have ended, whenever it grows.

    Raises:
        ValueError: there are no seeds, or the environment has another autoreset mode.
    """
    mode = env.metadata.get("autoreset_mode")
    if mode is not AutoresetMode.DISABLED:
        raise ValueError(f"env: expected autoreset mode {AutoresetMode.DISABLED}, got {mode}")
    if len(seeds) == 0:
        raise ValueError("seeds: expected at least one, got none")
    count, slots = len(seeds), env.num_envs
    sums = (count, *env.single_action_space.shape)  # type: ignore[misc]  # a Box has a shape
    scores = EpisodeScores(
        np.zeros(count),
        np.zeros(count, np.int64),
        np.zeros(count, np.bool_),
        np.zeros(sums),
        np.zeros(sums),
    )
    episodes = np.full(slots, -1)  # that each slot is in; −1 for none
    begun, over = 0, 0
    free = np.ones(slots, np.bool_)
    observations = np.zeros(0)
    reset: Any = env.reset  # Gymnasium's type leaves out the seed a slot that its docs allow
    while over < count:
        starts = free & (np.cumsum(free) <= count - begun)
        if starts.any():
            episodes[starts] = np.arange(begun, begun + starts.sum())
            begun += int(starts.sum())
            chosen = [
                seeds[e] if start else None for e, start in zip(episodes, starts, strict=True)
            ]
            observations, _ = reset(seed=chosen, options={"reset_mask": starts})
        actions = policy(observations, np.maximum(episodes, 0), starts)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        running = episodes >= 0
        scores.returns[episodes[running]] += rewards[running]
        scores.lengths[episodes[running]] += 1
        scores.actions[episodes[running]] += actions[running]
        scores.magnitudes[episodes[running]] += np.abs(actions[running])
        free = running & (terminated | truncated)
        scores.terminated[episodes[free]] = terminated[free]
        episodes[free] = -1
        if free.any():
            over += int(free.sum())
            if on_end is not None:
                on_end(over)
        free = episodes < 0
    scores.actions[:] /= scores.lengths[:, None]
    scores.magnitudes[:] /= scores.lengths[:, None]
    return scores
