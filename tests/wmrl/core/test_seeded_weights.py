import torch
from torch import nn

from wmrl.core.seeding import seeded_weights


def _weights(generator: torch.Generator | None) -> torch.Tensor:
    with seeded_weights(generator):
        return nn.Linear(3, 2).weight.detach()


def test_weights_are_a_function_of_the_generator() -> None:
    one, two = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    first = _weights(one)
    assert torch.equal(first, _weights(torch.Generator().manual_seed(1)))
    assert not torch.equal(first, _weights(two))
    assert not torch.equal(first, _weights(one))  # the generator moved on
    assert torch.equal(_weights(None), _weights(None))


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    _weights(torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
