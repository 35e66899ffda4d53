"""Batches of recorded sequences for the training of memories."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceBatch:
    """Batch of B windows of L transitions from recorded episodes.

    Attributes:
        latents: ``(B, L + 1, Z) float32``, latents z_t to z_{t + L}, drawn from their posteriors.
            The last transition of an episode leads to the latent of its final frame.
        actions: ``(B, L, A) float32``.
        rewards: ``(B, L) float32``, in the task's units.
        terminated: ``(B, L) bool``, True where the transition terminated the episode.
        mask: ``(B, L) bool``, False where the window extends beyond the end of its episode.
    """

    latents: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    mask: Tensor


def segments(first: Tensor | None, length: int) -> list[tuple[int, int]]:
    """Splits a batch of sequences into segments, such that episodes start only at their edges.

    Args:
        first: ``(B, L) bool``, True where an episode starts; None if no episode starts.
        length: L, number of steps.

    Returns:
        First step and end ``(start, stop)`` of each segment. An episode of the batch can start only
        at the first step of a segment.
    """
    starts = [] if first is None else first[:, 1:].any(0).nonzero().flatten().add(1).tolist()
    edges = [0, *starts, length]
    return list(pairwise(edges))


def select_states(
    mask: Tensor, chosen: tuple[Tensor, ...], otherwise: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Combines two states of a batch.

    Args:
        mask: ``(B,) bool``, True for the entries to take from ``chosen``.
        chosen: state for the entries in the mask.
        otherwise: state for all other entries.
    """
    return tuple(
        torch.where(mask.view(-1, *[1] * (b.ndim - 1)), a, b)
        for a, b in zip(chosen, otherwise, strict=True)
    )
