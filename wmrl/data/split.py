"""Split of episodes into training episodes and episodes held out for evaluation."""

from collections.abc import Sequence
from typing import NamedTuple

from wmrl.core.validation import check_float
from wmrl.data.episode import EpisodeSummary
from wmrl.data.store import RolloutStore


class StoredEpisode(NamedTuple):
    """Reference to an episode: its store and its summary."""

    store: RolloutStore
    summary: EpisodeSummary


class DataSplit(NamedTuple):
    """Training episodes, and held-out episodes that are never trained on."""

    train: list[StoredEpisode]
    held_out: list[StoredEpisode]


def split_episodes(stores: Sequence[RolloutStore], *, held_out: float) -> DataSplit:
    """Splits episodes into training and held-out episodes, by the digests of the episodes.

    The choice depends only on the content of each episode and on ``held_out``. An episode thus
    stays in its set when more episodes are collected, so that no model is evaluated on episodes
    that an earlier model was trained on. There is one exception: if no episode would be held out,
    the episode with the lowest digest is held out. This episode may become a training episode when
    more episodes have been collected. Episodes without steps are in neither set.

    Args:
        stores: one or more stores, with equal metadata except for the policy.
        held_out: fraction of the episodes to hold out on average, in [0, 1). If the fraction is
            above 0 and there are at least two episodes, at least one episode is held out.

    Raises:
        ValueError: there are no stores or no episodes, the metadata of the stores differ, or
            ``held_out`` is outside [0, 1).

    Example:
        >>> import numpy as np
        >>> from gymnasium.spaces import Box
        >>> from wmrl.data import Episode, RolloutStore, StoreMetadata, split_episodes
        >>> metadata = StoreMetadata(
        ...     task="toy", frame_shape=(8, 8, 3), action_space=Box(-1, 1, (1,)), frame_skip=1
        ... )
        >>> store = RolloutStore("store", mode="a", metadata=metadata)
        >>> for seed in range(10):
        ...     _ = store.append(
        ...         Episode(
        ...             frames=np.zeros((3, 8, 8, 3), np.uint8),
        ...             actions=np.zeros((2, 1), np.float32),
        ...             rewards=np.ones(2, np.float32),
        ...             terminated=True,
        ...             truncated=False,
        ...             info={"seed": seed},
        ...         )
        ...     )
        >>> split = split_episodes([store], held_out=0.3)
        >>> len(split.train), len(split.held_out)
        (8, 2)
    """
    check_float("held_out", held_out, at_least=0, below=1)
    if not stores:
        raise ValueError("stores: expected at least one, got none")
    first = stores[0].metadata
    for store in stores[1:]:
        store.check(
            task=first.task,
            frame_shape=first.frame_shape,
            action_space=first.action_space,
            frame_skip=first.frame_skip,
            warmup_frames=first.warmup_frames,
            start_window=first.start_window,
            frame_stack=first.frame_stack,
        )
    episodes = [
        StoredEpisode(store, summary)
        for store in stores
        for summary in store.summaries
        if summary.length > 0
    ]
    if not episodes:
        raise ValueError(
            f"stores: expected episodes, got none in "
            f"{', '.join(str(store.path) for store in stores)}; record episodes with wmrl collect"
        )
    if held_out == 0 or len(episodes) == 1:
        return DataSplit(episodes, [])
    least = min(_share(episode) for episode in episodes)
    bound = max(held_out, least + 2.0**-32)
    return DataSplit(
        [episode for episode in episodes if _share(episode) >= bound],
        [episode for episode in episodes if _share(episode) < bound],
    )


def _share(episode: StoredEpisode) -> float:
    """Returns a number in [0, 1) that depends only on the content of the episode.

    An episode is held out if this number is below the held-out fraction. If no episode has such a
    number, the episode with the lowest number is held out.
    """
    return float(int(episode.summary.digest[:8], 16)) / 2.0**32
