"""Losses as pure functions with shape checks.

Each function reduces only what its formula reduces; masking, weighting and averaging are left to
the caller.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from wmrl.core.validation import check_float, check_shape

_LOG_2PI = math.log(2.0 * math.pi)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Computes the squared error, summed over all axes but the first.

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
    check_shape("prediction", prediction, tuple(target.shape))
    # No flatten: it would copy channels-last pixels, and change the gradients' layout as well.
    return (prediction - target).square().sum(tuple(range(1, target.ndim)))


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Computes the KL divergence of a diagonal Gaussian from N(0, I), per dimension, in nats.

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
    check_shape("log_variance", log_variance, tuple(mean.shape))
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0)


def floored_kl(kl: Tensor, *, floor: float) -> Tensor:
    """Sums a KL divergence over dimensions, with a floor of ``floor`` nats per dimension.

    max(Σ_j KL_j, floor · Z), as in the published code of World Models
    (https://arxiv.org/abs/1803.10122, ``kl_tolerance`` = 0.5). Below the floor no gradient pulls
    a posterior towards the prior, which keeps dimensions from collapsing.

    Args:
        kl: ``(B, Z)`` divergence of each dimension.
        floor: nats per dimension, at least 0.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: ``kl`` does not have two axes, or ``floor`` is negative.

    Example:
        >>> import torch
        >>> from wmrl.nn import floored_kl
        >>> floored_kl(torch.tensor([[0.1, 0.2], [3.0, 0.0]]), floor=0.5)
        tensor([1., 3.])
    """
    check_shape("kl", kl, ("B", "Z"))
    check_float("floor", floor, at_least=0)
    return kl.sum(1).clamp(min=floor * kl.shape[1])


def mixture_log_likelihood(
    logits: Tensor, means: Tensor, log_stds: Tensor, target: Tensor
) -> Tensor:
    """Computes the log-density of a target under one mixture of Gaussians per dimension.

    log Σ_k π_k N(z; μ_k, σ_k²) with π = softmax(logits). Mixture Density Networks, Bishop 1994
    (https://publications.aston.ac.uk/id/eprint/373/), equations 22 and 23 in one dimension. As in
    World Models (https://arxiv.org/abs/1803.10122), each latent dimension has its own weights,
    means and scales.

    Args:
        logits: ``(..., K, Z)`` unnormalized log π.
        means: ``(..., K, Z)`` μ.
        log_stds: ``(..., K, Z)`` log σ.
        target: ``(..., Z)``.

    Returns:
        ``(..., Z)`` in nats.

    Raises:
        ValueError: the shapes do not fit together.

    Example:
        A single component is a normal distribution, whose density at its mean is 1 / √(2π):

        >>> import torch
        >>> from wmrl.nn import mixture_log_likelihood
        >>> parameters = torch.zeros(1, 2)  # K = 1, Z = 2
        >>> mixture_log_likelihood(parameters, parameters, parameters, torch.zeros(2))
        tensor([-0.9189, -0.9189])
    """
    shape = tuple(logits.shape)
    if len(shape) < 2:
        raise ValueError(f"logits: expected shape (..., K, Z), got {shape}")
    check_shape("means", means, shape)
    check_shape("log_stds", log_stds, shape)
    check_shape("target", target, (*shape[:-2], shape[-1]))
    deviation = (target.unsqueeze(-2) - means) * torch.exp(-log_stds)  # (..., K, Z)
    joint = logits - log_stds - 0.5 * deviation.square()
    # The constant and the softmax's normalizer are left out above, which saves passes over (K, Z).
    return torch.logsumexp(joint, -2) - torch.logsumexp(logits, -2) - 0.5 * _LOG_2PI


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Computes the mean of the entries where ``mask`` is true.

    Args:
        values: any shape.
        mask: bool, of the same shape; None for the mean of all entries.

    Returns:
        ``()``; 0 if the mask is false everywhere.

    Raises:
        ValueError: the shapes differ.
    """
    if mask is None:
        return values.mean()
    check_shape("mask", mask, tuple(values.shape))
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def termination_loss(logits: Tensor, terminated: Tensor, *, positive_weight: float) -> Tensor:
    """Computes the cross-entropy of terminations, with a weight on the rare positive ones.

    World Models (https://arxiv.org/abs/1803.10122) uses weight 10 in DoomTakeCover. A weight of 1
    keeps the probabilities calibrated, as needed by a dream that draws terminations from them.

    Args:
        logits: any shape, log-odds.
        terminated: bool, of the same shape.
        positive_weight: factor on the loss of terminations, above 0.

    Returns:
        Of the same shape, in nats.

    Raises:
        ValueError: the shapes differ, or ``positive_weight`` is not above 0.
    """
    check_shape("terminated", terminated, tuple(logits.shape))
    check_float("positive_weight", positive_weight, above=0)
    weight = logits.new_tensor(positive_weight)
    return F.binary_cross_entropy_with_logits(
        logits, terminated.to(logits.dtype), reduction="none", pos_weight=weight
    )
