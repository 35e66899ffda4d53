import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from wmrl.nn.losses import (
    calibrated_error,
    floored_kl,
    gaussian_kl,
    masked_mean,
    mixture_log_likelihood,
    squared_error,
    termination_loss,
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_squared_error_sums_over_all_but_the_first_axis() -> None:
    prediction = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]])
    target = torch.tensor([[[0.0, 0.0]], [[0.0, 3.0]]])
    assert squared_error(prediction, target).tolist() == [5.0, 9.0]


def test_calibrated_error_is_the_likelihood_with_the_best_variance(
    generator: torch.Generator,
) -> None:
    prediction, target = torch.randn(2, 30, 7, generator=generator).unbind(0)
    error = squared_error(prediction, target).mean()
    calibrated = calibrated_error(error, size=7)

    def of_std(std: float) -> float:
        normal = torch.distributions.Normal(prediction, std)
        return float(-normal.log_prob(target).sum(1).mean())

    best = float(error / 7) ** 0.5
    assert float(calibrated) == pytest.approx(of_std(best), rel=1e-5)
    assert float(calibrated) < min(of_std(0.99 * best), of_std(1.01 * best))
    # 2 elements with a mean squared error of 1 / (2 π e): an entropy of 0.
    golden = torch.tensor(2 / (2 * math.pi * math.e))
    assert float(calibrated_error(golden, size=2)) == pytest.approx(0.0, abs=1e-6)
    assert math.isfinite(float(calibrated_error(torch.tensor(0.0), size=2)))


def test_gaussian_kl_has_known_values() -> None:
    mean = torch.tensor([[0.0, 1.0, 0.0]])
    log_variance = torch.tensor([[0.0, 0.0, math.log(4.0)]])
    expected = torch.tensor([[0.0, 0.5, 0.5 * (4.0 - math.log(4.0) - 1.0)]])
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)


def test_gaussian_kl_equals_the_one_of_torch(generator: torch.Generator) -> None:
    mean, log_variance = torch.randn(2, 5, 4, generator=generator)
    expected = kl_divergence(
        Normal(mean, torch.exp(0.5 * log_variance)), Normal(torch.zeros(()), torch.ones(()))
    )
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)


def test_floored_kl_lets_half_a_nat_a_dimension_pass() -> None:
    kl = torch.tensor([[0.1, 0.2, 0.3, 0.4], [3.0, 0.0, 0.0, 0.0]], requires_grad=True)
    floored = floored_kl(kl, floor=0.5)
    torch.testing.assert_close(floored, torch.tensor([2.0, 3.0]))  # 0.5 · 4, and the sum
    floored.sum().backward()  # type: ignore[no-untyped-call]
    assert kl.grad is not None
    assert kl.grad.tolist() == [[0.0] * 4, [1.0] * 4]


def test_mixture_log_likelihood_has_a_known_value() -> None:
    # ½ N(0; −1, 1) + ½ N(0; 1, 1) = N(0; 1, 1) = exp(−½) / √(2π)
    value = mixture_log_likelihood(
        torch.zeros(2, 1), torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1), torch.zeros(1)
    )
    assert value.item() == pytest.approx(-0.5 - 0.5 * math.log(2 * math.pi))


def test_mixture_log_likelihood_equals_the_one_of_torch(generator: torch.Generator) -> None:
    logits, means, log_stds = torch.randn(3, 4, 6, 5, 3, generator=generator)  # (B, T, K, Z)
    target = torch.randn(4, 6, 3, generator=generator)
    mixture = MixtureSameFamily(
        Categorical(logits=logits.transpose(-1, -2)),
        Normal(means.transpose(-1, -2), log_stds.exp().transpose(-1, -2)),
    )
    torch.testing.assert_close(
        mixture_log_likelihood(logits, means, log_stds, target), mixture.log_prob(target)
    )


def test_masked_mean_ignores_what_is_masked_even_if_not_finite() -> None:
    values = torch.tensor([1.0, math.nan, 3.0])
    assert masked_mean(values, torch.tensor([True, False, True])).item() == 2.0
    assert masked_mean(values[::2], None).item() == 2.0
    assert masked_mean(values, torch.zeros(3, dtype=torch.bool)).item() == 0.0


def test_termination_loss_weighs_terminations() -> None:
    logits, ended = torch.tensor([0.0, 0.0]), torch.tensor([True, False])
    loss = termination_loss(logits, ended, positive_weight=10.0)
    torch.testing.assert_close(loss, math.log(2.0) * torch.tensor([10.0, 1.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: squared_error(torch.zeros(2, 3), torch.zeros(2, 4)), r"prediction.*\(2, 4\)"),
        (lambda: gaussian_kl(torch.zeros(2, 3), torch.zeros(2)), r"log_variance.*\(2, 3\).*\(2,\)"),
        (lambda: floored_kl(torch.zeros(3), floor=0.5), r"kl: expected shape \(B, Z\)"),
        (lambda: floored_kl(torch.zeros(3, 2), floor=-1), "floor: expected at least 0"),
        (lambda: mixture_log_likelihood(*[torch.zeros(3)] * 4), r"logits.*\(\.\.\., K, Z\)"),
        (
            lambda: mixture_log_likelihood(*[torch.zeros(2, 5, 3)] * 3, torch.zeros(2, 5)),
            r"target: expected shape \(2, 3\), got \(2, 5\)",
        ),
        (
            lambda: masked_mean(torch.zeros(2), torch.zeros(3, dtype=torch.bool)),
            r"mask: expected shape \(2,\)",
        ),
        (
            lambda: termination_loss(torch.zeros(2), torch.zeros(2), positive_weight=0),
            "positive_weight: expected above 0",
        ),
    ],
)
def test_wrong_shapes_and_values_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
