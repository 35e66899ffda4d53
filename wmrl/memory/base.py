"""Memory: the seam between latents and what comes next."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from wmrl.memory.sequences import SequenceBatch
from wmrl.nn.losses import masked_mean, termination_loss
from wmrl.storage.artifact import (
    Artifact,
    ArtifactError,
    load_artifact,
    shipped_artifacts,
)
from wmrl.storage.saved_module import Learned, load_learned

# Where each class of memory lives; a new one is added here.
_CLASSES = {
    "CodeMemory": "wmrl.memory.code_memory",
    "CodeMemoryEnsemble": "wmrl.memory.ensemble",
    "MDNRNN": "wmrl.memory.mdn_rnn",
    "MemoryEnsemble": "wmrl.memory.ensemble",
}

MemoryState = tuple[Tensor, ...]
"""Recurrent state: tensors whose first axis is the batch, so that rows can be picked or reset."""

P = TypeVar("P")


@dataclass(frozen=True)
class Transition:
    """One sampled step of a dream.

    Attributes:
        latent: ``(B, Z) float32`` next latent.
        reward: ``(B,) float32`` in units of the task's reward.
        terminated: ``(B,) bool``.
    """

    latent: Tensor
    reward: Tensor
    terminated: Tensor


class Memory(Learned, Generic[P]):
    """Predicts the next latent, reward and termination from latents and actions.

    ``P`` is what it predicts (parameters of distributions); one network serves whole sequences
    (:meth:`forward`) and single steps (:meth:`step`). A subclass sets ``config`` (a frozen
    dataclass with at least ``latent_size``, ``action_size``, ``task``, ``frame_skip`` and
    ``vision_digest``) and ``config_class``, and is listed in this module's table of classes.

    Attributes:
        start_mean, start_std: buffers ``(S, T, Z) float32``, encoded real sequences in which
            dreams start (S of them, T ≥ 1 latents each); S = 0 where there are none.
        start_actions: buffer ``(S, T - 1, A) float32``, the actions between those latents.
    """

    kind = "memory"
    start_mean: Tensor
    start_std: Tensor
    start_actions: Tensor

    @property
    def latent_size(self) -> int:
        """Z, the number of latent dimensions."""
        return int(self.config.latent_size)

    @property
    def action_size(self) -> int:
        """A, the number of action dimensions."""
        return int(self.config.action_size)

    @property
    @abstractmethod
    def feature_size(self) -> int:
        """H, the size of what a controller sees of the state."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> MemoryState:
        """The state before the first latent."""

    @abstractmethod
    def forward(
        self,
        latents: Tensor,
        actions: Tensor,
        *,
        first: Tensor | None = None,
        state: MemoryState | None = None,
        dropout: torch.Generator | None = None,
    ) -> tuple[P, MemoryState]:
        """Runs over a sequence.

        Args:
            latents: ``(B, T, Z) float32`` z_t.
            actions: ``(B, T, A) float32`` a_t.
            first: ``(B, T) bool``, where an episode starts: the state is reset before that step.
            state: state before the first step; the initial state if None.
            dropout: source of dropout masks; no dropout if None, in training mode or not.

        Returns:
            The predictions for step t + 1, with leading axes (B, T), and the last state.
        """

    @abstractmethod
    def step(
        self,
        latent: Tensor,
        action: Tensor,
        state: MemoryState,
        *,
        dropout: torch.Generator | None = None,
    ) -> tuple[P, MemoryState]:
        """One step: latent ``(B, Z)``, action ``(B, A)``; predictions with leading axis (B,).

        With a generator as ``dropout``, masks are drawn from it; without one nothing is dropped.
        """

    @abstractmethod
    def features(self, state: MemoryState) -> Tensor:
        """What a controller sees of the state: ``(B, H) float32``."""

    @abstractmethod
    def sample(
        self, prediction: P, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Transition:
        """Draws the next latent, reward and termination from predictions of :meth:`step`.

        Temperature τ as in World Models (https://arxiv.org/abs/1803.10122): mixture logits are
        divided by τ, Gaussian noise is multiplied by √τ.
        """

    @property
    def start_count(self) -> int:
        """S, the number of kept starts."""
        return len(self.start_mean)

    def start_latents(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Latents ``(B, T, Z)`` of the starts ``rows: (B,) int64``, drawn from their posteriors."""
        mean, std = self.start_mean[rows], self.start_std[rows]
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return torch.addcmul(mean, std, noise)

    @abstractmethod
    def log_likelihood(self, prediction: P, latents: Tensor) -> Tensor:
        """Log-density or log-probability of the next latents ``(..., Z)``.

        Returns:
            ``(..., N)`` in nats, over the N numbers or codes that a latent is made of.
        """

    def set_starts(self, mean: Tensor, std: Tensor, actions: Tensor) -> None:
        """Keeps encoded real sequences for dreams to start in; shapes as in the attributes."""
        count, steps = mean.shape[:2]
        for name, value, expected in (
            ("mean", mean, (count, steps, self.latent_size)),
            ("std", std, (count, steps, self.latent_size)),
            ("actions", actions, (count, steps - 1, self.action_size)),
        ):
            if tuple(value.shape) != expected:
                raise ValueError(f"{name}: expected shape {expected}, got {tuple(value.shape)}")
        self._register_starts(mean.to(self.device), std.to(self.device), actions.to(self.device))

    def with_starts_of(self, artifact: Artifact) -> Self:
        """Itself, with the starts that an artifact holds, if it does."""
        starts = [artifact.tensors.get(f"start_{name}") for name in ("mean", "std", "actions")]
        mean, std, actions = starts
        if mean is not None and std is not None and actions is not None:
            self.set_starts(mean, std, actions)
        return self

    def _register_starts(self, mean: Tensor, std: Tensor, actions: Tensor) -> None:
        self.register_buffer("start_mean", mean)
        self.register_buffer("start_std", std)
        self.register_buffer("start_actions", actions)

    def check_vision(self, digest: str | None) -> None:
        """Raises :class:`ArtifactError` unless this memory was trained on that vision."""
        expected = self.config.vision_digest
        if digest != expected:
            raise ArtifactError(
                f"memory: trained on the vision {str(expected)[:12]}…, got the vision "
                f"{str(digest)[:12]}…; use the vision that it was trained on, or train a memory "
                "on this one"
            )

    @classmethod
    def _shaped_as(cls, config: Any, artifact: Artifact) -> Self:
        return cls(config).with_starts_of(artifact)


def load_memory(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Memory[Any]:
    """Opens a memory artifact by shipped name or path.

    Raises:
        ArtifactError: it is missing, damaged, no memory, or of a class that is not known.
    """
    return load_learned(Memory, _CLASSES, name_or_path, device=device)  # type: ignore[type-abstract]


def matching_memory(vision_digest: str | None) -> str:
    """Name of the shipped memory that was trained on a vision.

    Raises:
        ArtifactError: there is none.
    """
    for name in shipped_artifacts(kind="memory"):
        config = load_artifact(name, kind="memory").config
        config = config.get("member", config)  # an ensemble's, or its own
        if config.get("vision_digest") == vision_digest:
            return name
    raise ArtifactError(
        f"memory: none that is shipped was trained on the vision {str(vision_digest)[:12]}…; give "
        "one by name or path (or, in the real game, None for latents alone)"
    )


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
