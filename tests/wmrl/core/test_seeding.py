import numpy as np
import pytest
import torch

from wmrl.core.seeding import integer_seed, numpy_generator, seed_sequence, torch_generator


def test_golden_numbers() -> None:
    # Seeds must never change between versions: results are named by them.
    assert integer_seed(0, "collect", 3) == 1127972135
    assert numpy_generator(1, "a").integers(1000, size=3).tolist() == [114, 522, 72]


def test_paths_are_streams_of_their_own() -> None:
    seeds = {
        integer_seed(seed, *path)
        for seed in range(5)
        for path in ([], ["a"], ["b"], ["a", 0], ["a", 1], [0, "a"], [0], [0, 0])
    }
    assert len(seeds) == 40


def test_same_path_same_numbers() -> None:
    first, second = (torch_generator(7, "x", 1) for _ in range(2))
    assert torch.equal(torch.randn(5, generator=first), torch.randn(5, generator=second))


def test_global_state_is_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    numpy_generator(0, "x").normal()
    torch.randn(3, generator=torch_generator(0, "x"))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_negative_seeds() -> None:
    with pytest.raises(ValueError, match="seed: expected at least 0, got -1"):
        seed_sequence(-1)
    with pytest.raises(
        ValueError, match="path: expected strings or non-negative integers as keys, got"
    ):
        seed_sequence(0, -2)
