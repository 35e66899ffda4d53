"""Playing and scoring of whole episodes in a vector environment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from wmrl.core.action_spec import ActionSpec
from wmrl.core.validation import check_int

BatchPolicy = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Function that chooses the actions in all N sub-environments (slots) of a vector environment.

Its arguments are the observations ``(N, ...)``, the index of the episode in each slot,
``(N,) int``, and a mask ``(N,) bool`` that is True for episodes that have just begun. It returns
one action per slot, as a batch of the environment's action space.
"""


@dataclass(frozen=True)
class EpisodeScores:
    """Scores of E episodes.

    Attributes:
        returns: ``(E,) float64``, undiscounted sum of rewards of each episode.
        lengths: ``(E,) int64``, number of agent steps of each episode.
        terminated: ``(E,) bool``, True if the game ended the episode, False if a time limit did.
        actions: ``(E, A) float64``, mean encoded action (see
            :class:`~wmrl.core.action_spec.ActionSpec`) over the agent steps of each episode. For
            discrete actions, the entry of an option is the share of agent steps in which the option
            was chosen.
        magnitudes: ``(E, A) float64``, mean absolute encoded action over the agent steps of each
            episode.
    """

    returns: np.ndarray
    lengths: np.ndarray
    terminated: np.ndarray
    actions: np.ndarray
    magnitudes: np.ndarray

    @classmethod
    def zeros(cls, num_episodes: int, action_dim: int) -> Self:
        """Creates scores that are all zero, for episodes that have not begun."""
        return cls(
            returns=np.zeros(num_episodes),
            lengths=np.zeros(num_episodes, np.int64),
            terminated=np.zeros(num_episodes, np.bool_),
            actions=np.zeros((num_episodes, action_dim)),
            magnitudes=np.zeros((num_episodes, action_dim)),
        )


def run_episodes(
    env: VectorEnv[Any, Any, Any],
    policy: BatchPolicy,
    seeds: Sequence[int] | int,
    *,
    on_end: Callable[[int], None] | None = None,
) -> EpisodeScores:
    """Runs whole episodes in the sub-environments (slots) of a vector environment.

    With a sequence of seeds, there is one episode per seed. When the episode in a slot ends, the
    slot continues with the next seed. If the policy treats batch entries independently, the course
    of an episode depends only on its seed, and not on the number of worker processes.

    With a single seed, there is one episode per slot, and a single ``reset`` with that seed starts
    all episodes. A single seed is meant for environments whose slots share one stream of random
    numbers, such as dreams.

    Args:
        env: vector environment. With a sequence of seeds, its autoreset mode must be ``DISABLED``,
            ``reset`` must accept one seed per slot, and ``step`` must work while some slots have no
            episode. With a single seed, the mode may also be ``SAME_STEP``.
        policy: policy that chooses the actions.
        seeds: one seed per episode; or a single seed for all slots together.
        on_end: function that is called whenever episodes end. Its argument is the number of
            episodes that have ended so far.

    Returns:
        Scores, in the order of the seeds; with a single seed, in the order of the slots.

    Raises:
        ValueError: there are no seeds, or the environment's autoreset mode is not allowed.
    """
    modes = [AutoresetMode.DISABLED]
    if isinstance(seeds, int):
        modes.append(AutoresetMode.SAME_STEP)
    mode = env.metadata.get("autoreset_mode")
    if mode not in modes:
        expected = " or ".join(map(str, modes))
        raise ValueError(
            f"env: expected autoreset mode {expected}, got {mode}; pass autoreset_mode "
            "when the environment is created"
        )
    num_episodes = env.num_envs if isinstance(seeds, int) else len(seeds)
    check_int("seeds", num_episodes, at_least=1)
    spec = ActionSpec.of(env.single_action_space)
    scores = EpisodeScores.zeros(num_episodes, spec.dim)
    episodes = np.full(env.num_envs, -1)  # index of each slot's episode, or −1
    begun, completed = 0, 0
    observations = np.zeros(0)
    reset: Any = env.reset  # Gymnasium documents seeds per slot, but its types omit them
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
        encoded = spec.encode(actions[running])
        scores.actions[episodes[running]] += encoded
        scores.magnitudes[episodes[running]] += np.abs(encoded)
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
