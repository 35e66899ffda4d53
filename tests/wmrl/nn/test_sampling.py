import numpy as np
import pytest
import torch

from wmrl.nn.sampling import draw_endings, dropout, sample_mixture

_DRAWS = 200_000


def _draws(temperature: float) -> torch.Tensor:
    """Draws from 0.2 N(−40, 0.5²) + 0.5 N(0, 1²) + 0.3 N(40, 2²), ``(N,)``."""
    mixture = torch.tensor([[0.2, 0.5, 0.3], [-40.0, 0.0, 40.0], [0.5, 1.0, 2.0]])
    logits, means, log_stds = (
        row.view(1, 3, 1).expand(_DRAWS, 3, 1)
        for row in (mixture[0].log() + 7.0, mixture[1], mixture[2].log())
    )
    generator = torch.Generator().manual_seed(0)
    drawn = sample_mixture(logits, means, log_stds, temperature=temperature, generator=generator)
    return drawn.squeeze(1)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_draws_have_the_weights_means_and_scales_of_the_mixture(temperature: float) -> None:
    drawn = _draws(temperature)
    weights = np.array([0.2, 0.5, 0.3]) ** (1 / temperature)  # logits / τ
    weights /= weights.sum()
    component = torch.bucketize(drawn, torch.tensor([-20.0, 20.0]))
    for k, (mean, std) in enumerate([(-40.0, 0.5), (0.0, 1.0), (40.0, 2.0)]):
        own = drawn[component == k]
        assert len(own) / _DRAWS == pytest.approx(weights[k], abs=0.006)
        assert own.mean().item() == pytest.approx(mean, abs=0.06)
        assert own.std().item() == pytest.approx(std * temperature**0.5, rel=0.03)


def test_each_dimension_and_row_has_components_of_its_own() -> None:
    logits = torch.full((2, 3, 4), -1e9)
    chosen = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])
    logits.scatter_(1, chosen.unsqueeze(1), 0.0)
    means = torch.arange(24.0).view(2, 3, 4)
    drawn = sample_mixture(
        logits, means, torch.full((2, 3, 4), -20.0), temperature=1.0, generator=None
    )
    torch.testing.assert_close(drawn, means.gather(1, chosen.unsqueeze(1)).squeeze(1))


def test_mixture_draws_follow_the_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(_draws(1.0), _draws(1.0))
    assert torch.equal(torch.get_rng_state(), before)


def test_temperature_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="temperature: expected above 0, got 0"):
        sample_mixture(*[torch.zeros(1, 2, 3)] * 3, temperature=0.0, generator=None)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.93])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    values = torch.ones(401, 503)  # no multiple of four
    dropped = dropout(values, rate=rate, generator=torch.Generator().manual_seed(0))
    kept = dropped != 0
    assert kept.float().mean().item() == pytest.approx(1 - rate, abs=0.004)
    torch.testing.assert_close(
        dropped[kept], torch.full_like(dropped[kept], 1 / (1 - rate)), rtol=1e-3, atol=0
    )
    # Neighbors, which come from the same random word, do not depend on each other.
    pairs = (kept[:, :-1] & kept[:, 1:]).float().mean().item()
    assert pairs == pytest.approx((1 - rate) ** 2, abs=0.006)


def test_dropout_of_rate_zero_changes_nothing() -> None:
    values = torch.randn(5, generator=torch.Generator().manual_seed(0))
    assert dropout(values, rate=0.0, generator=torch.Generator()) is values


def test_dropout_rate_is_checked() -> None:
    with pytest.raises(ValueError, match="rate: expected below 1, got 1"):
        dropout(torch.zeros(1), rate=1.0, generator=torch.Generator())


def test_endings_come_as_often_as_their_odds_say() -> None:
    odds = torch.tensor([-100.0, -1.0, 0.0, 2.0, 100.0])[:, None].expand(-1, 20_000)
    ended = draw_endings(odds, generator=torch.Generator().manual_seed(0))
    expected = torch.sigmoid(odds[:, 0])
    torch.testing.assert_close(ended.float().mean(1), expected, atol=0.015, rtol=0.0)
    assert not ended[0].any()
    assert ended[-1].all()
