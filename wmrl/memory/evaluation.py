"""Evaluation of memories: metrics of one-step predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wmrl.memory.base import Memory
from wmrl.memory.dataset import LatentDataset, LatentEpisode
from wmrl.memory.discrete import DiscreteMemory
from wmrl.priors.baselines import Bigram, CopyLast

_LEAST_VARIANCE = 1e-4  # of a dimension that never moves, for which any likelihood can be reached
GREEDY = 1e-3
"""Temperature so low that the likeliest outcome is drawn."""


@torch.inference_mode()
def prediction_report(
    memory: Memory[Any], data: LatentDataset, *, num_batches: int = 20
) -> dict[str, Any]:
    """Computes metrics of one-step predictions on held-out sequences.

    Args:
        memory: memory to evaluate, on the same device as the data.
        data: held-out sequences.
        num_batches: number of batches to evaluate.

    Returns:
        A dictionary with these entries:

        - ``log_likelihood_per_dimension``: mean log-likelihood in nats per latent dimension. For a
          memory with discrete latents, the mean is per code.
        - ``trivial_log_likelihood_per_dimension``: log-likelihood, in nats per latent dimension, of
          the better of two trivial predictions of the next latent. One is a Gaussian around the
          mean of all latents, the other is a Gaussian around the current latent. The variances of
          both Gaussians are fitted to the data. This entry is missing for a memory with discrete
          latents.
        - ``reward_r2``: R² of the predicted rewards; None if all rewards are equal.
        - ``termination_log_loss``: cross-entropy of the predicted terminations in nats per step.
        - ``termination_auc``: area under the ROC curve of the predicted terminations; None if no
          step terminated an episode, or if every step did.
        - ``terminations``: number of steps that terminated an episode.
        - ``steps``: total number of steps.
    """
    columns: list[list[Tensor]] = [[], [], [], [], []]
    steps: list[tuple[Tensor, Tensor]] = []
    for step in range(num_batches):
        batch = data.batch(step)
        predicted, _ = memory(batch.latents[:, :-1], batch.actions)
        likelihoods = memory.log_likelihood(predicted, batch.latents[:, 1:])
        values = (
            # An ensemble returns one log-likelihood for all dimensions or codes together.
            likelihoods.mean(-1) * (likelihoods.shape[-1] / _latent_parts(memory)),
            predicted.reward,
            batch.rewards,
            predicted.termination,
            batch.terminated,
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value[batch.mask].cpu())
        if not isinstance(memory, DiscreteMemory):
            steps.append((batch.latents[:, :-1][batch.mask], batch.latents[:, 1:][batch.mask]))
    likelihood, expected, reward, logit, ended = (torch.cat(column) for column in columns)
    return {
        "log_likelihood_per_dimension": float(likelihood.mean()),
        **({"trivial_log_likelihood_per_dimension": _trivial_likelihood(steps)} if steps else {}),
        "reward_r2": explained_variance(expected, reward),
        "termination_log_loss": float(
            torch.nn.functional.binary_cross_entropy_with_logits(logit, ended.float())
        ),
        "termination_auc": ranking_quality(logit, ended),
        "terminations": int(ended.sum()),
        "steps": len(reward),
    }


def _latent_parts(memory: Memory[Any]) -> int:
    """Returns the number of parts of a latent.

    The parts are codes if the memory has discrete latents, otherwise dimensions.
    """
    if isinstance(memory, DiscreteMemory):
        return int(memory.codes_of(torch.zeros(memory.latent_dim, device=memory.device)).shape[-1])
    return memory.latent_dim


def _trivial_likelihood(steps: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Returns the log-likelihood of the better of two trivial predictions of the next latent.

    One is a Gaussian around the mean of all latents, the other is a Gaussian around the current
    latent. The variances of both Gaussians are fitted to the data. The log-likelihood is in nats
    per latent dimension.

    Args:
        steps: pairs of two tensors ``(N, Z)``, the latents before and after N steps.
    """
    before, after = (torch.cat(part).double() for part in zip(*steps, strict=True))
    likelihoods = []
    for error in (after, after - before):
        variance = error.var(0, correction=0).clamp(min=_LEAST_VARIANCE)
        likelihoods.append(-0.5 * (torch.log(2 * torch.pi * variance) + 1.0).mean())
    return float(torch.stack(likelihoods).max())


def memory_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Returns a warning if a memory's predictions are no better than trivial ones.

    Args:
        metrics: results of :func:`prediction_report` and, for a memory with discrete latents, of
            :func:`code_report`.

    Returns:
        A list with one warning that includes advice; an empty list if the memory's predictions are
        better.

    Raises:
        ValueError: the memory has discrete latents, and the results of :func:`code_report` are
            missing.
    """
    if not {"nats_per_frame", "trivial_log_likelihood_per_dimension"} & metrics.keys():
        raise ValueError(
            "metrics: expected the results of prediction_report and code_report for a memory with "
            "discrete latents, got those of prediction_report alone; add those of code_report"
        )
    if "nats_per_frame" in metrics:
        got, trivial = (-metrics["nats_per_frame"][name] for name in ("memory", "copy_last"))
        unit, name = "per frame", "a copy of the last frame"
    else:
        got = metrics["log_likelihood_per_dimension"]
        trivial = metrics["trivial_log_likelihood_per_dimension"]
        unit, name = "per latent dimension", "the mean or the last latent"
    if got > trivial:
        return []
    return [
        f"memory: expected a log-likelihood above {trivial:.4g} nats {unit} (that of predicting "
        f"{name}), got {got:.4g}: the model learned nothing of what happens next; train for more "
        "steps, record more episodes, or check in reconstructions.png that the vision model shows "
        "what moves"
    ]


@torch.inference_mode()
def code_report(
    memory: DiscreteMemory[Any], train: Sequence[LatentEpisode], held_out: Sequence[LatentEpisode]
) -> dict[str, Any]:
    """Compares a memory with discrete latents to count-based baselines.

    The baselines are ``copy_last`` (:class:`~wmrl.priors.baselines.CopyLast`) and ``bigram``
    (:class:`~wmrl.priors.baselines.Bigram`). Both predict each code of the next frame from the
    current code at the same position.

    Args:
        memory: memory to evaluate.
        train: episodes on which the memory was trained, and in which the baselines count codes.
        held_out: episodes on which the memory and the baselines are evaluated.

    Returns:
        A dictionary of two dictionaries, whose keys are the names of models:

        - ``nats_per_frame``: mean negative log-likelihood of all codes of the next frame, for
          ``memory``, ``copy_last`` and ``bigram``.
        - ``accuracy``: share of codes that are predicted correctly, for ``memory`` and
          ``copy_last``. ``memory`` predicts the likeliest code at each position. In an ensemble, a
          random member predicts each frame. ``copy_last`` predicts the codes of the current frame.
    """

    def pairs(episodes: Sequence[LatentEpisode]) -> tuple[Tensor, Tensor]:
        codes = [memory.codes_of(e.mean.float().to(memory.device)).cpu() for e in episodes]
        return torch.cat([c[:-1] for c in codes]), torch.cat([c[1:] for c in codes])

    counted, evaluated = pairs(train), pairs(held_out)
    count = memory.codebook_size
    nats = {
        name: -float(model.log_likelihood(*evaluated).sum(-1).mean())
        for name, model in (
            ("copy_last", CopyLast(*counted, count)),
            ("bigram", Bigram(*counted, count)),
        )
    }
    generator = torch.Generator(device=memory.device).manual_seed(0)
    total, right = 0.0, 0
    for episode in held_out:
        latents = episode.mean.float().to(memory.device)[None]
        predicted, _ = memory(latents[:, :-1], episode.actions.to(memory.device)[None])
        total -= float(memory.log_likelihood(predicted, latents[:, 1:]).sum())
        drawn = memory.sample(_first(predicted), temperature=GREEDY, generator=generator)
        guess = memory.codes_of(drawn.latent)
        right += int((guess == memory.codes_of(latents[0, 1:])).sum())
    before, after = evaluated
    return {
        "nats_per_frame": {"memory": total / len(after), **nats},
        "accuracy": {
            "memory": right / after.numel(),
            "copy_last": float((before == after).double().mean()),
        },
    }


def _first(prediction: Any) -> Any:
    """Selects the first sequence's predictions ``(T, ...)`` from a batch's, ``(B, T, ...)``."""
    if isinstance(prediction, Tensor):
        return prediction[0]
    parts = [_first(part) for part in prediction]
    return type(prediction)(*parts) if hasattr(prediction, "_fields") else tuple(parts)


def explained_variance(prediction: Tensor, target: Tensor) -> float | None:
    """Computes the coefficient of determination R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)².

    Args:
        prediction: ``(N,)``, predictions ŷ.
        target: ``(N,)``, targets y.

    Returns:
        R², or None if all targets are equal.
    """
    spread = float((target - target.mean()).square().sum())
    if spread == 0:
        return None
    return 1.0 - float((target - prediction).square().sum()) / spread


def ranking_quality(score: Tensor, positive: Tensor) -> float | None:
    """Computes the area under the ROC curve.

    The area is the probability that a random positive has a higher score than a random negative.
    Pairs with equal scores count half.

    Args:
        score: ``(N,)``, predicted scores.
        positive: ``(N,) bool``, True for positives.

    Returns:
        The area, or None if there are no positives or no negatives.
    """
    below, above = score[~positive].sort().values, score[positive]
    if len(below) == 0 or len(above) == 0:
        return None
    less = torch.searchsorted(below, above, right=False)
    not_more = torch.searchsorted(below, above, right=True)
    return float((less + not_more).double().mean() / (2 * len(below)))
