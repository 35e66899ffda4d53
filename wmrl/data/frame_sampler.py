"""Batches of single frames out of stores that may be larger than memory."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from wmrl.core.seeding import numpy_generator
from wmrl.data.split import StoredEpisode

# Frames that are read at a stretch: a few of the chunks that the store compresses.
_STRETCH = 128


class _Stretch(NamedTuple):
    episode: int
    start: int
    stop: int


class FrameFeed:
    """Shuffled frames, batch by batch; batch ``step`` is a pure function of (data, seed, step).

    Stretches of consecutive frames pass in random order through a buffer, and batches are drawn
    from the buffer. Every epoch shows each stretch once. While one buffer is used up the next is
    read in the background; where everything fits into one buffer it is read once.

    Args:
        episodes: where the frames come from.
        batch_size: B.
        seed: root of the order.
        buffer_frames: frames in memory at once (twice that while the next buffer is read).

    Raises:
        ValueError: there are no episodes, or a size is below 1.
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
        for name, value in (("batch_size", batch_size), ("buffer_frames", buffer_frames)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
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
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="frames")
        self._buffers: dict[int, Future[np.ndarray]] = {}

    def batch(self, step: int) -> np.ndarray:
        """Frames ``(B, H, W, 3) uint8`` of one step."""
        number, position = divmod(step, self._steps_per_buffer)
        frames = self._buffer(number)
        order = numpy_generator(self._seed, "frame order", number).permutation(len(frames))
        picked = np.arange(position * self._batch_size, (position + 1) * self._batch_size)
        return frames[order[picked % len(frames)]]

    def close(self) -> None:
        """Ends the background reading."""
        self._reader.shutdown(cancel_futures=True)

    def _buffer(self, number: int) -> np.ndarray:
        whole = self._per_buffer == len(self._stretches)
        wanted = [0] if whole else [number, number + 1]
        self._buffers = {
            key: self._buffers.get(key) or self._reader.submit(self._read, key) for key in wanted
        }
        return self._buffers[wanted[0]].result()

    def _read(self, number: int) -> np.ndarray:
        """The stretches that are numbered by ``number`` in the endless run of epochs."""
        count = len(self._stretches)
        first = number * self._per_buffer
        chosen = []
        for position in range(first, first + self._per_buffer):
            epoch, within = divmod(position, count)
            chosen.append(self._stretches[self._order(epoch)[within]])
        shape = self._episodes[0].store.metadata.frame_shape
        frames = np.empty((sum(s.stop - s.start for s in chosen), *shape), np.uint8)
        filled = 0
        for stretch in sorted(chosen):  # in the order of the files
            store, summary = self._episodes[stretch.episode]
            after = filled + stretch.stop - stretch.start
            frames[filled:after] = store.frames(summary.index, stretch.start, stretch.stop)
            filled = after
        return frames

    def _order(self, epoch: int) -> np.ndarray:
        return numpy_generator(self._seed, "stretch order", epoch).permutation(len(self._stretches))
