"""Statistics of rollout stores."""

from dataclasses import dataclass

import numpy as np

from wmrl.data.store import RolloutStore, StoreError


@dataclass(frozen=True, kw_only=True)
class StoreReport:
    """Statistics of a rollout store.

    Attributes:
        episodes: E, number of episodes.
        agent_steps: total number of agent steps.
        base_frames: upper bound on the number of game frames: agent steps times frame skip.
        bytes: size on disk, in bytes.
        returns: returns of the episodes (sums of rewards), in order of index, ``(E,) float64``.
        lengths: lengths of the episodes in agent steps, in order of index, ``(E,) int64``.
        terminated: fraction of episodes in which the game ended.
        rewarded: fraction of agent steps with a positive reward; NaN if there are no agent steps.
        action_mean: mean of the encoded actions over all agent steps, ``(A,) float64``; NaN if
            there are no agent steps.
        action_std: standard deviation of the encoded actions over all agent steps, ``(A,)
            float64``; NaN if there are no agent steps.
        content_hash: hash of the episodes, computed by
            :meth:`~wmrl.data.store.RolloutStore.content_hash`.
    """

    episodes: int
    agent_steps: int
    base_frames: int
    bytes: int
    returns: np.ndarray
    lengths: np.ndarray
    terminated: float
    rewarded: float
    action_mean: np.ndarray
    action_std: np.ndarray
    content_hash: str


def report_store(store: RolloutStore) -> StoreReport:
    """Computes the statistics of a rollout store, reading one episode at a time.

    Raises:
        StoreError: the store is empty, or an episode can't be read.
    """
    if len(store) == 0:
        raise StoreError(
            f"{store.path}: expected episodes, got none; record episodes with wmrl collect"
        )
    count, rewarded = 0, 0
    spec = store.metadata.action_space
    mean = np.zeros(spec.dim)
    scatter = np.zeros_like(mean)
    for index in store.indices:
        actions = spec.encode(store.actions(index)).astype(np.float64)
        if len(actions) == 0:
            continue
        # Combines the means and the sums of squares of two parts (Chan, Golub & LeVeque 1983).
        gap = actions.mean(axis=0) - mean
        total = count + len(actions)
        scatter += actions.var(axis=0) * len(actions) + gap**2 * count * len(actions) / total
        mean += gap * len(actions) / total
        count = total
        rewarded += int(np.count_nonzero(store.rewards(index) > 0))
    undefined = np.full_like(mean, np.nan)
    summaries = store.summaries
    return StoreReport(
        episodes=len(summaries),
        agent_steps=count,
        base_frames=count * store.metadata.frame_skip,
        bytes=sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file()),
        returns=np.array([summary.reward for summary in summaries]),
        lengths=np.array([summary.length for summary in summaries]),
        terminated=float(np.mean([summary.terminated for summary in summaries])),
        rewarded=rewarded / count if count else np.nan,
        action_mean=mean if count else undefined,
        action_std=np.sqrt(scatter / count) if count else undefined,
        content_hash=store.content_hash(),
    )
