"""Batches of recorded sequences, as a memory is trained on them."""

from dataclasses import dataclass

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
