"""Draws that the dream's inner loop makes: from mixtures, of codes, endings and dropout masks.

Each takes its randomness from the given generator and copies nothing to the host.
"""

import torch
from torch import Tensor


def sample_mixture(
    logits: Tensor,
    means: Tensor,
    log_stds: Tensor,
    *,
    temperature: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Draws from a mixture of Gaussians for each dimension.

    Temperature τ as in World Models (https://arxiv.org/abs/1803.10122): logits are divided by τ,
    the noise is multiplied by √τ. The component is found by inverting the distribution function
    with one uniform number, which needs a K-th of the random numbers of Gumbel's trick and no
    division by the softmax's sum; only the chosen component's scale is exponentiated.

    Args:
        logits: ``(B, K, Z)`` unnormalised log-weights.
        means: ``(B, K, Z)``.
        log_stds: ``(B, K, Z)``.
        temperature: τ > 0.
        generator: source of all randomness.

    Returns:
        ``(B, Z)``.

    Raises:
        ValueError: ``temperature`` is not above 0.
    """
    if temperature <= 0:
        raise ValueError(f"temperature: expected above 0, got {temperature}")
    batch, _, size = logits.shape
    if temperature != 1.0:
        logits = logits / temperature
    weights = torch.exp(logits - logits.amax(1, keepdim=True))
    cumulative = weights.cumsum(1)  # (B, K, Z)
    uniform = torch.rand((batch, 1, size), generator=generator, device=logits.device)
    below = cumulative[:, :-1] <= uniform * cumulative[:, -1:]
    chosen = below.sum(1, keepdim=True)  # (B, 1, Z) in 0 … K − 1
    noise = torch.randn((batch, size), generator=generator, device=logits.device)
    std = log_stds.gather(1, chosen).squeeze(1).exp()
    if temperature != 1.0:
        std = std * temperature**0.5
    return torch.addcmul(means.gather(1, chosen).squeeze(1), std, noise)


def draw_codes(
    logits: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None
) -> Tensor:
    """Draws from categorical distributions, by inverting each distribution function.

    Args:
        logits: ``(..., K)`` unnormalised log-probabilities, divided by τ.
        temperature: τ > 0.
        generator: source of all randomness.

    Returns:
        ``(...) int64``.

    Raises:
        ValueError: ``temperature`` is not above 0.
    """
    if temperature <= 0:
        raise ValueError(f"temperature: expected above 0, got {temperature}")
    scaled = logits if temperature == 1.0 else logits / temperature
    cumulative = (scaled - scaled.amax(-1, keepdim=True)).exp_().cumsum(-1)
    uniform = torch.rand(logits.shape[:-1], generator=generator, device=logits.device)[..., None]
    drawn = torch.searchsorted(cumulative, uniform * cumulative[..., -1:], right=True)
    return drawn.squeeze(-1).clamp_(max=logits.shape[-1] - 1)


def draw_endings(log_odds: Tensor, *, generator: torch.Generator | None) -> Tensor:
    """Whether each of some episodes ends, ``(...) bool``, given the log-odds of that ``(...)``."""
    uniform = torch.rand(log_odds.shape, generator=generator, device=log_odds.device)
    return uniform < torch.sigmoid(log_odds)


def dropout(values: Tensor, *, rate: float, generator: torch.Generator) -> Tensor:
    """Zeroes a share ``rate`` of the values and scales the others up by 1 / (1 − rate).

    Torch's own dropout draws from the global generator. Four masks' bits are cut from each
    64-bit number, which is eight times as fast as a Bernoulli draw for each on a CPU; the rate is
    thereby rounded to a multiple of 2⁻¹⁶.

    Args:
        values: any shape.
        rate: probability of zero, in [0, 1).
        generator: source of the mask.

    Raises:
        ValueError: ``rate`` is outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate: expected in [0, 1), got {rate}")
    threshold = round(rate * 2**16)
    if threshold == 0:
        return values
    words = torch.empty((values.numel() + 3) // 4, dtype=torch.int64, device=values.device)
    words.random_(-(2**63), None, generator=generator)
    keep = words.view(torch.int16)[: values.numel()].view(values.shape) >= threshold - 2**15
    return values * keep * (1.0 / (1.0 - threshold / 2**16))
