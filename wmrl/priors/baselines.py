"""Count-based predictors of codes: baselines for memory models and code priors."""

import math

import torch
from torch import Tensor

ALPHAS = (0.25, 1.0, 4.0, 16.0, 64.0, 256.0)
"""Candidates for the smoothing parameter ``alpha`` of :class:`Unigram` and :class:`Bigram`.

If ``alpha`` is None, the candidate that best predicts held-out codes is used.
"""

_VALIDATION = 0.1  # share of the data that is held out to choose the smoothing parameter


class Unigram:
    """Predictor of codes from the smoothed frequencies of codes at each position.

    Args:
        codes: ``(N, T) int64``, codes of N images or frames at T positions.
        codebook_size: K, number of codes in the codebook.
        alpha: smoothing parameter α: at each position, α/K is added to the count of each code. If
            None, each value in :data:`ALPHAS` is tried: a predictor is fitted to the first 90 % of
            the images or frames, and evaluated on the last 10 %. The value with the highest
            likelihood is used.
    """

    def __init__(self, codes: Tensor, codebook_size: int, *, alpha: float | None = None) -> None:
        if alpha is None:
            kept, judged = _split(codes)
            alpha = max(
                ALPHAS,
                key=lambda a: float(
                    Unigram(kept, codebook_size, alpha=a).log_likelihood(judged).sum()
                ),
            )
        self.alpha = alpha
        places = codes.shape[1]
        offset = codebook_size * torch.arange(places)
        times = torch.bincount(
            (offset + codes).flatten(), minlength=places * codebook_size
        ).double()
        self._log = torch.log((times + alpha / codebook_size) / (len(codes) + alpha))
        self._codebook_size = codebook_size

    def log_likelihood(self, codes: Tensor) -> Tensor:
        """Computes the log-probabilities ``(N, T) float64`` of codes ``(N, T) int64``, in nats."""
        return self._log[self._codebook_size * torch.arange(codes.shape[1]) + codes]


class CopyLast:
    """Predictor of the next frame's codes, based on how often each position keeps its code.

    If a code changes, the previous code is ruled out. The probabilities of the remaining codes are
    then proportional to their smoothed frequencies at the same position.

    Args:
        before: ``(N, T) int64``, codes of N frames.
        after: ``(N, T) int64``, codes of the N next frames.
        codebook_size: K, number of codes in the codebook.
    """

    def __init__(self, before: Tensor, after: Tensor, codebook_size: int) -> None:
        stays = (before == after).double().sum(0)
        self._stay = (stays + 1.0) / (len(before) + 2.0)  # (T,), rule of succession
        self._other = Unigram(after, codebook_size)

    def log_likelihood(self, before: Tensor, after: Tensor) -> Tensor:
        """Computes log p(after | before) in nats for each pair of codes, ``(N, T) float64``."""
        taken = self._other.log_likelihood(before).exp()  # probability of the previous code
        other = self._other.log_likelihood(after) - torch.log1p(-taken)
        change = torch.log(1.0 - self._stay) + other
        return torch.where(before == after, torch.log(self._stay), change)


class Bigram:
    """Predictor of a code from one other code, based on smoothed counts of pairs.

    The probability of code j after code i is (n_ij + α · p_j) / (n_i + α). Here, n_ij is the number
    of times that j follows i, n_i is the number of times that any code follows i, and p_j is the
    probability of j according to :class:`Unigram` at the same position.

    Args:
        before: ``(N, T) int64``, codes to predict from, in 0 … K. K can stand for "no code".
        after: ``(N, T) int64``, codes to predict, in 0 … K − 1.
        codebook_size: K, number of codes in the codebook.
        pooled: True to count the pairs of all positions together; False to count the pairs of each
            position separately.
        alpha: smoothing parameter α. If None, each value in :data:`ALPHAS` is tried: a predictor is
            fitted to the first 90 % of the data (along the first axis), and evaluated on the last
            10 %. The value with the highest likelihood is used.
    """

    def __init__(
        self,
        before: Tensor,
        after: Tensor,
        codebook_size: int,
        *,
        pooled: bool = False,
        alpha: float | None = None,
    ) -> None:
        if alpha is None:
            (kept, judged), (now, then) = _split(before), _split(after)

            def quality(alpha: float) -> float:
                tried = Bigram(kept, now, codebook_size, pooled=pooled, alpha=alpha)
                return float(tried.log_likelihood(judged, then).sum())

            alpha = max(ALPHAS, key=quality)
        self.alpha, self._codebook_size, self._pooled = alpha, codebook_size, pooled
        self._single = Unigram(after, codebook_size)
        # Only pairs that occur are stored, because most never do.
        self._pairs, self._times = torch.unique(self._pair(before, after), return_counts=True)
        rows = (codebook_size + 1) * (1 if pooled else before.shape[1])
        self._given = torch.bincount(self._row(before).flatten(), minlength=rows)

    def log_likelihood(self, before: Tensor, after: Tensor) -> Tensor:
        """Computes log p(after | before) in nats for each pair of codes, ``(N, T) float64``."""
        single = self._single.log_likelihood(after).exp()
        pair = self._pair(before, after)
        index = torch.searchsorted(self._pairs, pair).clamp(max=len(self._pairs) - 1)
        times = torch.where(self._pairs[index] == pair, self._times[index], 0).double()
        given = self._given[self._row(before)].double()
        return torch.log((times.view_as(single) + self.alpha * single) / (given + self.alpha))

    def _row(self, before: Tensor) -> Tensor:
        if self._pooled:
            return before
        return (self._codebook_size + 1) * torch.arange(before.shape[1]) + before

    def _pair(self, before: Tensor, after: Tensor) -> Tensor:
        return (self._row(before) * self._codebook_size + after).flatten()


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """Converts the negative log-likelihood of an image from nats to bits per dimension.

    Args:
        nats: negative log-likelihood of the image in nats.
        dimensions: number of values in the image, which is height · width · channels.
    """
    return nats / (dimensions * math.log(2.0))


def _split(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Splits codes ``(N, T)`` along the first axis, into the first 90 % and the last 10 %.

    Each part has a length of at least 1. If N = 1, each part is the whole tensor.
    """
    last = max(1, round(_VALIDATION * len(codes)))
    return codes[: max(1, len(codes) - last)], codes[-last:]
