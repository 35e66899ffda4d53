"""Base class of memories that learn from recorded sequences."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from wmrl.core.validation import check_float, check_int, check_shape
from wmrl.memory.base import Memory, P
from wmrl.memory.sequences import SequenceBatch
from wmrl.nn.losses import masked_mean, termination_loss
from wmrl.vision.base import Vision


@dataclass(frozen=True, kw_only=True)
class TrainableMemoryConfig:
    """Loss and origin of a :class:`TrainableMemory`.

    Attributes:
        action_dim: A, the number of the task's action dimensions.
        dropout: share of h that is dropped before the head of the next latent, where dropout is
            asked for. Reward and termination are predicted from all of h; otherwise an ensemble
            would take the masks for disagreement of its members.
        reward_scale: factor on predicted rewards that brings them to the scale of other outputs.
        reward_weight: weight of the reward's squared error beside the mean log-likelihood.
        termination_weight: weight of the termination's cross-entropy.
        positive_weight: weight of terminations among all steps; 1 keeps probabilities calibrated.
        task: name of the task on which the memory was trained.
        frame_skip: base frames of one agent step.
        vision_digest: digest of the vision on which the memory was trained.
    """

    action_dim: int = 2
    dropout: float = 0.1
    reward_scale: float = 0.1
    reward_weight: float = 2.0
    termination_weight: float = 1.0
    positive_weight: float = 1.0
    task: str = "car-racing"
    frame_skip: int = 4
    vision_digest: str | None = None

    def __post_init__(self) -> None:
        check_int("action_dim", self.action_dim, at_least=1)
        check_int("frame_skip", self.frame_skip, at_least=1)
        check_float("dropout", self.dropout, at_least=0, below=1)
        for name in ("reward_scale", "positive_weight"):
            check_float(name, getattr(self, name), above=0)
        for name in ("reward_weight", "termination_weight"):
            check_float(name, getattr(self, name), at_least=0)


class TrainableMemory(Memory[P]):
    """Memory with a training loss; its predictions have ``reward`` and ``termination``.

    ``config`` is a :class:`TrainableMemoryConfig`; the predictions are a ``NamedTuple``.

    Attributes:
        training_defaults: training options that suit this class better than the general defaults.
    """

    training_defaults: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def fit_config(cls, config: Any, vision: Vision) -> Any:
        """Returns a configuration with the fields that a vision determines.

        Raises:
            ValueError: the memory can't be trained on that vision.
        """
        return replace(config, latent_dim=vision.latent_dim)

    def bind_vision(self, vision: Vision) -> None:
        """Takes over from its vision, before training, what the memory needs: by default nothing.

        Args:
            vision: vision that :meth:`fit_config` has accepted.
        """

    def loss(
        self, batch: SequenceBatch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss: negative log-likelihood plus errors of reward and termination.

        All parts are means over the steps in the batch's mask.

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
        """Returns the mean negative log-likelihood ``()`` per number or code of a latent.

        Args:
            prediction: predictions of the batch's transitions.
            batch: sequences; only steps in their mask count.
            generator: source of randomness, for losses that are estimated.
        """
        log_likelihood = self.log_likelihood(prediction, batch.latents[:, 1:])
        return masked_mean(-log_likelihood.mean(-1), batch.mask)

    def check_sequence(self, latents: Tensor, actions: Tensor) -> None:
        """Raises ``ValueError`` unless these are ``(B, T, Z)`` and ``(B, T, A)``."""
        check_shape("latents", latents, ("B", "T", self.latent_dim))
        check_shape("actions", actions, (*latents.shape[:2], self.action_dim))
