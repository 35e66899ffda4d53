import math

import pytest
import torch

from wmrl.priors.baselines import ALPHAS, Bigram, CopyLast, Unigram, bits_per_dimension


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
    unigram = Unigram(after, 3)
    frequency = [unigram.log_likelihood(torch.tensor([[code]])).exp().item() for code in range(3)]
    copy = CopyLast(before, after, 3)
    stay = 2 / 5  # one of three stays; Laplace
    expected = [math.log(stay), math.log((1 - stay) * frequency[1] / (1 - frequency[0]))]
    found = [copy.log_likelihood(before[:1], torch.tensor([[code]])).item() for code in (0, 1)]
    assert found == pytest.approx(expected)
    bigram = Bigram(before, after, 3, alpha=1.0)
    single = frequency[2]
    found = bigram.log_likelihood(torch.tensor([[0]]), torch.tensor([[2]])).item()
    assert found == pytest.approx(math.log((1 + single) / 3))
    found = bigram.log_likelihood(torch.tensor([[2]]), torch.tensor([[2]])).item()  # never given
    assert found == pytest.approx(math.log(single))
    found = Unigram(after, 3, alpha=1.0).log_likelihood(torch.tensor([[2]])).item()
    assert found == pytest.approx(math.log((2 + 1 / 3) / 4))


def test_smoothing_is_chosen_by_what_is_counted() -> None:
    """Few counts of an even distribution need much of it, certain ones little."""
    assert Unigram(codes(60), 4).alpha >= 16
    assert Unigram(torch.zeros(60, 3, dtype=torch.int64), 4).alpha == min(ALPHAS)
    before = codes(60)
    assert Bigram(before, codes(60, seed=1), 4).alpha >= 16
    assert Bigram(before, (before + 1) % 4, 4).alpha == min(ALPHAS)


def test_pooled_pairs_are_of_all_places() -> None:
    before = torch.tensor([[3, 0], [1, 0]])  # 3 stands for none
    after = torch.tensor([[0, 1], [2, 1]])
    pooled = Bigram(before, after, 3, pooled=True, alpha=1.0)
    apart = Bigram(before, after, 3, alpha=1.0)
    asked = torch.tensor([[0, 3]]), torch.tensor([[1, 1]])
    single = Unigram(after, 3).log_likelihood(asked[1]).exp()[0]
    found = [model.log_likelihood(*asked).exp()[0].tolist() for model in (pooled, apart)]
    # Of two zeros given, both were followed by a 1, at the other place.
    assert found[0][0] == pytest.approx((2 + single[0].item()) / 3)
    assert found[1][0] == pytest.approx(single[0].item())
    # Of one blank given, none was, at the other place.
    assert found[0][1] == pytest.approx(single[1].item() / 2)
    assert found[1][1] == pytest.approx(single[1].item())


def test_predictable_codes_are_predicted() -> None:
    before = codes()
    turned = (before + 1) % 4
    assert Bigram(before, turned, 4).log_likelihood(before, turned).mean() > -0.1
    assert CopyLast(before, before, 4).log_likelihood(before, before).mean() > -0.1
    assert CopyLast(before, turned, 4).log_likelihood(before, turned).mean() < -1.0
    uneven = torch.zeros(100, 3, dtype=torch.int64)
    assert Unigram(uneven, 4).log_likelihood(uneven).mean() > -0.1


def test_bits() -> None:
    assert bits_per_dimension(784 * math.log(2), 784) == pytest.approx(1.0)
