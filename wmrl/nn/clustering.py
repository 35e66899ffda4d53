"""Clustering of vectors for codebooks: nearest codes, k-means, and sums per cluster."""

import torch
from torch import Tensor

from wmrl.core.validation import check_int

# Maximum number of distances between vectors and codes in memory at once.
_MAX_PAIRS = 2**24


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Finds the nearest code of each vector by Euclidean distance.

    Args:
        vectors: N vectors, ``(N, D)``.
        codebook: vectors of the K codes, ``(K, D)``.

    Returns:
        Codes ``(N,) int64`` in 0 … K − 1.
    """
    offsets = 0.5 * codebook.square().sum(1)
    if torch.compiler.is_exporting():  # a graph would hold the parts of one number of vectors
        return (offsets - vectors @ codebook.T).argmin(1)
    rows = max(1, _MAX_PAIRS // len(codebook))
    parts = [(offsets - part @ codebook.T).argmin(1) for part in torch.split(vectors, rows)]
    return torch.cat(parts)


def kmeans(
    vectors: Tensor, codebook_size: int, *, steps: int = 10, generator: torch.Generator
) -> Tensor:
    """Clusters vectors by Lloyd's algorithm, and returns the clusters' centers ``(K, D)``.

    Args:
        vectors: N vectors, ``(N, D)``.
        codebook_size: K, number of clusters.
        steps: number of iterations.
        generator: random generator that chooses K vectors as the initial centers.

    Raises:
        ValueError: there are fewer vectors than clusters, ``codebook_size`` is below 1, or
            ``steps`` is negative.
    """
    check_int("codebook_size", codebook_size, at_least=1)
    check_int("steps", steps, at_least=0)
    if len(vectors) < codebook_size:
        raise ValueError(
            f"vectors: expected at least {codebook_size}, one per code, got {len(vectors)}; give "
            "more data, or choose a smaller codebook_size"
        )
    order = torch.randperm(len(vectors), generator=generator, device=generator.device)
    centers = vectors[order[:codebook_size].to(vectors.device)].clone()
    for _ in range(steps):
        sizes, sums = cluster_sums(vectors, nearest(vectors, centers), codebook_size)
        centers = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1.0)[:, None], centers)
    return centers


def cluster_sums(vectors: Tensor, codes: Tensor, codebook_size: int) -> tuple[Tensor, Tensor]:
    """Computes the number and the sum of the vectors of each code.

    Args:
        vectors: N vectors, ``(N, D) float32``.
        codes: ``(N,) int64`` in 0 … K − 1, the code of each vector.
        codebook_size: K, number of codes.

    Returns:
        Counts ``(K,)`` and sums ``(K, D)``, both float32.
    """
    # bincount is not used, because it reads the codes on the host and so waits for the device.
    sizes = vectors.new_zeros(codebook_size).index_add_(0, codes, vectors.new_ones(len(codes)))
    sums = vectors.new_zeros(codebook_size, vectors.shape[1]).index_add_(0, codes, vectors)
    return sizes, sums
