"""How a codebook is used, and how it is spread: perplexity, utilisation, rank, alignment."""

import torch
from torch import Tensor


def code_counts(codes: Tensor, count: int) -> Tensor:
    """How often each of K codes occurs among ``codes (...) int64``: ``(K,) float64``."""
    return torch.bincount(codes.flatten(), minlength=count).double()


def perplexity(counts: Tensor) -> float:
    """exp(H) of the codes' frequencies: how many equally frequent codes would be as varied.

    Args:
        counts: ``(K,)``, how often each code occurs.

    Raises:
        ValueError: none occurs.
    """
    total = counts.sum()
    if not total > 0:
        raise ValueError("counts: expected at least one code, got none")
    share = counts.double() / total
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def utilisation(counts: Tensor) -> float:
    """Share of the K codes that occur at all."""
    return float((counts > 0).double().mean())


def effective_rank(vectors: Tensor) -> float:
    """exp(H) of the singular values' shares (Roy & Vetterli 2007, EUSIPCO, equation 1).

    1 where all vectors lie along one direction, min(N, D) where they spread evenly, and 0 where all
    are zero. Vectors are taken as they are, without their mean removed.

    Args:
        vectors: ``(N, D)``.
    """
    values = torch.linalg.svdvals(vectors.double())
    if not values.sum() > 0:
        return 0.0
    share = values / values.sum()
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def alignment(vectors: Tensor) -> dict[str, float]:
    """How much vectors ``(N, D)`` lie along the same few directions, whichever way they point.

    Vectors without a direction, which are zero, are left out. Give them without their mean to see
    whether it is only that which they share.

    Returns:
        ``mean_cosine`` and ``median_cosine`` of the |cos| of the angles of all pairs, which is 1 if
        all are along one line and 1/2 on average if directions in space are random; and
        ``first_share``, the first direction's share of the sum of squares (σ₁² / Σσ²), 1/D or more.

    Raises:
        ValueError: there are fewer than two vectors with a direction.
    """
    vectors = vectors.double()
    norms = vectors.norm(dim=1)
    vectors, norms = vectors[norms > 0], norms[norms > 0]
    if len(vectors) < 2:
        raise ValueError(f"vectors: expected at least two that are not zero, got {len(vectors)}")
    directions = vectors / norms[:, None]
    rows, columns = torch.triu_indices(len(vectors), len(vectors), 1)
    cosines = (directions @ directions.T)[rows, columns].abs().clamp(max=1.0)
    squares = torch.linalg.svdvals(vectors).square()
    return {
        "mean_cosine": float(cosines.mean()),
        "median_cosine": float(cosines.median()),
        "first_share": float(squares[0] / squares.sum()),
    }
