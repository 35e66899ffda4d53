import math

import pytest
import torch

from wmrl.nn.codebook_metrics import alignment, code_counts, effective_rank, perplexity, utilization


def test_counts() -> None:
    codes = torch.tensor([[0, 2], [2, 2]])
    assert code_counts(codes, 4).tolist() == [1.0, 0.0, 3.0, 0.0]


def test_perplexity_and_utilization() -> None:
    assert perplexity(torch.tensor([5.0, 5.0, 5.0, 5.0])) == pytest.approx(4.0)
    assert perplexity(torch.tensor([9.0, 0.0, 0.0])) == pytest.approx(1.0)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert perplexity(torch.tensor([1.0, 3.0])) == pytest.approx(math.exp(entropy))
    assert utilization(torch.tensor([5.0, 0.0, 1.0, 0.0])) == 0.5
    with pytest.raises(ValueError, match="counts: expected at least one code"):
        perplexity(torch.zeros(3))


def test_effective_rank() -> None:
    assert effective_rank(torch.eye(6)) == pytest.approx(6.0)
    line = torch.arange(1.0, 9.0)[:, None] * torch.tensor([1.0, -2.0, 0.5])
    assert effective_rank(line) == pytest.approx(1.0)
    # Singular values 3 and 1: shares 3/4 and 1/4.
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(math.exp(entropy))
    assert effective_rank(torch.zeros(3, 2)) == 0.0


def test_alignment() -> None:
    line = torch.tensor([1.0, -3.0, 0.0, 2.0])[:, None] * torch.tensor([1.0, -2.0, 0.5])
    assert alignment(line) == pytest.approx(
        {"mean_cosine": 1.0, "median_cosine": 1.0, "first_share": 1.0}
    )
    # Two along x, the other way round, and one along y: |cos| 1, 0, 0; squares 4 + 1 and 5.
    crossed = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [0.0, 5**0.5]])
    assert alignment(crossed) == pytest.approx(
        {"mean_cosine": 1 / 3, "median_cosine": 0.0, "first_share": 0.5}
    )
    random = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    found = alignment(random)
    assert found["mean_cosine"] == pytest.approx(0.5, abs=0.01)
    assert found["first_share"] == pytest.approx(1 / 3, abs=0.02)
    # A common offset alone aligns them.
    assert alignment(random + torch.tensor([9.0, 0.0, 0.0]))["mean_cosine"] > 0.9
    with pytest.raises(ValueError, match="vectors: expected at least two nonzero vectors, got 1"):
        alignment(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
