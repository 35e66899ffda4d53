"""Statistics of a store, against the same computed on everything at once."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box

from wmrl.data.statistics import report_store
from wmrl.data.store import Episode, RolloutStore, StoreError, StoreMetadata


def test_equals_statistics_of_all_at_once(tmp_path: Path) -> None:
    metadata = StoreMetadata(
        task="toy", frame_shape=(2, 2, 3), action_space=Box(-1, 1, (2,)), frame_skip=4
    )
    store = RolloutStore(tmp_path, "a", metadata=metadata)
    with pytest.raises(StoreError, match="expected episodes, got none"):
        report_store(store)
    generator = np.random.default_rng(0)
    episodes = [
        Episode(
            frames=np.zeros((length + 1, 2, 2, 3), np.uint8),
            actions=generator.normal(3, 2, (length, 2)).astype(np.float32),
            rewards=generator.normal(size=length).astype(np.float32),
            terminated=length == 5,
            truncated=length != 5,
        )
        for length in (5, 1, 17)
    ]
    for episode in episodes:
        store.append(episode)
    report = report_store(store)
    actions = np.concatenate([episode.actions for episode in episodes]).astype(np.float64)
    rewards = np.concatenate([episode.rewards for episode in episodes])
    assert (report.episodes, report.agent_steps, report.base_frames) == (3, 23, 92)
    np.testing.assert_allclose(report.action_mean, actions.mean(axis=0))
    np.testing.assert_allclose(report.action_std, actions.std(axis=0))
    np.testing.assert_allclose(
        report.returns, [episode.rewards.sum() for episode in episodes], atol=1e-5
    )
    np.testing.assert_array_equal(report.lengths, [5, 1, 17])
    assert report.rewarded == pytest.approx(np.mean(rewards > 0))
    assert report.terminated == pytest.approx(1 / 3)
    assert report.content_hash == store.content_hash()
    assert report.bytes > 23 * 2 * 4


def test_episodes_without_agent_steps_count_as_episodes_alone(tmp_path: Path) -> None:
    metadata = StoreMetadata(
        task="toy", frame_shape=(2, 2, 3), action_space=Box(-1, 1, (2,)), frame_skip=4
    )
    store = RolloutStore(tmp_path, "a", metadata=metadata)

    def append(length: int) -> None:
        store.append(
            Episode(
                frames=np.zeros((length + 1, 2, 2, 3), np.uint8),
                actions=np.tile(np.float32([0.5, -1.0]), (length, 1)),
                rewards=np.ones(length, np.float32),
                terminated=False,
                truncated=True,
            )
        )

    append(0)
    report = report_store(store)
    assert (report.episodes, report.agent_steps, report.lengths.tolist()) == (1, 0, [0])
    for value in (report.rewarded, report.action_mean, report.action_std):
        assert np.isnan(value).all()
    append(3)
    append(0)
    report = report_store(store)
    assert (report.episodes, report.agent_steps, report.rewarded) == (3, 3, 1.0)
    np.testing.assert_allclose(report.action_mean, [0.5, -1.0])
    np.testing.assert_allclose(report.action_std, [0.0, 0.0])
