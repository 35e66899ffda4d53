"""Causal sequence models: steps equal sequences, and nothing looks ahead."""

import pytest
import torch

from wmrl.nn.sequence_models import LSTMModel, SequenceModel, TransformerModel, make_sequence_model

SEQUENCE_MODELS = {
    "lstm": lambda: LSTMModel(3, 8, 2),
    "transformer": lambda: TransformerModel(3, 8, num_layers=2, num_heads=2, context=5),
}


@pytest.fixture(params=SEQUENCE_MODELS)
def sequence_model(request: pytest.FixtureRequest) -> SequenceModel:
    torch.manual_seed(0)
    made: SequenceModel = SEQUENCE_MODELS[request.param]()
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return made.double().eval()


def inputs(steps: int, rows: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, steps, 3, generator=generator, dtype=torch.float64)


@torch.no_grad()
def test_steps_equal_the_sequence(sequence_model: SequenceModel) -> None:
    x = inputs(13)
    state = tuple(map(_double, sequence_model.initial_state(4)))
    whole, last = sequence_model(x, state)
    assert whole.shape == (4, 13, sequence_model.feature_dim)
    for t in range(13):
        features, state = sequence_model.step(x[:, t], state)
        torch.testing.assert_close(features, whole[:, t])
    for one, other in zip(state, last, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
@pytest.mark.parametrize("cut", [1, 3, 8, 12])
def test_a_state_goes_on_with_the_sequence(sequence_model: SequenceModel, cut: int) -> None:
    x = inputs(13)
    whole, _ = sequence_model(x, tuple(map(_double, sequence_model.initial_state(4))))
    first, state = sequence_model(x[:, :cut], tuple(map(_double, sequence_model.initial_state(4))))
    second, _ = sequence_model(x[:, cut:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole)


@torch.no_grad()
def test_nothing_looks_ahead(sequence_model: SequenceModel) -> None:
    x = inputs(9)
    before, _ = sequence_model(x, tuple(map(_double, sequence_model.initial_state(4))))
    x[:, 6] += 1
    after, _ = sequence_model(x, tuple(map(_double, sequence_model.initial_state(4))))
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.isclose(before[:, 6], after[:, 6]).all()


@torch.no_grad()
def test_rows_may_begin_at_different_times(sequence_model: SequenceModel) -> None:
    x = inputs(10)
    whole, _ = sequence_model(x[:, 4:], tuple(map(_double, sequence_model.initial_state(4))))
    state = tuple(map(_double, sequence_model.initial_state(4)))
    blank = state
    for t in range(10):
        if t == 4:
            late = torch.tensor([False, True, False, True])
            state = tuple(
                torch.where(late.view(-1, *[1] * (a.ndim - 1)), b, a)
                for a, b in zip(state, blank, strict=True)
            )
        features, state = sequence_model.step(x[:, t], state)
        if t >= 4:
            torch.testing.assert_close(features[1], whole[1, t - 4])
            torch.testing.assert_close(features[3], whole[3, t - 4])


@torch.no_grad()
def test_a_transformer_forgets_what_left_its_window() -> None:
    torch.manual_seed(0)
    sequence_model = TransformerModel(3, 8, num_layers=1, num_heads=2, context=5).double().eval()
    x = inputs(12)
    before, _ = sequence_model(x, tuple(map(_double, sequence_model.initial_state(4))))
    x[:, 3] += 1
    after, _ = sequence_model(x, tuple(map(_double, sequence_model.initial_state(4))))
    assert not torch.isclose(before[:, 7], after[:, 7]).all()
    torch.testing.assert_close(before[:, 8:], after[:, 8:])


def test_the_first_state_of_an_lstm_is_learned() -> None:
    sequence_model = LSTMModel(3, 8)
    features, _ = sequence_model(inputs(4).float(), sequence_model.initial_state(4))
    features.sum().backward()
    for parameter in (sequence_model.first_hidden, sequence_model.first_cell):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    assert "first_hidden" in sequence_model.state_dict()


def test_wrong_options_are_named() -> None:
    with pytest.raises(ValueError, match="hidden_dim: expected a multiple of 4, the number of"):
        TransformerModel(3, 6, num_heads=4)
    with pytest.raises(ValueError, match="context: expected at least 1"):
        TransformerModel(3, 8, context=0)
    with pytest.raises(ValueError, match="name: expected one of 'lstm', 'transformer', got 'gru'"):
        make_sequence_model("gru", 3, hidden_dim=8, num_layers=1, context=4)  # type: ignore[arg-type]


def _double(part: torch.Tensor) -> torch.Tensor:
    return part.double() if part.is_floating_point() else part
