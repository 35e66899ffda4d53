from collections.abc import Callable

import pytest

from wmrl.data.split import StoredEpisode, split_episodes
from wmrl.data.store import RolloutStore, StoreError

MakeRollouts = Callable[..., RolloutStore]


def _digests(episodes: list[StoredEpisode]) -> set[str]:
    return {episode.summary.digest for episode in episodes}


@pytest.fixture(scope="module")
def first(make_rollouts: MakeRollouts) -> RolloutStore:
    return make_rollouts((3,) * 40)


def test_every_episode_is_on_one_side(first: RolloutStore) -> None:
    split = split_episodes([first], held_out=0.3)
    assert len(split.train) + len(split.held_out) == 40
    assert not _digests(split.train) & _digests(split.held_out)
    assert 4 <= len(split.held_out) <= 20  # 12 ± 2.9
    assert split == split_episodes([first], held_out=0.3)


def test_an_episode_stays_on_its_side_when_others_join(
    first: RolloutStore, make_rollouts: MakeRollouts
) -> None:
    later = make_rollouts((3,) * 20, seed=1)
    alone = split_episodes([first], held_out=0.2)
    together = split_episodes([first, later], held_out=0.2)
    assert _digests(alone.held_out) <= _digests(together.held_out)
    assert _digests(alone.train) <= _digests(together.train)


def test_at_least_one_episode_is_held_out_if_any_is_to_be(make_rollouts: MakeRollouts) -> None:
    store = make_rollouts((4, 5, 6))
    assert len(split_episodes([store], held_out=1e-6).held_out) == 1
    assert split_episodes([store], held_out=0.0).held_out == []
    assert split_episodes([make_rollouts((4,))], held_out=0.5).held_out == []


def test_wrong_arguments_are_named(make_rollouts: MakeRollouts) -> None:
    store = make_rollouts((4,))
    with pytest.raises(ValueError, match="stores: expected at least one"):
        split_episodes([], held_out=0.1)
    with pytest.raises(ValueError, match="held_out: expected below 1, got 1"):
        split_episodes([store], held_out=1.0)
    with pytest.raises(ValueError, match=r"stores: expected episodes, got none in .*wmrl collect"):
        split_episodes([make_rollouts(())], held_out=0.1)
    with pytest.raises(StoreError, match="with frame_stack 1, got 3; use another store"):
        split_episodes([store, make_rollouts((4,), frame_stack=3)], held_out=0.1)
    with pytest.raises(StoreError, match="with task 'bar', got 'other'"):
        split_episodes([store, make_rollouts((4,), task="other")], held_out=0.1)
