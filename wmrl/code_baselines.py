"""What codes can be foretold by counting alone: baselines for memories and priors."""

import math

import torch
from torch import Tensor


class CopyLast:
    """The next frame's code at a place is the last one's, with a probability for each place.

    Args:
        before: ``(N, T) int64``, codes of frames.
        after: ``(N, T) int64``, of the frames that followed.
        count: K.
    """

    def __init__(self, before: Tensor, after: Tensor, count: int) -> None:
        stays = (before == after).double().sum(0)
        self._stay = (stays + 1.0) / (len(before) + 2.0)  # (T,), Laplace's rule
        self._count = count

    def log_likelihood(self, before: Tensor, after: Tensor) -> Tensor:
        """Log-probability of each code, ``(N, T) float64`` in nats."""
        other = torch.log((1.0 - self._stay) / max(self._count - 1, 1))
        return torch.where(before == after, torch.log(self._stay), other)


class Bigram:
    """A code's probability given one other code, for each place, by smoothed counts.

    The counts are mixed with the place's own frequencies, which are mixed with 1 / K: α of the
    former weighs as much as α observations.

    Args:
        before: ``(N, T) int64``, the codes that are given.
        after: ``(N, T) int64``, those to foretell.
        count: K.
        alpha: α.
    """

    def __init__(self, before: Tensor, after: Tensor, count: int, *, alpha: float = 1.0) -> None:
        places = before.shape[1]
        offset = count * torch.arange(places)
        self._alpha, self._count = alpha, count
        self._single = torch.bincount((offset + after).flatten(), minlength=places * count)
        pairs = (offset + before).flatten() * count + after.flatten()
        # Sparse: most pairs never occur.
        self._pairs, self._times = torch.unique(pairs, return_counts=True)
        self._given = torch.bincount((offset + before).flatten(), minlength=places * count)
        self._total = float(len(after))

    def log_likelihood(self, before: Tensor, after: Tensor) -> Tensor:
        """Log-probability of each code, ``(N, T) float64`` in nats."""
        offset = self._count * torch.arange(before.shape[1])
        row, target = offset + before, offset + after
        alpha = self._alpha
        single = (self._single[target].double() + alpha / self._count) / (self._total + alpha)
        pair = row * self._count + after
        index = torch.searchsorted(self._pairs, pair.flatten()).clamp(max=len(self._pairs) - 1)
        found = self._pairs[index] == pair.flatten()
        times = torch.where(found, self._times[index], 0).view_as(pair).double()
        return torch.log((times + alpha * single) / (self._given[row].double() + alpha))


class Unigram:
    """A code's probability by its frequency at its place.

    Args:
        codes: ``(N, T) int64``.
        count: K.
        alpha: observations that the even distribution over codes weighs as much as.
    """

    def __init__(self, codes: Tensor, count: int, *, alpha: float = 1.0) -> None:
        places = codes.shape[1]
        offset = count * torch.arange(places)
        times = torch.bincount((offset + codes).flatten(), minlength=places * count).double()
        self._log = torch.log((times + alpha / count) / (len(codes) + alpha))
        self._count = count

    def log_likelihood(self, codes: Tensor) -> Tensor:
        """Log-probability of each code, ``(N, T) float64`` in nats."""
        return self._log[self._count * torch.arange(codes.shape[1]) + codes]


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """Nats of a whole image as bits for each of its numbers."""
    return nats / (dimensions * math.log(2.0))
