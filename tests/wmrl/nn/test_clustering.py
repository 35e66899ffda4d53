import pytest
import torch

from wmrl.nn.clustering import cluster_sums, kmeans, nearest


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_nearest_is_the_brute_force_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmrl.nn.clustering._MAX_PAIRS", 50)  # several parts
    vectors, codebook = random(40, 5), random(12, 5, seed=1)
    brute = [min(range(12), key=lambda k: float((v - codebook[k]).square().sum())) for v in vectors]
    assert nearest(vectors, codebook).tolist() == brute


def test_centers_are_the_means_of_their_clusters() -> None:
    vectors = random(200, 3)
    centers = kmeans(vectors, 6, steps=100, generator=torch.Generator().manual_seed(0))
    codes = nearest(vectors, centers)
    sizes, sums = cluster_sums(vectors, codes, 6)
    assert sizes.tolist() == torch.bincount(codes, minlength=6).tolist()
    torch.testing.assert_close(sums[2], vectors[codes == 2].sum(0))
    torch.testing.assert_close(centers, sums / sizes[:, None])


def test_more_clusters_than_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8, one per code, got 5; give more data"):
        kmeans(random(5, 2), 8, generator=torch.Generator())
