import pytest

from wmrl.agents import seeds
from wmrl.agents.seeds import EVALUATION_SEEDS, evaluation_seeds, training_seed
from wmrl.core.seeding import integer_seed


def test_evaluation_seeds():
    assert evaluation_seeds(3) == (1_000_000, 1_000_001, 1_000_002)
    assert evaluation_seeds(1, first=1_999_999) == (1_999_999,)


@pytest.mark.parametrize(("count", "first"), [(1, 999_999), (2, 1_999_999), (1, 2_000_000)])
def test_evaluation_seeds_stay_in_their_range(count, first):
    with pytest.raises(ValueError, match=r"^first: expected .*; other seeds are for training"):
        evaluation_seeds(count, first=first)


def test_evaluation_needs_an_episode():
    with pytest.raises(ValueError, match="count: expected at least 1, got 0"):
        evaluation_seeds(0)


def test_training_seed_is_the_tree_s():
    assert training_seed(1, "a", 2) == integer_seed(1, "a", 2)


@pytest.mark.parametrize("drawn", [999_969, 999_999, 1_000_000, 1_500_000, 1_999_999, 2_000_000])
def test_training_never_meets_evaluation(monkeypatch, drawn):
    monkeypatch.setattr(seeds, "integer_seed", lambda *path: drawn)
    found = training_seed(0, span=32)
    assert not set(range(found, found + 32)) & set(EVALUATION_SEEDS)
