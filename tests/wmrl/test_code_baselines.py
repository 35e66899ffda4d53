import math

import pytest
import torch

from wmrl.code_baselines import Bigram, CopyLast, Unigram, bits_per_dimension


def codes(rows: int = 400, seed: int = 0) -> torch.Tensor:
    return torch.randint(4, (rows, 3), generator=torch.Generator().manual_seed(seed))


def test_each_is_a_distribution() -> None:
    before, after = codes(), codes(seed=1)
    models = [CopyLast(before, after, 4), Bigram(before, after, 4)]
    for given in range(4):
        row = torch.full((1, 3), given)
        for model in models:
            total = sum(
                model.log_likelihood(row, torch.full((1, 3), code)).exp() for code in range(4)
            )
            torch.testing.assert_close(total, torch.ones(1, 3).double())
    unigram = Unigram(after, 4)
    total = sum(unigram.log_likelihood(torch.full((1, 3), code)).exp() for code in range(4))
    torch.testing.assert_close(total, torch.ones(1, 3).double())


def test_golden_numbers() -> None:
    before = torch.tensor([[0], [0], [1]])
    after = torch.tensor([[0], [2], [2]])
    copy = CopyLast(before, after, 3)
    stay = 2 / 5  # one of three stays; Laplace
    expected = [math.log(stay), math.log((1 - stay) / 2)]
    found = [copy.log_likelihood(before[:1], torch.tensor([[code]])).item() for code in (0, 1)]
    assert found == pytest.approx(expected)
    bigram = Bigram(before, after, 3, alpha=1.0)
    single = (2 + 1 / 3) / 4  # of code 2
    found = bigram.log_likelihood(torch.tensor([[0]]), torch.tensor([[2]])).item()
    assert found == pytest.approx(math.log((1 + single) / 3))
    found = bigram.log_likelihood(torch.tensor([[2]]), torch.tensor([[2]])).item()  # never given
    assert found == pytest.approx(math.log(single))
    assert Unigram(after, 3).log_likelihood(torch.tensor([[2]])).item() == pytest.approx(
        math.log(single)
    )


def test_what_can_be_foretold_is() -> None:
    before = codes()
    turned = (before + 1) % 4
    assert Bigram(before, turned, 4).log_likelihood(before, turned).mean() > -0.1
    assert CopyLast(before, before, 4).log_likelihood(before, before).mean() > -0.1
    assert CopyLast(before, turned, 4).log_likelihood(before, turned).mean() < -1.0
    uneven = torch.zeros(100, 3, dtype=torch.int64)
    assert Unigram(uneven, 4).log_likelihood(uneven).mean() > -0.1


def test_bits() -> None:
    assert bits_per_dimension(784 * math.log(2), 784) == pytest.approx(1.0)
