"""Likelihood of pixels given their decoded means, for the evidence bound of a VQ-VAE."""

import torch
import torch.nn.functional as F
from torch import Tensor

from wmrl.core.validation import check_int

_LEVELS = 256
_FITTED_PIXELS = 2**20


def log_probability(targets: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Computes the log-probability of each pixel under a discretized logistic, in nats.

    The probability of a pixel value is the mass of a logistic distribution between half a level
    below and half a level above it. The values 0 and 255 also receive the mass in the tails. See
    Salimans et al. 2017 (https://arxiv.org/abs/1701.05517), equation 2, with one component.

    Args:
        targets: pixel values, ``(...) uint8``.
        means: means of the logistics, ``(...) float32``; 0 is black and 1 is white.
        scales: scales of the logistics, ``(...) float32``, above 0 and in the unit of ``means``.

    Returns:
        Log-probabilities, ``(...) float32``.
    """
    level = targets.to(means.dtype)
    above = ((level + 0.5) / (_LEVELS - 1) - means) / scales
    below = ((level - 0.5) / (_LEVELS - 1) - means) / scales
    # σ(a) − σ(b) = σ(a) σ(−b) (1 − exp(b − a)); the logarithm of the product is free of
    # cancellation.
    inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(below - above))
    inside = torch.where(targets == 0, F.logsigmoid(above), inside)
    return torch.where(targets == _LEVELS - 1, F.logsigmoid(-below), inside)


class DiscretizedLogistic:
    """Discretized logistic distribution of a pixel, given its brightness in the decoded image.

    Each range of decoded brightness has its own scale. A pixel that is decoded as dark is almost
    surely black, while one that is decoded as gray may have any value. A single scale would fit
    neither.

    Args:
        targets: images to which the scales are fitted, ``(N, ...) uint8``. They should be training
            images of the decoder.
        means: decoded images in [0, 1], ``(N, ...) float32``.
        ranges: R, number of brightness ranges. For a range without decoded pixels, the scale is the
            mean absolute error of all pixels.
        steps: number of steps of Adam that fit the scales.
        seed: seed of the choice of pixels. If there are more than about a million pixels, the
            scales are fitted to a random choice of about a million.

    Attributes:
        scales: scale of each range, ``(R,) float32``.

    Raises:
        ValueError: the shapes differ, there are no pixels, or ``ranges`` is below 1.
    """

    def __init__(
        self, targets: Tensor, means: Tensor, *, ranges: int = 32, steps: int = 200, seed: int = 0
    ) -> None:
        if targets.shape != means.shape:
            raise ValueError(
                f"means: expected the targets' shape {tuple(targets.shape)}, got "
                f"{tuple(means.shape)}"
            )
        if not targets.numel():
            raise ValueError(
                f"targets: expected at least one pixel, got shape {tuple(targets.shape)}"
            )
        check_int("ranges", ranges, at_least=1)
        self._ranges = ranges
        targets, means = targets.flatten(), means.detach().flatten()
        if len(targets) > _FITTED_PIXELS:
            generator = torch.Generator().manual_seed(seed)
            chosen = torch.randint(len(targets), (_FITTED_PIXELS,), generator=generator)
            targets, means = (part[chosen.to(part.device)] for part in (targets, means))
        row = self._range_of(means)
        error = (means - targets / (_LEVELS - 1)).abs()
        count = torch.bincount(row, minlength=ranges)
        spread = torch.zeros(ranges, device=means.device).index_add_(0, row, error)
        typical = torch.where(count > 0, spread / count.clamp(min=1), error.mean())
        log_scales = typical.clamp(min=1e-4).log()[:, None].requires_grad_()
        optimizer = torch.optim.Adam([log_scales], 0.05)
        for _ in range(steps):
            optimizer.zero_grad()
            # The loss is a mean, so that its gradient does not grow with the number of pixels.
            scales = F.embedding(row, log_scales.exp())[:, 0]  # sums its gradient in a fixed order
            fitted = log_probability(targets, means, scales)
            (-fitted.mean()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.scales = log_scales.detach().exp()[:, 0]

    def log_likelihood(self, targets: Tensor, means: Tensor) -> Tensor:
        """Computes the log-probability of images, summed over their pixels.

        Args:
            targets: images, ``(B, ...) uint8``.
            means: decoded images in [0, 1], ``(B, ...) float32``.

        Returns:
            Log-probabilities, ``(B,)`` in nats.
        """
        return log_probability(targets, means, self.scales[self._range_of(means)]).flatten(1).sum(1)

    def _range_of(self, means: Tensor) -> Tensor:
        return (means * self._ranges).long().clamp(0, self._ranges - 1)
