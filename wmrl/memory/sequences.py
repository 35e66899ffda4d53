"""Batches of recorded sequences, as a memory is trained on them."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceBatch:
    """B windows of L transitions, cut out of recorded episodes.

    Attributes:
        latents: ``(B, L + 1, Z) float32``, z_t to z_{t + L}, drawn from the posteriors. The last
            transition of an episode leads to the latent of its final frame.
        actions: ``(B, L, A) float32``.
        rewards: ``(B, L) float32`` in the task's units.
        terminated: ``(B, L) bool``, whether the transition ended the episode for good.
        mask: ``(B, L) bool``, false where the window reaches beyond its episode's end.
    """

    latents: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    mask: Tensor


def segments(first: Tensor | None, length: int) -> list[tuple[int, int]]:
    """Stretches of steps in which no row's episode starts but at the stretch's beginning.

    Args:
        first: ``(B, L) bool``, where an episode starts; None where none does.
        length: L.
    """
    starts = [] if first is None else first[:, 1:].any(0).nonzero().flatten().add(1).tolist()
    edges = [0, *starts, length]
    return list(pairwise(edges))


def pick_rows(
    mask: Tensor, chosen: tuple[Tensor, ...], otherwise: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """A state whose rows in ``mask: (B,) bool`` are of one state, and the others of another."""
    return tuple(
        torch.where(mask.view(-1, *[1] * (b.ndim - 1)), a, b)
        for a, b in zip(chosen, otherwise, strict=True)
    )
