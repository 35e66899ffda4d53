"""Shuffled batches of frames from stores that may be larger than memory."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from wmrl.core.frames import stack_frames
from wmrl.core.seeding import numpy_generator
from wmrl.core.validation import check_int
from wmrl.data.split import StoredEpisode

# Number of consecutive frames that are read at once; they span a few of the store's chunks.
_STRETCH = 128


class _Stretch(NamedTuple):
    episode: int
    start: int
    stop: int


class _Buffer(NamedTuple):
    """Frames in memory.

    Attributes:
        frames: ``(M, H, W, C) uint8``, sequences of consecutive frames, one after another.
        newest: ``(N,) int``, indices in ``frames`` of the N frames that may be sampled. The other
            frames are only needed as earlier frames in stacks.
        first: ``(N,) int``, for each of these N frames, the index in ``frames`` of the first frame
            of its sequence.
    """

    frames: np.ndarray
    newest: np.ndarray
    first: np.ndarray


class FrameSampler:
    """Sampler of shuffled batches of frames, or of stacks of frames.

    If the ``frame_stack`` of the stores' metadata is above 1, each frame of a batch is stacked with
    its predecessors in the episode. The stacking does not affect which frames are drawn.

    A batch depends only on the arguments of the sampler and the index of the training step. Short
    sequences of consecutive frames are read into a buffer in random order. Each sequence is read
    once per epoch. Batches are drawn from the buffer while the next buffer is read in the
    background. If all frames fit into one buffer, they are read only once, not in every epoch.

    Args:
        episodes: episodes whose frames are sampled.
        batch_size: B, number of frames in a batch.
        seed: root seed of the shuffling.
        buffer_frames: approximate number of frames in a buffer; two buffers may be in memory at
            the same time.

    Raises:
        ValueError: there are no episodes, or ``batch_size`` or ``buffer_frames`` is less than 1.
    """

    def __init__(
        self,
        episodes: Sequence[StoredEpisode],
        *,
        batch_size: int,
        seed: int,
        buffer_frames: int = 16_384,
    ) -> None:
        if not episodes:
            raise ValueError("episodes: expected at least one, got none")
        check_int("batch_size", batch_size, at_least=1)
        check_int("buffer_frames", buffer_frames, at_least=1)
        self._episodes = list(episodes)
        self._batch_size = batch_size
        self._seed = seed
        self._stretches = [
            _Stretch(i, start, min(start + _STRETCH, episode.summary.length + 1))
            for i, episode in enumerate(self._episodes)
            for start in range(0, episode.summary.length + 1, _STRETCH)
        ]
        frames = sum(episode.summary.length + 1 for episode in self._episodes)
        share = min(1.0, buffer_frames / frames)
        self._per_buffer = math.ceil(share * len(self._stretches))
        self._steps_per_buffer = max(1, int(share * frames) // batch_size)
        self._frame_stack = self._episodes[0].store.metadata.frame_stack
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="frames")
        self._buffers: dict[int, Future[_Buffer]] = {}

    def batch(self, step: int) -> np.ndarray:
        """Returns the batch for training step ``step``, from 0: frames ``(B, H, W, C) uint8``.

        If the stores' ``frame_stack`` K is above 1, the batch consists of stacks of K frames,
        ``(B, H, W, C · K) uint8``.
        """
        number, position = divmod(step, self._steps_per_buffer)
        frames, newest, first = self._buffer(number)
        order = numpy_generator(self._seed, "frame order", number).permutation(len(newest))
        picked = np.arange(position * self._batch_size, (position + 1) * self._batch_size)
        chosen = order[picked % len(newest)]
        return stack_frames(frames, self._frame_stack, newest[chosen], first=first[chosen])

    def close(self) -> None:
        """Stops reading frames in the background."""
        self._reader.shutdown(cancel_futures=True)

    def _buffer(self, number: int) -> _Buffer:
        whole = self._per_buffer == len(self._stretches)
        wanted = [0] if whole else [number, number + 1]
        self._buffers = {
            key: self._buffers.get(key) or self._reader.submit(self._read, key) for key in wanted
        }
        return self._buffers[wanted[0]].result()

    def _read(self, number: int) -> _Buffer:
        """Reads the frames of a buffer.

        Args:
            number: index of the buffer, counted from 0 over all epochs.
        """
        count = len(self._stretches)
        first = number * self._per_buffer
        chosen = []
        for position in range(first, first + self._per_buffer):
            epoch, within = divmod(position, count)
            chosen.append(self._stretches[self._order(epoch)[within]])
        chosen.sort()  # reading in file order is faster
        # Predecessors are read with each sequence, because its neighbors may be in other buffers.
        pasts = [min(stretch.start, self._frame_stack - 1) for stretch in chosen]
        lengths = [s.stop - s.start + past for s, past in zip(chosen, pasts, strict=True)]
        shape = self._episodes[0].store.metadata.frame_shape
        frames = np.empty((sum(lengths), *shape), np.uint8)
        newest: list[np.ndarray] = []
        firsts: list[np.ndarray] = []
        filled = 0
        for stretch, past, length in zip(chosen, pasts, lengths, strict=True):
            store, summary = self._episodes[stretch.episode]
            after = filled + length
            frames[filled:after] = store.frames(summary.index, stretch.start - past, stretch.stop)
            newest.append(np.arange(filled + past, after))
            firsts.append(np.full(length - past, filled))
            filled = after
        return _Buffer(frames, np.concatenate(newest), np.concatenate(firsts))

    def _order(self, epoch: int) -> np.ndarray:
        return numpy_generator(self._seed, "stretch order", epoch).permutation(len(self._stretches))
