import math

import pytest
import torch

from wmrl.code_metrics import code_counts, effective_rank, perplexity, utilisation


def test_counts() -> None:
    codes = torch.tensor([[0, 2], [2, 2]])
    assert code_counts(codes, 4).tolist() == [1.0, 0.0, 3.0, 0.0]


def test_perplexity_and_utilisation() -> None:
    assert perplexity(torch.tensor([5.0, 5.0, 5.0, 5.0])) == pytest.approx(4.0)
    assert perplexity(torch.tensor([9.0, 0.0, 0.0])) == pytest.approx(1.0)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert perplexity(torch.tensor([1.0, 3.0])) == pytest.approx(math.exp(entropy))
    assert utilisation(torch.tensor([5.0, 0.0, 1.0, 0.0])) == 0.5
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
