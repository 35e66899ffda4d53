"""What codes can be foretold by counting alone: baselines for memories and priors."""

import math

import torch
from torch import Tensor

ALPHAS = (0.25, 1.0, 4.0, 16.0, 64.0, 256.0)
"""Smoothings that are tried where none is given."""

_VALIDATION = 0.1  # share of what is counted that the smoothing is chosen by


class Unigram:
    """A code's probability by its frequency at its place.

    Args:
        codes: ``(N, T) int64``.
        count: K.
        alpha: observations that the even distribution over codes weighs as much as; if None, that
            of :data:`ALPHAS` by which the last tenth of the codes is foretold best.
    """

    def __init__(self, codes: Tensor, count: int, *, alpha: float | None = None) -> None:
        if alpha is None:
            kept, judged = _split(codes)
            alpha = max(
                ALPHAS,
                key=lambda a: float(Unigram(kept, count, alpha=a).log_likelihood(judged).sum()),
            )
        self.alpha = alpha
        places = codes.shape[1]
        offset = count * torch.arange(places)
        times = torch.bincount((offset + codes).flatten(), minlength=places * count).double()
        self._log = torch.log((times + alpha / count) / (len(codes) + alpha))
        self._count = count

    def log_likelihood(self, codes: Tensor) -> Tensor:
        """Log-probability of each code, ``(N, T) float64`` in nats."""
        return self._log[self._count * torch.arange(codes.shape[1]) + codes]


class CopyLast:
    """The next frame's code at a place is the last one's, with a probability for each place.

    If it is not, it is another one by the codes' frequencies at that place.

    Args:
        before: ``(N, T) int64``, codes of frames.
        after: ``(N, T) int64``, of the frames that followed.
        count: K.
    """

    def __init__(self, before: Tensor, after: Tensor, count: int) -> None:
        stays = (before == after).double().sum(0)
        self._stay = (stays + 1.0) / (len(before) + 2.0)  # (T,), Laplace's rule
        self._other = Unigram(after, count)

    def log_likelihood(self, before: Tensor, after: Tensor) -> Tensor:
        """Log-probability of each code, ``(N, T) float64`` in nats."""
        taken = self._other.log_likelihood(before).exp()  # of the code that it would not be
        other = self._other.log_likelihood(after) - torch.log1p(-taken)
        change = torch.log(1.0 - self._stay) + other
        return torch.where(before == after, torch.log(self._stay), change)


class Bigram:
    """A code's probability given one other code, by smoothed counts.

    The counts are mixed with the :class:`Unigram` of the code's place: α of it weighs as much as α
    observations.

    Args:
        before: ``(N, T) int64``, the codes that are given, 0 … K; K may stand for none.
        after: ``(N, T) int64``, those to foretell.
        count: K.
        pooled: count pairs over all places together rather than for each.
        alpha: α; if None, that of :data:`ALPHAS` by which the last tenth of the codes is foretold
            best.
    """

    def __init__(
        self,
        before: Tensor,
        after: Tensor,
        count: int,
        *,
        pooled: bool = False,
        alpha: float | None = None,
    ) -> None:
        if alpha is None:
            (kept, judged), (now, then) = _split(before), _split(after)

            def quality(alpha: float) -> float:
                tried = Bigram(kept, now, count, pooled=pooled, alpha=alpha)
                return float(tried.log_likelihood(judged, then).sum())

            alpha = max(ALPHAS, key=quality)
        self.alpha, self._count, self._pooled = alpha, count, pooled
        self._single = Unigram(after, count)
        # Sparse: most pairs never occur.
        self._pairs, self._times = torch.unique(self._pair(before, after), return_counts=True)
        rows = (count + 1) * (1 if pooled else before.shape[1])
        self._given = torch.bincount(self._row(before).flatten(), minlength=rows)

    def log_likelihood(self, before: Tensor, after: Tensor) -> Tensor:
        """Log-probability of each code, ``(N, T) float64`` in nats."""
        single = self._single.log_likelihood(after).exp()
        pair = self._pair(before, after)
        index = torch.searchsorted(self._pairs, pair).clamp(max=len(self._pairs) - 1)
        times = torch.where(self._pairs[index] == pair, self._times[index], 0).double()
        given = self._given[self._row(before)].double()
        return torch.log((times.view_as(single) + self.alpha * single) / (given + self.alpha))

    def _row(self, before: Tensor) -> Tensor:
        if self._pooled:
            return before
        return (self._count + 1) * torch.arange(before.shape[1]) + before

    def _pair(self, before: Tensor, after: Tensor) -> Tensor:
        return (self._row(before) * self._count + after).flatten()


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """Nats of a whole image as bits for each of its numbers."""
    return nats / (dimensions * math.log(2.0))


def _split(codes: Tensor) -> tuple[Tensor, Tensor]:
    """All but the last tenth of the rows, and those; at least one each."""
    judged = max(1, round(_VALIDATION * len(codes)))
    return codes[: max(1, len(codes) - judged)], codes[-judged:]
