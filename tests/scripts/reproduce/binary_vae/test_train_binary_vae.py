import numpy as np
import pytest
import torch

from wmrl.scripts.reproduce.binary_vae.data import BinaryMixture
from wmrl.scripts.reproduce.binary_vae.model import (
    REGIMES,
    BinaryTrainingConfig,
    BinaryVAEConfig,
    bounds,
    train_binary_vae,
)

SHORT = BinaryTrainingConfig(epochs=4, learning_rate=3e-3)


def test_points_follow_their_mixture() -> None:
    mixture = BinaryMixture.random(seed=3)
    drawn = mixture.sample(30_000, seed=1)
    frequency = np.bincount(drawn.labels, minlength=3) / 30_000
    np.testing.assert_allclose(frequency, mixture.weights, atol=0.01)
    for label, mean in enumerate([[1, 1], [-1, 0], [1, -2]]):
        mine = drawn.points[drawn.labels == label]
        expected = mixture.factors[label].T @ mixture.factors[label]
        np.testing.assert_allclose(mine.mean(0), mean, atol=0.15)
        np.testing.assert_allclose(np.cov(mine.T), expected, atol=0.3, rtol=0.1)
    bits = drawn.points @ mixture.projection > 0
    np.testing.assert_array_equal(drawn.vectors.numpy(), bits)
    assert mixture.projection.min() >= 0
    assert 2.9 < mixture.projection.max() <= 3


def test_same_seed_same_bits_whatever_the_global_state() -> None:
    vectors = BinaryMixture.random(seed=0).sample(100, seed=0).vectors
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        vae, curve = train_binary_vae(vectors, training=SHORT, seed=5)
        found.append((curve, torch.cat([p.flatten() for p in vae.parameters()])))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    other, _ = train_binary_vae(vectors, training=SHORT, seed=6)
    assert not torch.equal(torch.cat([p.flatten() for p in other.parameters()]), found[0][1])


def test_it_learns_and_the_bounds_are_in_order() -> None:
    mixture = BinaryMixture.random(seed=0)
    data, held_out = mixture.sample(400, seed=0), mixture.sample(100, seed=1)
    training = BinaryTrainingConfig(epochs=40, learning_rate=1e-2, milestones=(20,))
    vae, curve = train_binary_vae(data.vectors, training=training)
    metrics = bounds(vae, held_out.vectors, seed=0, samples=300)
    assert curve[-1] > -25  # 100 bits at chance are −69
    assert metrics["elbo"] < metrics["log_evidence"] < 0
    assert metrics["elbo"] > -30


def test_the_rate_falls_at_its_milestones(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, step = [], torch.optim.Adam.step

    def watched(self, *args):  # type: ignore[no-untyped-def]
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    training = BinaryTrainingConfig(epochs=3, batch_size=10, learning_rate=0.1, milestones=(1, 2))
    train_binary_vae(torch.ones(10, 4), training=training)
    assert rates == pytest.approx([0.1, 0.01, 0.001])
    assert REGIMES["decayed"].milestones == (10, 100, 450)


def test_what_does_not_fit_is_named() -> None:
    message = r"vectors: expected shape \(N, X\) with N ≥ 1, got \(0, 4\)"
    with pytest.raises(ValueError, match=message):
        train_binary_vae(torch.zeros(0, 4))
    with pytest.raises(ValueError, match=r"vectors: expected shape \(B, 5\), got"):
        train_binary_vae(torch.zeros(3, 4), config=BinaryVAEConfig(input_dim=5), training=SHORT)
    with pytest.raises(ValueError, match="learning_rate: expected above 0"):
        BinaryTrainingConfig(learning_rate=0.0)
