"""Losses as pure functions with shape checks.

Each function reduces only the axes that its docstring names. Further masking, weighting and
averaging are left to the caller.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from wmrl.core.validation import check_float, check_shape

_LOG_2PI = math.log(2.0 * math.pi)
_LEAST_VARIANCE = 1e-6  # a quarter of the smallest step of a pixel has a square of about this size


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Computes the squared error of each example, summed over all axes but the first.

    The sum is the reconstruction loss of World Models (https://arxiv.org/abs/1803.10122, appendix
    A.1). Up to a constant, the sum is the negative log-likelihood of a Gaussian with variance 1/2.

    Args:
        prediction: predicted examples, ``(B, ...) float32``.
        target: true examples, ``(B, ...) float32``.

    Returns:
        Squared errors ``(B,)``.

    Raises:
        ValueError: the shapes differ.
    """
    check_shape("prediction", prediction, tuple(target.shape))
    # flatten() would copy channels-last pixels and change the memory layout of the gradients.
    return (prediction - target).square().sum(tuple(range(1, target.ndim)))


def calibrated_error(error: Tensor, *, size: int) -> Tensor:
    """Computes a Gaussian negative log-likelihood with the maximum-likelihood variance.

    All elements of an input have the same variance σ². The likelihood is highest if σ² is the mean
    squared error per element. With this σ², the negative log-likelihood of an input with D elements
    is D (log 2πσ² + 1) / 2. A σ² below 10⁻⁶ is replaced by 10⁻⁶. Source: Simple and Effective VAE
    Training with Calibrated Decoders, Rybkin, Daniilidis and Levine 2021
    (https://arxiv.org/abs/2006.13202), section 4.

    Args:
        error: ``()``, squared error, summed over the elements of an input and averaged over a
            batch.
        size: D, the number of elements of an input.

    Returns:
        Negative log-likelihood in nats per input, ``()``.
    """
    variance = (error / size).clamp(min=_LEAST_VARIANCE)
    return 0.5 * size * (variance.log() + _LOG_2PI + 1)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Computes the KL divergence of a diagonal Gaussian from N(0, I), in nats per dimension.

    For each dimension, KL(N(μ, σ²) ‖ N(0, 1)) = (μ² + σ² − log σ² − 1) / 2. Source: Auto-Encoding
    Variational Bayes, Kingma and Welling 2014 (https://arxiv.org/abs/1312.6114), appendix B.

    Args:
        mean: ``(..., Z)``, μ.
        log_variance: ``(..., Z)``, log σ².

    Returns:
        KL divergences ``(..., Z)``.

    Raises:
        ValueError: the shapes differ.
    """
    check_shape("log_variance", log_variance, tuple(mean.shape))
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0)


def floored_kl(kl: Tensor, *, floor: float) -> Tensor:
    """Sums KL divergences over dimensions, with a lower bound on each sum.

    The result is max(Σ_j KL_j, ``floor`` · Z), as in the published code of World Models
    (https://arxiv.org/abs/1803.10122, ``kl_tolerance`` = 0.5). Only the sum has a lower bound, not
    the single KL_j. If the sum is below the bound, the gradient of the result is zero, and does not
    pull the posterior toward the prior. The bound thus prevents posterior collapse.

    Args:
        kl: ``(B, Z)``, KL divergence of each dimension in nats.
        floor: lower bound of the average over dimensions, in nats; at least 0.

    Returns:
        Bounded sums ``(B,)`` in nats.

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
    """Computes the log-density of each dimension of a target under its own Gaussian mixture.

    For each dimension, the log-density is log Σ_k π_k N(z; μ_k, σ_k²) with π = softmax(logits), as
    in equations 22 and 23 of Mixture Density Networks, Bishop 1994
    (https://publications.aston.ac.uk/id/eprint/373/). As in World Models
    (https://arxiv.org/abs/1803.10122), each latent dimension has its own weights, means and
    standard deviations.

    Args:
        logits: ``(..., K, Z)``, unnormalized log-weights log π of the K components.
        means: ``(..., K, Z)``, means μ of the components.
        log_stds: ``(..., K, Z)``, log σ of the components.
        target: ``(..., Z)``, target z.

    Returns:
        Log-densities ``(..., Z)`` in nats.

    Raises:
        ValueError: the shapes are inconsistent.

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
    # Adding the constant and the softmax's normalizer after the sum saves passes over (K, Z).
    return torch.logsumexp(joint, -2) - torch.logsumexp(logits, -2) - 0.5 * _LOG_2PI


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Computes the mean of those values for which ``mask`` is True.

    Args:
        values: tensor of any shape.
        mask: bool tensor of the same shape as ``values``; None for the mean of all values.

    Returns:
        The scalar mean; 0 if the mask is False everywhere.

    Raises:
        ValueError: the shapes differ.
    """
    if mask is None:
        return values.mean()
    check_shape("mask", mask, tuple(values.shape))
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def termination_loss(logits: Tensor, terminated: Tensor, *, positive_weight: float) -> Tensor:
    """Computes the cross-entropy of predicted terminations, with a weight for terminated steps.

    World Models (https://arxiv.org/abs/1803.10122) uses a weight of 10 in DoomTakeCover. With a
    weight of 1, the predicted probabilities are calibrated. Calibration matters in dreams, where
    terminations are drawn from the predicted probabilities.

    Args:
        logits: log-odds of termination, of any shape.
        terminated: bool tensor of the shape of ``logits``, True where an episode terminated.
        positive_weight: factor on the cross-entropy of terminated steps, above 0.

    Returns:
        The cross-entropy of each step in nats, in the shape of ``logits``.

    Raises:
        ValueError: the shapes differ, or ``positive_weight`` is not above 0.
    """
    check_shape("terminated", terminated, tuple(logits.shape))
    check_float("positive_weight", positive_weight, above=0)
    weight = logits.new_tensor(positive_weight)
    return F.binary_cross_entropy_with_logits(
        logits, terminated.to(logits.dtype), reduction="none", pos_weight=weight
    )
