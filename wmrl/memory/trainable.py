"""Base class of memories that are trained on recorded sequences."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int, check_shape
from wmrl.memory.base import Memory, P
from wmrl.memory.sequences import SequenceBatch
from wmrl.nn.losses import masked_mean, termination_loss
from wmrl.vision.base import Vision

MAX_FRAME_SKIP = 10_000
"""Maximum number of frames of the game per agent step."""


@dataclass(frozen=True, kw_only=True)
class TrainableMemoryConfig:
    """Configuration that all trainable memories share: the loss, the task and the vision model.

    Attributes:
        action_dim: A, the number of dimensions of an encoded action of the task.
        num_options: number of options of each discrete choice in an action; empty for continuous
            actions.
        dropout: dropout rate of the features from which the next latent is predicted. Dropout is
            applied only if the memory is called with a source of dropout masks. Reward and
            termination are always predicted without dropout, because different masks would look
            like disagreement between the members of an ensemble.
        reward_scale: factor that brings rewards to the scale of the network's other outputs. If
            None, the function :func:`~wmrl.memory.training.train_memory` uses the reward scale of
            its argument ``init``. Without ``init``, the function scales the largest absolute reward
            of the recorded agent steps to 1. A memory that is created with None uses 1.
        reward_weight: weight of the squared error of scaled rewards in the loss. The negative
            log-likelihood of the next latent has weight 1.
        termination_weight: weight of the cross-entropy of terminations in the loss.
        positive_weight: factor on the cross-entropy of steps that terminate an episode. With 1, the
            predicted probabilities of termination are calibrated.
        task: name of the task on which the memory was trained.
        frame_skip: number of frames of the game per agent step.
        vision_digest: digest of the vision model on which the memory was trained; None before
            training.
    """

    action_dim: int = 2
    num_options: tuple[int, ...] = ()
    dropout: float = 0.1
    reward_scale: float | None = None
    reward_weight: float = 2.0
    termination_weight: float = 1.0
    positive_weight: float = 1.0
    task: str = "car-racing"
    frame_skip: int = 4
    vision_digest: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("action_dim", self.action_dim, at_least=1)
        for number in self.num_options:
            check_int("num_options", number, at_least=1)
        check_int("frame_skip", self.frame_skip, at_least=1, at_most=MAX_FRAME_SKIP)
        check_float("dropout", self.dropout, at_least=0, below=1)
        if self.reward_scale is not None:
            check_float("reward_scale", self.reward_scale, above=0)
        check_float("positive_weight", self.positive_weight, above=0)
        for name in ("reward_weight", "termination_weight"):
            check_float(name, getattr(self, name), at_least=0)

    @property
    def reward_factor(self) -> float:
        """Factor by which rewards are multiplied: ``reward_scale``; 1 if that field is None."""
        return 1.0 if self.reward_scale is None else self.reward_scale


class TrainableMemory(Memory[P]):
    """Base class of memories with a training loss.

    In a subclass, ``config`` is a :class:`TrainableMemoryConfig`. The predictions are a
    ``NamedTuple`` with at least the fields ``reward`` and ``termination``.

    Attributes:
        training_defaults: default values of training options, by name. Only values that differ
            from the defaults of :class:`~wmrl.memory.training.MemoryTrainingConfig` are listed.
    """

    training_defaults: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def fit_config(cls, config: Any, vision: Vision) -> Any:
        """Returns a copy of a configuration, adapted to a vision model.

        By default, the field ``latent_dim`` is set to that of the vision model, and all other
        fields are kept.

        Args:
            config: configuration of a memory of this class.
            vision: vision model on which the memory will be trained.

        Raises:
            ValueError: the memory cannot be trained on this vision model.
        """
        return replace(config, latent_dim=vision.latent_dim)

    def bind_vision(self, vision: Vision) -> None:
        """Copies parts of the vision model, such as its codebook, before training.

        By default, nothing is copied.

        Args:
            vision: vision model that :meth:`fit_config` has accepted.
        """

    def loss(
        self, batch: SequenceBatch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the training loss of a batch.

        The loss is the weighted sum of three parts. Each part is a mean over the steps where the
        batch's mask is True.

        Args:
            batch: recorded sequences. Each sequence starts from the memory's initial state.
            generator: source of dropout masks and other random draws.

        Returns:
            The loss ``()``, and a dictionary of its parts before weighting. ``nll`` is the negative
            log-likelihood in nats per latent dimension or code. ``reward_error`` is the squared
            error of the scaled rewards. ``termination_loss`` is the cross-entropy in nats, in which
            steps that terminate an episode count ``config.positive_weight`` times.
        """
        config = self.config
        predicted, _ = self(batch.latents[:, :-1], batch.actions, dropout=generator)
        error = config.reward_factor * (predicted.reward - batch.rewards)
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
        """Returns the mean negative log-likelihood ``()`` in nats per latent dimension or code.

        Args:
            prediction: predictions of the batch's transitions.
            batch: recorded sequences; steps where the batch's mask is False are ignored.
            generator: source of randomness, for subclasses that estimate the mean from a sample of
                the steps.
        """
        log_likelihood = self.log_likelihood(prediction, batch.latents[:, 1:])
        return masked_mean(-log_likelihood.mean(-1), batch.mask)

    def check_sequence(self, latents: Tensor, actions: Tensor) -> None:
        """Checks the shapes of latents ``(B, T, Z)`` and actions ``(B, T, A)``.

        Raises:
            ValueError: a tensor has the wrong shape.
        """
        check_shape("latents", latents, ("B", "T", self.latent_dim))
        check_shape("actions", actions, (*latents.shape[:2], self.action_dim))
