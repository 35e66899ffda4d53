"""Shuffled batches of images in memory."""

import numpy as np
import torch
from torch import Tensor

from wmrl.core.seeding import numpy_generator
from wmrl.core.validation import check_int, check_seed


class ArraySampler:
    """Sampler of shuffled batches of images.

    A batch depends only on the images, the batch size, the seed and the index of the training step.
    Each epoch contains every image at most once; an incomplete last batch is dropped.

    Args:
        images: ``(N, ...)``, N images or other examples.
        batch_size: B, number of images in a batch.
        seed: root seed of the shuffling.

    Attributes:
        steps_per_epoch: number of batches in an epoch.

    Raises:
        ValueError: there are fewer than B images, or a number is out of range.
    """

    def __init__(self, images: np.ndarray, *, batch_size: int, seed: int) -> None:
        batch_size = check_int("batch_size", batch_size, at_least=1)
        if len(images) < batch_size:
            raise ValueError(
                f"images: expected at least {batch_size} (one batch), got {len(images)}; use a "
                "smaller batch_size"
            )
        self._images, self._batch_size, self._seed = images, batch_size, check_seed("seed", seed)
        self.steps_per_epoch = len(images) // batch_size
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def batch(self, step: int) -> Tensor:
        """Returns the batch for training step ``step``, from 0: images ``(B, ...)``."""
        return torch.from_numpy(self._images[self.rows(step)])

    def rows(self, step: int) -> np.ndarray:
        """Returns the indices ``(B,) int64`` of the images in the batch for step ``step``."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = numpy_generator(self._seed, "images", epoch)
            self._epoch, self._order = epoch, generator.permutation(len(self._images))
        return self._order[place * self._batch_size : (place + 1) * self._batch_size]
