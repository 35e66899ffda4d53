"""Batches of recorded sequences, on which memories are trained."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceBatch:
    """B windows of L transitions from recorded episodes.

    Attributes:
        latents: ``(B, L + 1, Z) float32``, z_t to z_{t + L}, drawn from their posteriors. The last
            transition of an episode leads to the latent of its final frame.
        actions: ``(B, L, A) float32``.
        rewards: ``(B, L) float32``, in the task's units.
        terminated: ``(B, L) bool``, whether the transition terminated the episode.
        mask: ``(B, L) bool``, false where the window extends beyond its episode's end.
    """

    latents: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    mask: Tensor


def segments(first: Tensor | None, length: int) -> list[tuple[int, int]]:
    """Splits steps into segments within which no episode of the batch starts.

    Args:
        first: ``(B, L) bool``, steps at which an episode starts; None if there are none.
        length: L.

    Returns:
        Pairs ``(start, stop)`` of steps; episodes start at a segment's first step only.
    """
    starts = [] if first is None else first[:, 1:].any(0).nonzero().flatten().add(1).tolist()
    edges = [0, *starts, length]
    return list(pairwise(edges))


def select_states(
    mask: Tensor, chosen: tuple[Tensor, ...], otherwise: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Combines two states: entries of one in the mask ``(B,) bool``, and of the other elsewhere."""
    return tuple(
        torch.where(mask.view(-1, *[1] * (b.ndim - 1)), a, b)
        for a, b in zip(chosen, otherwise, strict=True)
    )
