"""What memories have in common that learn from recorded sequences."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wmrl.losses import masked_mean, termination_loss
from wmrl.memory import Memory, P
from wmrl.sequences import SequenceBatch


@dataclass(frozen=True, kw_only=True)
class LearningMemoryConfig:
    """Loss and origin of a memory.

    Attributes:
        action_size: A of the task.
        dropout: share of h that is dropped before the next latent's head, where dropout is asked
            for. Reward and termination are judged from all of h, or an ensemble would take the
            masks for its members' disagreement.
        reward_scale: rewards are predicted times this, to be of the size of the other outputs.
        reward_weight: weight of the reward's squared error beside the mean likelihood.
        termination_weight: weight of the termination's cross-entropy.
        positive_weight: weight of terminations among all steps; 1 keeps probabilities calibrated.
        task: name of the task that it was trained on.
        frame_skip: base frames that one of its steps lasts.
        vision_digest: digest of the vision that it was trained on.
    """

    action_size: int = 2
    dropout: float = 0.1
    reward_scale: float = 0.1
    reward_weight: float = 2.0
    termination_weight: float = 1.0
    positive_weight: float = 1.0
    task: str = "car-racing"
    frame_skip: int = 4
    vision_digest: str | None = None

    def __post_init__(self) -> None:
        for name in ("action_size", "frame_skip"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected in [0, 1), got {self.dropout}")
        for name in ("reward_scale", "positive_weight"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected above 0, got {getattr(self, name)}")
        for name in ("reward_weight", "termination_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")


class LearningMemory(Memory[P]):
    """A memory with a loss; its predictions have ``reward`` and ``termination``."""

    def loss(
        self, batch: SequenceBatch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood plus the heads' errors; mean over real steps.

        Args:
            batch: sequences; the state before each is the initial one.
            generator: source of dropout masks.

        Returns:
            The loss ``()``, and its parts: ``nll`` (nats per number or code of a latent),
            ``reward_error`` (squared, of scaled rewards) and ``termination_loss`` (nats).
        """
        config = self.config
        predicted, _ = self(batch.latents[:, :-1], batch.actions, dropout=generator)
        error = config.reward_scale * (predicted.reward - batch.rewards)
        ending = termination_loss(
            predicted.termination, batch.terminated, positive_weight=config.positive_weight
        )
        parts = {
            "nll": self.training_error(predicted, batch, generator),
            "reward_error": masked_mean(error.square(), batch.mask),
            "termination_loss": masked_mean(ending, batch.mask),
        }
        loss = (
            parts["nll"]
            + config.reward_weight * parts["reward_error"]
            + config.termination_weight * parts["termination_loss"]
        )
        return loss, {name: value.detach() for name, value in parts.items()}

    def training_error(
        self, prediction: P, batch: SequenceBatch, generator: torch.Generator
    ) -> Tensor:
        """Negative log-likelihood ``()`` per number or code of a latent, mean over real steps.

        Args:
            prediction: of the batch's transitions.
            batch: sequences.
            generator: source of what is random in it.
        """
        log_likelihood = self.log_likelihood(prediction, batch.latents[:, 1:])
        return masked_mean(-log_likelihood.mean(-1), batch.mask)

    def check_sequence(self, latents: Tensor, actions: Tensor) -> None:
        """Raises ``ValueError`` unless these are ``(B, T, Z)`` and ``(B, T, A)``."""
        if latents.ndim != 3 or latents.shape[-1] != self.latent_size:
            raise ValueError(
                f"latents: expected shape (B, T, {self.latent_size}), got {tuple(latents.shape)}"
            )
        expected = (*latents.shape[:2], self.action_size)
        if tuple(actions.shape) != expected:
            raise ValueError(f"actions: expected shape {expected}, got {tuple(actions.shape)}")
