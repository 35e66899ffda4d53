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
        action_dim: A, the number of action dimensions of the task.
        dropout: share of the features h that are dropped before the head of the next latent, if
            dropout masks are requested. Reward and termination are always predicted from all of h,
            because different masks would otherwise look like a disagreement between members of an
            ensemble.
        reward_scale: factor that converts rewards to the scale of the network's other outputs.
        reward_weight: weight of the squared error of scaled rewards, relative to the negative
            log-likelihood.
        termination_weight: weight of the cross-entropy of terminations.
        positive_weight: factor on the cross-entropy of terminated steps; with 1, the predicted
            probabilities are calibrated.
        task: name of the task on which the memory was trained.
        frame_skip: number of base frames per agent step.
        vision_digest: digest of the vision model on which the memory was trained.
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
    """Base class of memories with a training loss.

    In a subclass, ``config`` is a :class:`TrainableMemoryConfig`, and the predictions are a
    ``NamedTuple`` with the fields ``reward`` and ``termination``.

    Attributes:
        training_defaults: training options of this class that differ from the general defaults.
    """

    training_defaults: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def fit_config(cls, config: Any, vision: Vision) -> Any:
        """Returns a copy of a configuration with the fields that a vision model determines.

        Args:
            config: configuration of this class.
            vision: vision model on which the memory will be trained.

        Raises:
            ValueError: the memory cannot be trained on this vision model.
        """
        return replace(config, latent_dim=vision.latent_dim)

    def bind_vision(self, vision: Vision) -> None:
        """Copies what the memory needs from its vision model before training; nothing by default.

        Args:
            vision: vision model that :meth:`fit_config` has accepted.
        """

    def loss(
        self, batch: SequenceBatch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the negative log-likelihood plus the losses of reward and termination.

        All parts are means over the steps in the batch's mask.

        Args:
            batch: recorded sequences; the memory starts each one in its initial state.
            generator: source of dropout masks.

        Returns:
            The loss ``()``, and its parts before weighting: ``nll``, the negative log-likelihood in
            nats per number or code of a latent; ``reward_error``, the squared error of scaled
            rewards; and ``termination_loss``, the cross-entropy in nats.
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
            batch: recorded sequences; only the steps in the mask count.
            generator: source of randomness for subclasses that estimate the loss from a sample.
        """
        log_likelihood = self.log_likelihood(prediction, batch.latents[:, 1:])
        return masked_mean(-log_likelihood.mean(-1), batch.mask)

    def check_sequence(self, latents: Tensor, actions: Tensor) -> None:
        """Raises ``ValueError`` unless the shapes are ``(B, T, Z)`` and ``(B, T, A)``."""
        check_shape("latents", latents, ("B", "T", self.latent_dim))
        check_shape("actions", actions, (*latents.shape[:2], self.action_dim))
