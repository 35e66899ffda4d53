"""Losses as pure functions: the equations of the papers, with shape checks.

Nothing is reduced further than a formula itself says, so that the caller masks, sums and weighs.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_LOG_2PI = math.log(2.0 * math.pi)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error summed over all axes but the first.

    The reconstruction loss of World Models (https://arxiv.org/abs/1803.10122, appendix A.1): up
    to constants, the negative log-likelihood of a Gaussian of variance one half.

    Args:
        prediction: ``(B, ...) float32``.
        target: ``(B, ...) float32``.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: the shapes differ.
    """
    _check_shape("prediction", prediction, tuple(target.shape))
    # No flatten: it would copy channels-last pixels, and turn the gradients' layout too.
    return (prediction - target).square().sum(tuple(range(1, target.ndim)))


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of a diagonal Gaussian from the standard one, for each dimension, in nats.

    KL(N(μ, σ²) ‖ N(0, 1)) = (μ² + σ² − log σ² − 1) / 2. Auto-Encoding Variational Bayes, Kingma
    and Welling 2014 (https://arxiv.org/abs/1312.6114), appendix B.

    Args:
        mean: ``(..., Z)`` μ.
        log_variance: ``(..., Z)`` log σ².

    Returns:
        ``(..., Z)``, each at least 0.

    Raises:
        ValueError: the shapes differ.
    """
    _check_shape("log_variance", log_variance, tuple(mean.shape))
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0)


def floored_kl(kl: Tensor, *, floor: float) -> Tensor:
    """The divergence of each row, of which ``floor`` nats a dimension come for free.

    max(Σ_j KL_j, floor · Z), as in the published code of World Models
    (https://arxiv.org/abs/1803.10122, ``kl_tolerance`` = 0.5): below the floor nothing pushes a
    posterior towards the prior, so that dimensions do not die for the sake of a small KL.

    Args:
        kl: ``(B, Z)`` divergence of each dimension.
        floor: nats a dimension, at least 0.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: ``kl`` is not of two axes, or ``floor`` is negative.
    """
    if kl.ndim != 2:
        raise ValueError(f"kl: expected shape (B, Z), got {tuple(kl.shape)}")
    if floor < 0:
        raise ValueError(f"floor: expected at least 0 nats, got {floor}")
    return kl.sum(1).clamp(min=floor * kl.shape[1])


def mixture_log_likelihood(
    logits: Tensor, means: Tensor, log_stds: Tensor, target: Tensor
) -> Tensor:
    """Log-density of a target under a mixture of Gaussians for each dimension.

    log Σ_k π_k N(z; μ_k, σ_k²) with π = softmax(logits). Mixture Density Networks, Bishop 1994
    (https://publications.aston.ac.uk/id/eprint/373/), eq. 22 and 23, one-dimensional, as World
    Models uses them (https://arxiv.org/abs/1803.10122): weights, means and scales of its own for
    every latent dimension.

    Args:
        logits: ``(..., K, Z)`` unnormalised log π.
        means: ``(..., K, Z)`` μ.
        log_stds: ``(..., K, Z)`` log σ.
        target: ``(..., Z)``.

    Returns:
        ``(..., Z)`` in nats.

    Raises:
        ValueError: the shapes do not fit.
    """
    shape = tuple(logits.shape)
    if len(shape) < 2:
        raise ValueError(f"logits: expected shape (..., K, Z), got {shape}")
    _check_shape("means", means, shape)
    _check_shape("log_stds", log_stds, shape)
    _check_shape("target", target, (*shape[:-2], shape[-1]))
    deviation = (target.unsqueeze(-2) - means) * torch.exp(-log_stds)  # (..., K, Z)
    joint = logits - log_stds - 0.5 * deviation.square()
    # Both sums in one pass each; the constant and the softmax's normaliser are left out above.
    return torch.logsumexp(joint, -2) - torch.logsumexp(logits, -2) - 0.5 * _LOG_2PI


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the entries where ``mask`` is true; over all if None, and 0 where none is.

    Args:
        values: any shape.
        mask: bool, of the same shape.

    Returns:
        ``()``.

    Raises:
        ValueError: the shapes differ.
    """
    if mask is None:
        return values.mean()
    _check_shape("mask", mask, tuple(values.shape))
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def termination_loss(logits: Tensor, terminated: Tensor, *, positive_weight: float) -> Tensor:
    """Cross-entropy of terminations, the rare positive ones weighed.

    World Models (https://arxiv.org/abs/1803.10122) uses weight 10 in DoomTakeCover; 1 keeps the
    probabilities calibrated, as a dream needs that draws terminations from them.

    Args:
        logits: any shape, log-odds.
        terminated: bool, of the same shape.
        positive_weight: factor on the loss of terminations, above 0.

    Returns:
        Of the same shape, in nats.

    Raises:
        ValueError: the shapes differ, or ``positive_weight`` is not above 0.
    """
    _check_shape("terminated", terminated, tuple(logits.shape))
    if positive_weight <= 0:
        raise ValueError(f"positive_weight: expected above 0, got {positive_weight}")
    weight = logits.new_tensor(positive_weight)
    return F.binary_cross_entropy_with_logits(
        logits, terminated.to(logits.dtype), reduction="none", pos_weight=weight
    )


def _check_shape(name: str, value: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(value.shape) != expected:
        raise ValueError(f"{name}: expected shape {expected}, got {tuple(value.shape)}")
