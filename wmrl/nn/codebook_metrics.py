"""Metrics of a codebook: how often its codes occur, and how their vectors are arranged."""

import torch
from torch import Tensor


def code_counts(codes: Tensor, codebook_size: int) -> Tensor:
    """Counts how often each code occurs.

    Args:
        codes: observed codes, ``(...) int64`` in 0 … K − 1.
        codebook_size: K, number of codes.

    Returns:
        Count of each code, ``(K,) float64``.
    """
    return torch.bincount(codes.flatten(), minlength=codebook_size).double()


def perplexity(counts: Tensor) -> float:
    """Computes the perplexity of the codes' frequencies: the effective number of codes in use.

    The perplexity is exp(H), where H is the entropy of the frequencies in nats. For example, if n
    codes are equally frequent and the other codes do not occur, the perplexity is n.

    Args:
        counts: ``(K,)``, number of occurrences of each code.

    Raises:
        ValueError: no code occurs.

    Example:
        >>> import torch
        >>> from wmrl.nn import code_counts, perplexity, utilization
        >>> counts = code_counts(torch.tensor([0, 0, 1, 1]), 4)
        >>> round(perplexity(counts), 3), utilization(counts)
        (2.0, 0.5)
    """
    total = counts.sum()
    if not total > 0:
        raise ValueError("counts: expected at least one code that occurs, got only zeros")
    share = counts.double() / total
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def utilization(counts: Tensor) -> float:
    """Computes the share of codes that occur at least once, given the codes' counts ``(K,)``."""
    return float((counts > 0).double().mean())


def effective_rank(vectors: Tensor) -> float:
    """Computes the effective rank of vectors ``(N, D)``.

    The effective rank is exp(H), where H is the entropy in nats of the singular values after their
    normalization to a sum of 1. The effective rank is 1 if all vectors are collinear, min(N, D) if
    all singular values are equal, and 0 if all vectors are zero. The mean of the vectors is not
    subtracted. Source: Roy and Vetterli 2007, "The effective rank: A measure of effective
    dimensionality", EUSIPCO, equation 1.
    """
    values = torch.linalg.svdvals(vectors.double())
    if not values.sum() > 0:
        return 0.0
    share = values / values.sum()
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def alignment(vectors: Tensor) -> dict[str, float]:
    """Measures how close vectors ``(N, D)`` are to lying on one line through the origin.

    Opposite vectors count as aligned. Zero vectors are left out. The mean of the vectors is not
    subtracted.

    Returns:
        ``mean_cosine`` and ``median_cosine`` are the mean and the median of the absolute cosine,
        over all pairs of vectors. Both are 1 if all vectors are collinear, and about 1/2 for random
        directions in three dimensions. ``first_share`` is σ₁² / Σσ², the share of the largest
        squared singular value in the sum of all squared singular values.

    Raises:
        ValueError: there are fewer than two nonzero vectors.
    """
    vectors = vectors.double()
    norms = vectors.norm(dim=1)
    vectors, norms = vectors[norms > 0], norms[norms > 0]
    if len(vectors) < 2:
        raise ValueError(f"vectors: expected at least two nonzero vectors, got {len(vectors)}")
    directions = vectors / norms[:, None]
    rows, columns = torch.triu_indices(len(vectors), len(vectors), 1)
    cosines = (directions @ directions.T)[rows, columns].abs().clamp(max=1.0)
    squares = torch.linalg.svdvals(vectors).square()
    return {
        "mean_cosine": float(cosines.mean()),
        "median_cosine": float(cosines.median()),
        "first_share": float(squares[0] / squares.sum()),
    }
