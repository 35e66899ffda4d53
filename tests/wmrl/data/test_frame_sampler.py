from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from wmrl.core.frames import newest_frames
from wmrl.data.frame_sampler import FrameSampler
from wmrl.data.split import StoredEpisode, split_episodes
from wmrl.data.store import Episode, RolloutStore

MakeRollouts = Callable[..., RolloutStore]


LENGTHS = (2, 300, 139)


@pytest.fixture(scope="module")
def episodes(make_rollouts: MakeRollouts) -> list[StoredEpisode]:
    """Episodes of 3, 301 and 140 frames, each frame with a number of its own in its pixels."""
    return _numbered(make_rollouts(()))


def _numbered(store: RolloutStore) -> list[StoredEpisode]:
    count = 0
    for index, length in enumerate(LENGTHS):
        frames = np.zeros((length + 1, 64, 64, 3), np.uint8)
        numbers = np.arange(count, count + length + 1)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = numbers % 256, numbers // 256
        count += length + 1
        rewards = np.zeros(length, np.float32)
        actions = np.zeros((length, 2), np.float32)
        store.write(
            index,
            Episode(
                frames=frames, actions=actions, rewards=rewards, terminated=False, truncated=True
            ),
        )
    return split_episodes([store], held_out=0.0).train


def _numbers(frames: np.ndarray) -> list[int]:
    assert frames.shape[1:] == (64, 64, 3)
    assert frames.dtype == np.uint8
    numbers: list[int] = (frames[:, 0, 0, 0] + 256 * frames[:, 0, 0, 1].astype(int)).tolist()
    return numbers


def _sampler(episodes: list[StoredEpisode], **options: int) -> "closing[FrameSampler]":
    return closing(FrameSampler(episodes, **{"batch_size": 20, "seed": 0, **options}))


def test_an_epoch_shows_each_frame_once_where_all_fit(episodes: list[StoredEpisode]) -> None:
    with _sampler(episodes, batch_size=37) as sampler:  # 444 = 12 · 37 frames
        for epoch in range(2):
            seen = [n for step in range(12) for n in _numbers(sampler.batch(12 * epoch + step))]
            assert sorted(seen) == list(range(444))
            assert seen != sorted(seen)


def test_a_small_buffer_shows_all_frames_about_as_often(episodes: list[StoredEpisode]) -> None:
    with _sampler(episodes, buffer_frames=150) as sampler:
        counts = Counter(n for step in range(220) for n in _numbers(sampler.batch(step)))
    assert set(counts) == set(range(444))  # about ten times each
    assert max(counts.values()) <= 4 * min(counts.values())


def _passes(sampler: FrameSampler, steps: range) -> Iterator[list[int]]:
    for step in steps:
        yield _numbers(sampler.batch(step))


@pytest.mark.parametrize("buffer_frames", [150, 10_000])
def test_a_batch_is_a_function_of_its_step(
    episodes: list[StoredEpisode], buffer_frames: int
) -> None:
    with _sampler(episodes, buffer_frames=buffer_frames) as sampler:
        whole = list(_passes(sampler, range(40)))
    with _sampler(episodes, buffer_frames=buffer_frames) as sampler:
        assert list(_passes(sampler, range(27, 40))) == whole[27:]
        assert _numbers(sampler.batch(3)) == whole[3]  # backwards as well
    with _sampler(episodes, buffer_frames=buffer_frames, seed=1) as sampler:
        assert _numbers(sampler.batch(3)) != whole[3]


@pytest.mark.parametrize("frame_stack", [2, 5])
@pytest.mark.parametrize("buffer_frames", [150, 10_000])
def test_frames_are_stacked_with_their_predecessors(
    episodes: list[StoredEpisode],
    make_rollouts: MakeRollouts,
    frame_stack: int,
    buffer_frames: int,
) -> None:
    stacked = _numbered(make_rollouts((), frame_stack=frame_stack))
    starts = np.cumsum([0, *(length + 1 for length in LENGTHS)])
    seen = set()
    with (
        _sampler(stacked, buffer_frames=buffer_frames) as sampler,
        _sampler(episodes, buffer_frames=buffer_frames) as single,
    ):
        for step in range(60):
            batch = sampler.batch(step)
            # The same frames as without stacks, in the same order.
            np.testing.assert_array_equal(newest_frames(batch, frame_stack), single.batch(step))
            parts = np.split(batch, frame_stack, axis=-1)
            for past, part in enumerate(reversed(parts)):
                for number, newest in zip(_numbers(part), _numbers(parts[-1]), strict=True):
                    first = starts[np.searchsorted(starts, newest, side="right") - 1]
                    assert number == max(newest - past, first)
                    seen.add(newest - first)
    assert {0, 1, 127, 128, 129} <= seen  # at the edges of episodes and of what is read at once


def test_wrong_arguments_are_named(episodes: list[StoredEpisode]) -> None:
    with pytest.raises(ValueError, match="episodes: expected at least one"):
        FrameSampler([], batch_size=1, seed=0)
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        FrameSampler(episodes, batch_size=0, seed=0)
    with pytest.raises(ValueError, match="buffer_frames: expected at least 1, got 0"):
        FrameSampler(episodes, batch_size=1, seed=0, buffer_frames=0)
