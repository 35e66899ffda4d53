"""The likelihood of pixels."""

import math

import pytest
import torch

from wmrl.scripts.reproduce.vqvae.likelihood import DiscretizedLogistic, log_probability


@pytest.mark.parametrize("scale", [1e-4, 0.01, 0.3])
@pytest.mark.parametrize("mean", [-0.2, 0.0, 0.37, 1.0])
def test_probabilities_of_all_levels_sum_to_one(mean: float, scale: float) -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    means, scales = torch.full((256,), mean), torch.full((256,), scale)
    total = log_probability(levels, means, scales).double().exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-3)


def test_it_is_the_logistic_s_mass_between_levels() -> None:
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    mean, scale = 0.5, 0.05
    expected = sigmoid((100.5 / 255 - mean) / scale) - sigmoid((99.5 / 255 - mean) / scale)
    got = log_probability(torch.tensor([100], dtype=torch.uint8), *torch.tensor([[mean], [scale]]))
    assert got.exp().item() == pytest.approx(expected, rel=1e-4)
    black = log_probability(torch.tensor([0], dtype=torch.uint8), *torch.tensor([[mean], [scale]]))
    assert black.exp().item() == pytest.approx(sigmoid((0.5 / 255 - mean) / scale), rel=1e-4)


def test_scales_are_found_for_each_brightness() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.where(torch.rand(200, 20, generator=generator) < 0.5, 0.25, 0.75)
    scales = torch.where(means < 0.5, 0.02, 0.08)
    uniform = torch.rand(means.shape, generator=generator)
    noisy = means + scales * (uniform.log() - (1 - uniform).log())
    targets = (255 * noisy).round().clamp(0, 255).to(torch.uint8)
    likelihood = DiscretizedLogistic(targets, means, ranges=2)
    assert likelihood.scales.tolist() == pytest.approx([0.02, 0.08], rel=0.1)
    # No other scale explains these images better.
    fitted = likelihood.log_likelihood(targets, means)
    assert fitted.shape == (200,)
    for factor in (0.8, 1.25):
        likelihood.scales *= factor
        assert likelihood.log_likelihood(targets, means).mean() < fitted.mean()
        likelihood.scales /= factor


def test_pixels_of_all_columns_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of 28 columns, of which the first is always black."""
    monkeypatch.setattr("wmrl.scripts.reproduce.vqvae.likelihood._FITTED_PIXELS", 1000)
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(256, (1000, 28), generator=generator, dtype=torch.uint8)
    targets[:, 0] = 0
    means = torch.where(torch.arange(28) == 0, 0.0, 0.5).expand(1000, 28)
    likelihood = DiscretizedLogistic(targets, means, ranges=4)
    assert likelihood.scales[2] > 0.1
    assert likelihood.scales[0] < 0.01
    error = (targets / 255 - means).abs().mean()
    assert likelihood.scales[1] == pytest.approx(error.item(), rel=0.1)  # never decoded
    assert DiscretizedLogistic(targets, means, ranges=4).scales.equal(likelihood.scales)


def test_what_does_not_fit_is_named() -> None:
    pixels = torch.zeros(2, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"means: expected the targets' shape \(2, 3\)"):
        DiscretizedLogistic(pixels, torch.zeros(2, 4))
    with pytest.raises(ValueError, match="ranges: expected at least 1, got 0"):
        DiscretizedLogistic(pixels, torch.zeros(2, 3), ranges=0)
