from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from wmrl.memory.base import load_memory
from wmrl.memory.ensemble import MemoryEnsemble
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig, MixturePrediction
from wmrl.memory.sequences import SequenceBatch
from wmrl.nn.losses import mixture_log_likelihood
from wmrl.storage.artifact import ArtifactError, load_artifact

_SMALL = MDNRNNConfig(latent_dim=4, action_dim=2, hidden_dim=12, num_mixtures=3)


@pytest.fixture(scope="module")
def memory() -> MDNRNN:
    return MDNRNN(_SMALL, generator=torch.Generator().manual_seed(0))


def _sequences(size: int, steps: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(size, steps, 4, generator=generator)
    return latents, 2 * torch.rand(size, steps, 2, generator=generator) - 1


def _assert_same(one: MixturePrediction, other: MixturePrediction) -> None:
    for name, a, b in zip(MixturePrediction._fields, one, other, strict=True):
        torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}")


def test_it_has_the_parameters_of_the_paper_and_two_heads_more() -> None:
    memory = MDNRNN(MDNRNNConfig(latent_dim=32, action_dim=3, hidden_dim=256, num_mixtures=5))
    count = sum(parameter.numel() for parameter in memory.parameters())
    reward_and_termination = 2 * (256 + 1)
    assert count - reward_and_termination == 422_368


def test_shapes(memory: MDNRNN) -> None:
    predicted, (h, c) = memory(*_sequences(5, 7))
    assert predicted.logits.shape == (5, 7, 3, 4)
    assert predicted.means.shape == predicted.log_stds.shape == (5, 7, 3, 4)
    assert predicted.reward.shape == predicted.termination.shape == (5, 7)
    assert h.shape == c.shape == (5, 12)
    assert torch.equal(memory.features((h, c)), h)
    assert memory.feature_dim == 12


def test_the_cell_is_the_textbook_one(memory: MDNRNN) -> None:
    latents, actions = _sequences(3, 1)
    inputs = torch.cat((latents[:, 0], actions[:, 0]), 1)
    h, c = (torch.randn(3, 12, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    columns = memory.lstm.weight_ih_l0
    weights, bias = columns[:, :6], columns[:, 6]
    gates = inputs @ weights.T + h @ memory.lstm.weight_hh_l0.T + bias
    i, f, g, o = gates.chunk(4, 1)
    c_next = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h_next = torch.sigmoid(o) * torch.tanh(c_next)
    _, state = memory.step(latents[:, 0], actions[:, 0], (h, c))
    torch.testing.assert_close(state, (h_next, c_next))


@torch.inference_mode()
def test_features_may_be_the_cell_and_the_hidden_state(memory: MDNRNN) -> None:
    both = MDNRNN(replace(_SMALL, features="cell_and_hidden"))
    both.load_state_dict(memory.state_dict())
    assert (both.feature_dim, memory.feature_dim) == (24, 12)
    latents, actions = _sequences(3, 7)
    lstm = torch.nn.LSTM(7, 12, bias=False, batch_first=True)
    lstm.load_state_dict(memory.lstm.state_dict())
    _, (h, c) = lstm(torch.cat((latents, actions, torch.ones(3, 7, 1)), 2))
    predicted, state = both(latents, actions)
    assert torch.equal(both.features(state), torch.cat((c[0], h[0]), 1))
    expected, same = memory(latents, actions)
    assert torch.equal(memory.features(same), h[0])
    _assert_same(predicted, expected)
    assert not both.features(both.initial_state(2)).any()
    ensemble = MemoryEnsemble.of([both, both])
    _, states = ensemble(latents, actions)
    assert ensemble.feature_dim == 24
    assert torch.equal(ensemble.features(states), both.features(state))


def test_configurations_of_earlier_versions_have_the_hidden_state_as_features() -> None:
    assert "features" not in load_artifact("car-racing-mdnrnn").config["member"]
    memory = load_memory("car-racing-mdnrnn", device="cpu")
    assert memory.config.member_config.features == "hidden"
    assert memory.feature_dim == 256


# Batches of 40 and 150 take another path on a CPU than small ones.
@pytest.mark.parametrize("size", [1, 3, 40, 150])
def test_steps_equal_the_sequence(memory: MDNRNN, size: int) -> None:
    latents, actions = _sequences(size, 6)
    whole, last = memory(latents, actions)
    state = memory.initial_state(size)
    for t in range(6):
        predicted, state = memory.step(latents[:, t], actions[:, t], state)
        _assert_same(predicted, MixturePrediction(*(part[:, t] for part in whole)))
    torch.testing.assert_close(state, last)


def test_features_are_those_before_the_step(memory: MDNRNN) -> None:
    latents, actions = _sequences(2, 1)
    before = memory.initial_state(2)
    assert bool((memory.features(before) == 0).all())
    _, after = memory.step(latents[:, 0], actions[:, 0], before)
    assert bool((memory.features(after) != 0).any())


def test_an_episode_that_starts_midway_is_as_if_run_alone(memory: MDNRNN) -> None:
    latents, actions = _sequences(4, 9)
    first = torch.zeros(4, 9, dtype=torch.bool)
    starts = [(), (0,), (4,), (4, 7)]
    for row, columns in enumerate(starts):
        first[row, list(columns)] = True
    given = tuple(torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(3)).unbind())
    predicted, last = memory(latents, actions, first=first, state=given)
    for row, columns in enumerate(starts):
        edges = sorted({0, *columns, 9})
        for start, stop in pairwise(edges):
            own = None if start in columns else tuple(part[row : row + 1] for part in given)
            part = (slice(row, row + 1), slice(start, stop))
            alone, end = memory(latents[part], actions[part], state=own)
            _assert_same(alone, MixturePrediction(*(value[part] for value in predicted)))
        torch.testing.assert_close(end, tuple(value[row : row + 1] for value in last))


def test_a_carried_state_continues_the_sequence(memory: MDNRNN) -> None:
    latents, actions = _sequences(2, 8)
    whole, _ = memory(latents, actions)
    _, state = memory(latents[:, :5], actions[:, :5])
    rest, _ = memory(latents[:, 5:], actions[:, 5:], state=state)
    _assert_same(rest, MixturePrediction(*(part[:, 5:] for part in whole)))


def test_dropout_comes_from_its_generator_alone(memory: MDNRNN) -> None:
    latents, actions = _sequences(3, 4)

    def logits(seed: int | None) -> torch.Tensor:
        masks = None if seed is None else torch.Generator().manual_seed(seed)
        return memory(latents, actions, dropout=masks)[0].logits

    memory.train()
    plain = logits(None)
    memory.eval()
    assert torch.equal(plain, logits(None))
    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))
    assert not torch.equal(logits(1), plain)
    state = memory.initial_state(3)
    one, same = (
        memory.step(latents[:, 0], actions[:, 0], state, dropout=torch.Generator().manual_seed(7))
        for _ in range(2)
    )
    assert torch.equal(one[0].means, same[0].means)
    torch.testing.assert_close(one[1], memory.step(latents[:, 0], actions[:, 0], state)[1])


def test_dropout_leaves_reward_and_termination_alone(memory: MDNRNN) -> None:
    latents, actions = _sequences(3, 4)
    masked, plain = (
        memory(latents, actions, dropout=masks)[0]
        for masks in (torch.Generator().manual_seed(1), None)
    )
    assert not torch.equal(masked.means, plain.means)
    torch.testing.assert_close(masked.reward, plain.reward)
    torch.testing.assert_close(masked.termination, plain.termination)


def test_scales_have_a_floor() -> None:
    memory = MDNRNN(_SMALL)
    with torch.no_grad():
        memory.heads.bias.fill_(-100.0)
    predicted, _ = memory(*_sequences(1, 2))
    torch.testing.assert_close(predicted.log_stds.exp(), torch.full((1, 2, 3, 4), 0.05))


def test_samples_follow_the_prediction(memory: MDNRNN) -> None:
    rows = 4000
    prediction = MixturePrediction(
        logits=torch.tensor([0.0, 50.0, 0.0]).view(1, 3, 1).expand(rows, 3, 4),
        means=torch.tensor([-9.0, 2.0, 9.0]).view(1, 3, 1).expand(rows, 3, 4),
        log_stds=torch.full((rows, 3, 4), -1.0),
        reward=torch.arange(float(rows)),
        termination=torch.full((rows,), -1.0),
    )
    drawn = memory.sample(prediction, generator=torch.Generator().manual_seed(0))
    assert drawn.latent.mean().item() == pytest.approx(2.0, abs=0.02)
    assert drawn.latent.std().item() == pytest.approx(0.3679, rel=0.03)
    assert torch.equal(drawn.reward, prediction.reward)
    assert drawn.terminated.dtype == torch.bool
    assert drawn.terminated.float().mean().item() == pytest.approx(0.2689, abs=0.025)


def test_rewards_are_in_the_tasks_units() -> None:
    memory = MDNRNN(MDNRNNConfig(latent_dim=4, hidden_dim=12, num_mixtures=3, reward_scale=0.1))
    with torch.no_grad():
        memory.heads.weight[-2].zero_()
        memory.heads.bias[-2] = 0.3
    predicted, _ = memory(*_sequences(1, 1))
    assert predicted.reward.item() == pytest.approx(3.0)


def _batch(steps: int = 5, masked: int = 0) -> SequenceBatch:
    latents, _ = _sequences(2, steps + 1)
    mask = torch.ones(2, steps, dtype=torch.bool)
    mask[0, steps - masked :] = False
    ended = torch.zeros(2, steps, dtype=torch.bool)
    ended[1, -1] = True
    return SequenceBatch(
        latents=latents,
        actions=_sequences(2, steps)[1],
        rewards=torch.arange(2.0 * steps).view(2, steps),
        terminated=ended,
        mask=mask,
    )


def test_the_loss_is_made_of_its_formulas() -> None:
    config = MDNRNNConfig(
        latent_dim=4,
        hidden_dim=12,
        num_mixtures=3,
        dropout=0.0,
        reward_scale=0.1,
        reward_weight=2,
        positive_weight=3,
    )
    memory, batch = MDNRNN(config), _batch()
    loss, parts = memory.loss(batch, torch.Generator())
    predicted, _ = memory(batch.latents[:, :-1], batch.actions)
    nll = -mixture_log_likelihood(
        predicted.logits, predicted.means, predicted.log_stds, batch.latents[:, 1:]
    ).mean()
    error = (0.1 * (predicted.reward - batch.rewards)).square().mean()
    p = torch.sigmoid(predicted.termination)
    ending = torch.where(batch.terminated, -3 * p.log(), -(1 - p).log()).mean()
    torch.testing.assert_close(loss, nll + 2 * error + ending)
    torch.testing.assert_close(
        list(parts.values()), [nll.detach(), error.detach(), ending.detach()]
    )


def test_masked_steps_change_nothing(memory: MDNRNN) -> None:
    batch = _batch(masked=2)
    spoilt = _batch(masked=2)
    spoilt.latents[0, 4:] = 1e3  # beyond the last real transition, from step 2 to 3
    spoilt.rewards[0, 3:] = 1e6
    spoilt.terminated[0, 3:] = True
    losses = [
        memory.loss(each, torch.Generator().manual_seed(0))[0].item() for each in (batch, spoilt)
    ]
    assert losses[0] == losses[1]
    whole, _ = memory.loss(_batch(), torch.Generator().manual_seed(0))
    assert whole.item() != losses[0]


def test_it_learns_a_known_process() -> None:
    """z' = z ± 1 with even odds: the best likelihood is log ½ + log N(0; 0, σ²)."""
    generator = torch.Generator().manual_seed(0)
    memory = MDNRNN(MDNRNNConfig(latent_dim=1, action_dim=1, hidden_dim=16, num_mixtures=2))
    optimizer = torch.optim.Adam(memory.parameters(), lr=1e-2)
    for _ in range(250):
        signs = 2.0 * torch.randint(2, (32, 6, 1), generator=generator) - 1
        walk = signs.cumsum(1) + 0.1 * torch.randn(signs.shape, generator=generator)
        batch = SequenceBatch(
            latents=walk,
            actions=torch.zeros(32, 5, 1),
            rewards=walk[:, 1:, 0],
            terminated=walk[:, :-1, 0] > 1.5,
            mask=torch.ones(32, 5, dtype=torch.bool),
        )
        optimizer.zero_grad()
        loss, parts = memory.loss(batch, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    # One Gaussian of variance one gets 1.42; two of scale √2 · 0.1 each, 0.16.
    assert parts["nll"] < 0.9
    assert parts["termination_loss"] < 0.25


def test_a_saved_memory_is_the_same_when_loaded(tmp_path: Path) -> None:
    memory = MDNRNN(_SMALL, generator=torch.Generator().manual_seed(5))
    memory.set_start_states(torch.ones(2, 3, 4), torch.zeros(2, 3, 4), torch.ones(2, 2, 2))
    digest = memory.save(tmp_path / "memory")
    loaded = load_memory(tmp_path / "memory", device="cpu")
    assert isinstance(loaded, MDNRNN)
    assert loaded.config == memory.config
    assert loaded.digest == digest
    assert torch.equal(loaded.start_mean, memory.start_mean)
    sequences = _sequences(2, 3)
    assert torch.equal(loaded(*sequences)[0].means, memory(*sequences)[0].means)


def test_another_vision_is_refused() -> None:
    memory = MDNRNN(MDNRNNConfig(vision_digest="a" * 64))
    memory.check_vision("a" * 64)
    with pytest.raises(ArtifactError, match=r"digest b{12}…, got .* with digest a{12}…"):
        memory.check_vision("b" * 64)


def test_wrong_shapes_are_named(memory: MDNRNN) -> None:
    latents, actions = _sequences(2, 3)
    with pytest.raises(ValueError, match=r"latents: expected shape \(B, T, 4\), got \(2, 3, 2\)"):
        memory(actions, actions)
    with pytest.raises(ValueError, match=r"actions: expected shape \(2, 3, 2\), got \(2, 2, 2\)"):
        memory(latents, actions[:, 1:])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_dim": 0}, "hidden_dim: expected at least 1, got 0"),
        ({"num_mixtures": 0}, "num_mixtures: expected at least 1"),
        ({"dropout": 1.0}, "dropout: expected below 1, got 1.0"),
        ({"min_std": 0.0}, "min_std: expected above 0"),
        ({"features": "cell"}, "features: expected one of 'hidden', 'cell_and_hidden', got 'cell'"),
        ({"reward_scale": -1.0}, "reward_scale: expected above 0"),
        ({"reward_weight": -1.0}, "reward_weight: expected at least 0"),
    ],
)
def test_wrong_configurations_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MDNRNNConfig(**wrong)
