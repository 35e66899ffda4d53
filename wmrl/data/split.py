"""Split of episodes into those to train on and those held out for evaluation."""

from collections.abc import Sequence
from typing import NamedTuple

from wmrl.core.validation import check_float
from wmrl.data.episode import EpisodeSummary
from wmrl.data.store import RolloutStore


class StoredEpisode(NamedTuple):
    """Reference to an episode of one of several stores."""

    store: RolloutStore
    summary: EpisodeSummary


class DataSplit(NamedTuple):
    """Training episodes, and held-out episodes that are never trained on."""

    train: list[StoredEpisode]
    held_out: list[StoredEpisode]


def split_episodes(stores: Sequence[RolloutStore], *, held_out: float) -> DataSplit:
    """Splits whole episodes into training and held-out ones, by their content.

    The digest of an episode decides, so that it stays on its side whatever is collected later, and
    later models are never evaluated on episodes that earlier ones were trained on. There is one
    exception: if there are so few episodes that none would be held out, the one of the lowest
    digest is, and may be trained on later.

    Args:
        stores: one or several stores of one task.
        held_out: share of the episodes to hold out, in [0, 1). At least one episode is held out
            if the share is not 0 and there are two or more.

    Raises:
        ValueError: there are no episodes, the stores don't fit together, or the share is outside
            [0, 1).

    Example:
        >>> import numpy as np
        >>> from wmrl.data import Episode, RolloutStore, StoreMetadata, split_episodes
        >>> metadata = StoreMetadata(task="toy", frame_shape=(8, 8, 3), action_dim=1, frame_skip=1)
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
            action_dim=first.action_dim,
            frame_skip=first.frame_skip,
            warmup_frames=first.warmup_frames,
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
            f"{', '.join(str(store.path) for store in stores)}; record some with wmrl collect"
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
    """Returns a number in [0, 1) that depends only on the content of the episode."""
    return float(int(episode.summary.digest[:8], 16)) / 2.0**32
