"""Rollouts that are made in a moment."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wmrl.store import Episode, RolloutStore, StoreMetadata

MakeRollouts = Callable[..., RolloutStore]


def bar_episode(length: int, seed: int) -> Episode:
    """A bright bar on a dark ground, moved by the action; the right half of the screen pays."""
    generator = np.random.default_rng(seed)
    actions = generator.uniform(-1, 1, (length, 2)).astype(np.float32)
    place = np.clip(30 + np.concatenate(([0], np.cumsum(8 * actions[:, 0]))), 0, 56).astype(int)
    frames = np.full((length + 1, 64, 64, 3), 40, np.uint8)
    for frame, x in zip(frames, place, strict=True):
        frame[:, x : x + 8] = (220, 120, 60)
    return Episode(
        frames=frames,
        actions=actions,
        rewards=np.where(place[1:] > 28, 3.0, -0.1).astype(np.float32),
        terminated=seed % 2 == 0,
        truncated=seed % 2 == 1,
        info={"seed": seed},
    )


@pytest.fixture(scope="session")
def make_rollouts(tmp_path_factory: pytest.TempPathFactory) -> MakeRollouts:
    """Writes a store: ``make_rollouts(lengths=(20, 9), task="bar", seed=0)``."""

    def make(
        lengths: tuple[int, ...] = (24, 9, 17, 30),
        *,
        task: str = "bar",
        warmup_frames: int = 0,
        seed: int = 0,
    ) -> RolloutStore:
        path: Path = tmp_path_factory.mktemp("rollouts") / "store"
        metadata = StoreMetadata(
            task=task,
            frame_shape=(64, 64, 3),
            action_size=2,
            frame_skip=4,
            warmup_frames=warmup_frames,
            policy={"name": "test"},
        )
        store = RolloutStore(path, "a", metadata=metadata)
        for index, length in enumerate(lengths):
            store.write(index, bar_episode(length, 100 * seed + index))
        return store

    return make
