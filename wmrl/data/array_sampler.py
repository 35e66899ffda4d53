"""Shuffled batches of the rows of an array."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from wmrl.core.seeding import numpy_generator


class ImageFeed:
    """Shuffled batches; batch ``step`` is a pure function of (images, seed, step).

    Each epoch shows every image at most once, and drops those that do not fill a batch.

    Args:
        images: ``(N, ...)``.
        batch_size: B.
        seed: root of the order.

    Raises:
        ValueError: there are fewer than B images.
    """

    def __init__(self, images: np.ndarray, *, batch_size: int, seed: int) -> None:
        if len(images) < batch_size:
            raise ValueError(
                f"images: expected at least a batch of {batch_size}, got {len(images)}"
            )
        self._images, self._batch_size, self._seed = images, batch_size, seed
        self.steps_per_epoch = len(images) // batch_size
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def batch(self, step: int) -> Tensor:
        """``(B, ...)`` of one step."""
        return torch.from_numpy(self._images[self.rows(step)])

    def rows(self, step: int) -> np.ndarray:
        """Numbers ``(B,) int64`` of its images."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = numpy_generator(self._seed, "images", epoch)
            self._epoch, self._order = epoch, generator.permutation(len(self._images))
        return self._order[place * self._batch_size : (place + 1) * self._batch_size]


def digest_of(array: np.ndarray) -> str:
    """SHA-256 of an array's shape, type and bytes."""
    head = f"{array.shape} {array.dtype.str}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()
