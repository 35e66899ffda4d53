"""Causal cores: steps equal sequences, and nothing looks ahead."""

import pytest
import torch

from wmrl.nn.sequence_models import Core, LSTMCore, TransformerCore, make_core

CORES = {
    "lstm": lambda: LSTMCore(3, 8, 2),
    "transformer": lambda: TransformerCore(3, 8, layers=2, heads=2, context=5),
}


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Core:
    torch.manual_seed(0)
    made: Core = CORES[request.param]()
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return made.double().eval()


def inputs(steps: int, rows: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, steps, 3, generator=generator, dtype=torch.float64)


@torch.no_grad()
def test_steps_equal_the_sequence(core: Core) -> None:
    x = inputs(13)
    state = tuple(map(_double, core.initial_state(4)))
    whole, last = core(x, state)
    assert whole.shape == (4, 13, core.feature_size)
    for t in range(13):
        features, state = core.step(x[:, t], state)
        torch.testing.assert_close(features, whole[:, t])
    for one, other in zip(state, last, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
@pytest.mark.parametrize("cut", [1, 3, 8, 12])
def test_a_state_goes_on_with_the_sequence(core: Core, cut: int) -> None:
    x = inputs(13)
    whole, _ = core(x, tuple(map(_double, core.initial_state(4))))
    first, state = core(x[:, :cut], tuple(map(_double, core.initial_state(4))))
    second, _ = core(x[:, cut:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole)


@torch.no_grad()
def test_nothing_looks_ahead(core: Core) -> None:
    x = inputs(9)
    before, _ = core(x, tuple(map(_double, core.initial_state(4))))
    x[:, 6] += 1
    after, _ = core(x, tuple(map(_double, core.initial_state(4))))
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.isclose(before[:, 6], after[:, 6]).all()


@torch.no_grad()
def test_rows_may_begin_at_different_times(core: Core) -> None:
    x = inputs(10)
    whole, _ = core(x[:, 4:], tuple(map(_double, core.initial_state(4))))
    state = tuple(map(_double, core.initial_state(4)))
    blank = state
    for t in range(10):
        if t == 4:
            late = torch.tensor([False, True, False, True])
            state = tuple(
                torch.where(late.view(-1, *[1] * (a.ndim - 1)), b, a)
                for a, b in zip(state, blank, strict=True)
            )
        features, state = core.step(x[:, t], state)
        if t >= 4:
            torch.testing.assert_close(features[1], whole[1, t - 4])
            torch.testing.assert_close(features[3], whole[3, t - 4])


@torch.no_grad()
def test_a_transformer_forgets_what_left_its_window() -> None:
    torch.manual_seed(0)
    core = TransformerCore(3, 8, layers=1, heads=2, context=5).double().eval()
    x = inputs(12)
    before, _ = core(x, tuple(map(_double, core.initial_state(4))))
    x[:, 3] += 1
    after, _ = core(x, tuple(map(_double, core.initial_state(4))))
    assert not torch.isclose(before[:, 7], after[:, 7]).all()
    torch.testing.assert_close(before[:, 8:], after[:, 8:])


def test_the_first_state_of_an_lstm_is_learned() -> None:
    core = LSTMCore(3, 8)
    features, _ = core(inputs(4).float(), core.initial_state(4))
    features.sum().backward()
    for parameter in (core.first_hidden, core.first_cell):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    assert "first_hidden" in core.state_dict()


def test_wrong_options_are_named() -> None:
    with pytest.raises(ValueError, match="size: expected a multiple of the 4 heads, got 6"):
        TransformerCore(3, 6, heads=4)
    with pytest.raises(ValueError, match="context: expected at least 1"):
        TransformerCore(3, 8, context=0)
    with pytest.raises(ValueError, match="core: expected 'lstm' or 'transformer', got 'gru'"):
        make_core("gru", 3, size=8, layers=1, context=4)  # type: ignore[arg-type]


def _double(part: torch.Tensor) -> torch.Tensor:
    return part.double() if part.is_floating_point() else part
