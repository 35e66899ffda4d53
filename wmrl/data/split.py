"""Which episodes a model is trained on, and which are held out to judge it."""

from collections.abc import Sequence
from typing import NamedTuple

from wmrl.data.episode import EpisodeSummary
from wmrl.data.store import RolloutStore


class StoredEpisode(NamedTuple):
    """An episode of one of several stores."""

    store: RolloutStore
    summary: EpisodeSummary


class DataSplit(NamedTuple):
    """Episodes to train on, and episodes that are never trained on."""

    train: list[StoredEpisode]
    held_out: list[StoredEpisode]


def split_episodes(stores: Sequence[RolloutStore], *, held_out: float) -> DataSplit:
    """Holds out whole episodes, chosen by their content.

    An episode's digest decides, so that it stays on its side whatever is collected later, and
    models of later rounds are never judged on what earlier ones were trained on. Only while there
    are so few that chance would hold out none, the lowest digest is, and may be trained on later.

    Args:
        stores: one or several stores of one task.
        held_out: share of the episodes to hold out, in [0, 1); at least one episode is, where
            the share is not 0 and there are two or more.

    Raises:
        ValueError: there is nothing to train on, the stores do not fit together, or the share is
            outside [0, 1).
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out: expected in [0, 1), got {held_out}")
    if not stores:
        raise ValueError("stores: expected at least one, got none")
    first = stores[0].metadata
    for store in stores[1:]:
        store.check(
            task=first.task,
            frame_shape=first.frame_shape,
            action_size=first.action_size,
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
            f"stores: no episodes in {', '.join(str(store.path) for store in stores)}; collect "
            "some first (wmrl collect)"
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
    """A number in [0, 1) that depends on the episode's content alone."""
    return float(int(episode.summary.digest[:8], 16)) / 2.0**32
