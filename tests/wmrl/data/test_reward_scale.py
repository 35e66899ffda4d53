from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wmrl.data.reward_scale import largest_reward, return_std
from wmrl.data.store import RolloutStore

MakeRollouts = Callable[..., RolloutStore]


def _with_rewards(store: RolloutStore, path: Path, *rewards: list[float]) -> RolloutStore:
    made = RolloutStore(path, "a", metadata=store.metadata)
    for each in rewards:
        episode = store.episode(0)
        count = len(each)
        made.append(
            replace(
                episode,
                frames=episode.frames[: count + 1],
                actions=episode.actions[:count],
                rewards=np.float32(each),
            )
        )
    return made


def test_the_largest_reward_may_be_negative(make_rollouts: MakeRollouts, tmp_path: Path) -> None:
    store = make_rollouts()
    one = _with_rewards(store, tmp_path / "one", [0.0, -7.0, 2.0], [3.0])
    two = _with_rewards(store, tmp_path / "two", [0.0, 8.0])
    assert largest_reward([one]) == 7
    assert largest_reward([one, two]) == 8
    assert largest_reward([_with_rewards(store, tmp_path / "none", [0.0, 0.0])]) == 0
    assert largest_reward([]) == 0


def test_returns_are_discounted_within_episodes(
    make_rollouts: MakeRollouts, tmp_path: Path
) -> None:
    store = _with_rewards(make_rollouts(), tmp_path / "store", [0.0, 0.0, 8.0], [4.0])
    # Returns of 2, 4 and 8, and of 4.
    assert return_std([store], gamma=0.5) == pytest.approx(np.std([2, 4, 8, 4]))
    assert return_std([store], gamma=0) == pytest.approx(np.std([0, 0, 8, 4]))
    assert return_std([store], gamma=1) == pytest.approx(np.std([8, 8, 8, 4]))
    assert return_std([], gamma=0.5) == 0
    with pytest.raises(ValueError, match="gamma: expected at most 1, got 2"):
        return_std([store], gamma=2)
