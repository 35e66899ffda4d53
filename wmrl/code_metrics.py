"""How a codebook is used: perplexity, utilisation, effective rank."""

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
