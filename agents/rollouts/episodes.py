"""Running whole episodes in a batched environment, and their scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from wmrl.core.validation import check_int

BatchPolicy = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Function from observations ``(N, ...)``, the index of each slot's episode ``(N,) int`` and
whether it has just begun ``(N,) bool`` to actions ``(N, A) float32``."""


@dataclass(frozen=True)
class EpisodeScores:
    """Scores of E episodes.

    Attributes:
        returns: ``(E,) float64``, undiscounted sums of rewards.
        lengths: ``(E,) int64``, agent steps.
        terminated: ``(E,) bool``, whether the game ended it rather than a limit.
        actions: ``(E, A) float64``, means over an episode's agent steps.
        magnitudes: ``(E, A) float64``, means of the absolute values of the actions.
    """

    returns: np.ndarray
    lengths: np.ndarray
    terminated: np.ndarray
    actions: np.ndarray
    magnitudes: np.ndarray

    @classmethod
    def zeros(cls, num_episodes: int, action_shape: tuple[int, ...]) -> Self:
        """Creates the scores of episodes that have not begun."""
        return cls(
            returns=np.zeros(num_episodes),
            lengths=np.zeros(num_episodes, np.int64),
            terminated=np.zeros(num_episodes, np.bool_),
            actions=np.zeros((num_episodes, *action_shape)),
            magnitudes=np.zeros((num_episodes, *action_shape)),
        )


def run_episodes(
    env: VectorEnv[Any, Any, Any],
    policy: BatchPolicy,
    seeds: Sequence[int] | int,
    *,
    on_end: Callable[[int], None] | None = None,
) -> EpisodeScores:
    """Runs whole episodes, as many at a time as the environment has slots.

    With a sequence of seeds there is one episode per seed, and a slot whose episode ends takes the
    next seed. An episode is then a function of its seed (given a policy that handles batch entries
    separately), so the number of worker processes behind the environment changes nothing.

    With a single seed there is one episode per slot, and the seed is that of the whole batch. This
    is for environments whose slots share one stream of random numbers, such as dreams.

    Args:
        env: batched environment. With a sequence of seeds its autoreset mode is ``DISABLED``, it
            takes a seed for each slot, and slots without an episode idle; with a single seed the
            mode may also be ``SAME_STEP``.
        policy: the policy that acts.
        seeds: seeds of the episodes, or the seed of the batch.
        on_end: called with the number of completed episodes whenever it grows.

    Returns:
        Scores in the order of the seeds, or of the slots.

    Raises:
        ValueError: there are no seeds, or the environment has another autoreset mode.
    """
    modes = [AutoresetMode.DISABLED]
    if isinstance(seeds, int):
        modes.append(AutoresetMode.SAME_STEP)
    mode = env.metadata.get("autoreset_mode")
    if mode not in modes:
        expected = " or ".join(map(str, modes))
        raise ValueError(f"env: expected autoreset mode {expected}, got {mode}")
    num_episodes = env.num_envs if isinstance(seeds, int) else len(seeds)
    check_int("seeds", num_episodes, at_least=1)
    action_shape: Any = env.single_action_space.shape
    scores = EpisodeScores.zeros(num_episodes, action_shape)
    episodes = np.full(env.num_envs, -1)  # index of each slot's episode, −1 for none
    begun, completed = 0, 0
    observations = np.zeros(0)
    reset: Any = env.reset  # Gymnasium's type omits seeds per slot, which its documentation allows
    while completed < num_episodes:
        free = episodes < 0
        starts = free & (np.cumsum(free) <= num_episodes - begun)
        if starts.any():
            episodes[starts] = np.arange(begun, begun + starts.sum())
            begun += int(starts.sum())
            slots = zip(episodes, starts, strict=True)
            seed = seeds if isinstance(seeds, int) else [seeds[e] if s else None for e, s in slots]
            observations, _ = reset(seed=seed, options={"reset_mask": starts})
        actions = policy(observations, np.maximum(episodes, 0), starts)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        running = episodes >= 0
        scores.returns[episodes[running]] += rewards[running]
        scores.lengths[episodes[running]] += 1
        scores.actions[episodes[running]] += actions[running]
        scores.magnitudes[episodes[running]] += np.abs(actions[running])
        ended = running & (terminated | truncated)
        scores.terminated[episodes[ended]] = terminated[ended]
        episodes[ended] = -1
        if ended.any():
            completed += int(ended.sum())
            if on_end is not None:
                on_end(completed)
    scores.actions[:] /= scores.lengths[:, None]
    scores.magnitudes[:] /= scores.lengths[:, None]
    return scores
