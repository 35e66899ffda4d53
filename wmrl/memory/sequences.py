"""Batches of recorded sequences for the training of memories."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceBatch:
    """Batch of B windows of L transitions from recorded episodes.

    Attributes:
        latents: ``(B, L + 1, Z) float32``, latents before and after each transition, drawn from
            their posteriors.
        actions: ``(B, L, A) float32``, actions of the transitions.
        rewards: ``(B, L) float32``, in the task's units.
        terminated: ``(B, L) bool``, True where the transition terminated the episode.
        mask: ``(B, L) bool``, True for recorded transitions, False for padding after the end of an
            episode.
    """

    latents: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    mask: Tensor


def segments(first: Tensor | None, length: int) -> list[tuple[int, int]]:
    """Splits the steps of a batch wherever an episode starts in any of the B sequences.

    Args:
        first: ``(B, L) bool``, True where an episode starts; None if no episode starts within the
            sequences.
        length: L, number of steps.

    Returns:
        A pair ``(start, stop)`` for each segment, which consists of the steps from ``start`` to
        ``stop - 1``. Episodes start only at the first step of a segment.
    """
    starts = [] if first is None else first[:, 1:].any(0).nonzero().flatten().add(1).tolist()
    edges = [0, *starts, length]
    return list(pairwise(edges))


def select_states(
    mask: Tensor, chosen: tuple[Tensor, ...], otherwise: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Takes the state of each batch entry from one of two batches of states.

    Args:
        mask: ``(B,) bool``, True for the entries to take from ``chosen``.
        chosen: tensors with leading axis ``(B,)``, used where the mask is True.
        otherwise: tensors of the same shapes, used where the mask is False.

    Returns:
        Tensors of the same shapes, one state per batch entry.
    """
    return tuple(
        torch.where(mask.view(-1, *[1] * (b.ndim - 1)), a, b)
        for a, b in zip(chosen, otherwise, strict=True)
    )
