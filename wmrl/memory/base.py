"""Interface of memories: models that predict the next latent from latents and actions."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from wmrl.core.validation import check_shape
from wmrl.storage.artifact import (
    Artifact,
    ArtifactError,
    load_artifact,
    shipped_artifacts,
)
from wmrl.storage.registry import Registry
from wmrl.storage.saved_module import SavedModule, load_saved_module

MemoryState = tuple[Tensor, ...]
"""Recurrent state: tensors whose first axis is the batch, so that entries can be replaced."""

P = TypeVar("P")


@dataclass(frozen=True)
class Transition:
    """Sampled step of a batch of dreams.

    Attributes:
        latent: ``(B, Z) float32``, next latents.
        reward: ``(B,) float32``, in units of the task's reward.
        terminated: ``(B,) bool``, whether the episode ended.
    """

    latent: Tensor
    reward: Tensor
    terminated: Tensor


class Memory(SavedModule, Generic[P]):
    """Predicts the next latent, reward and termination from latents and actions.

    ``P`` is the type of its predictions (parameters of distributions). One network serves whole
    sequences (:meth:`forward`) and single steps (:meth:`step`). A subclass is made from its
    configuration and, by keyword, a ``generator`` of its initial weights (a fixed seed's if None).
    It sets ``config`` (a frozen dataclass with at least ``latent_dim``, ``action_dim``, ``task``,
    ``frame_skip`` and ``vision_digest``) and ``config_class``, starts with no start states
    (:meth:`set_start_states` with S = 0), and is registered by :func:`register_memory`.

    Attributes:
        start_mean, start_std: buffers ``(S, T, Z) float32``, posteriors of real, encoded sequences
            in which dreams start (S of them, T ≥ 1 latents each); S = 0 if there are none.
        start_actions: buffer ``(S, T - 1, A) float32``, the actions between those latents.
    """

    kind = "memory"
    start_mean: Tensor
    start_std: Tensor
    start_actions: Tensor

    @property
    def latent_dim(self) -> int:
        """Z, the number of latent dimensions."""
        return int(self.config.latent_dim)

    @property
    def action_dim(self) -> int:
        """A, the number of action dimensions."""
        return int(self.config.action_dim)

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """H, the number of features that a controller sees."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> MemoryState:
        """Returns the state before the first latent, for a batch of episodes."""

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
        """Runs over sequences.

        Args:
            latents: ``(B, T, Z) float32``, z_t.
            actions: ``(B, T, A) float32``, a_t.
            first: ``(B, T) bool``, steps at which an episode starts: the state is reset before
                them.
            state: state before the first step; the initial state if None.
            dropout: source of dropout masks; no dropout if None, in training mode or not.

        Returns:
            The predictions for steps t + 1, with leading axes (B, T), and the last state.
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
        """Runs one step.

        Args:
            latent: ``(B, Z) float32``, z_t.
            action: ``(B, A) float32``, a_t.
            state: state before the step.
            dropout: source of dropout masks; no dropout if None.

        Returns:
            The predictions for step t + 1, with leading axis (B,), and the state after the step.
        """

    @abstractmethod
    def features(self, state: MemoryState) -> Tensor:
        """Returns the features of a state that a controller sees, ``(B, H) float32``."""

    @abstractmethod
    def sample(
        self, prediction: P, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Transition:
        """Draws the next latent, reward and termination from predictions of :meth:`step`.

        Args:
            prediction: predictions with leading axis (B,).
            temperature: τ > 0 as in World Models (https://arxiv.org/abs/1803.10122): logits are
                divided by τ, Gaussian noise is multiplied by √τ.
            generator: source of all randomness; torch's global one if None.
        """

    @property
    def num_start_states(self) -> int:
        """S, the number of start states."""
        return len(self.start_mean)

    def start_latents(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Draws latents ``(B, T, Z)`` of the start states ``indices``, ``(B,) int64``."""
        mean, std = self.start_mean[indices], self.start_std[indices]
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return torch.addcmul(mean, std, noise)

    @abstractmethod
    def log_likelihood(self, prediction: P, latents: Tensor) -> Tensor:
        """Returns the log-density or log-probability of the next latents ``(..., Z)``.

        Returns:
            ``(..., N) float32`` in nats, for each of the N numbers or codes of a latent.
        """

    def set_start_states(self, mean: Tensor, std: Tensor, actions: Tensor) -> None:
        """Sets the real, encoded sequences in which dreams start.

        Args:
            mean: ``(S, T, Z) float32``, means of the latents' posteriors.
            std: ``(S, T, Z) float32``, their standard deviations.
            actions: ``(S, T - 1, A) float32``, the actions between them.

        Raises:
            ValueError: a shape is another.
        """
        count, steps = mean.shape[:2]
        check_shape("mean", mean, (count, steps, self.latent_dim))
        check_shape("std", std, (count, steps, self.latent_dim))
        check_shape("actions", actions, (count, steps - 1, self.action_dim))
        self._register_start_states(
            mean.to(self.device), std.to(self.device), actions.to(self.device)
        )

    def with_start_states_of(self, artifact: Artifact) -> Self:
        """Takes over the start states of an artifact, if it has any, and returns itself."""
        starts = [artifact.tensors.get(f"start_{name}") for name in ("mean", "std", "actions")]
        mean, std, actions = starts
        if mean is not None and std is not None and actions is not None:
            self.set_start_states(mean, std, actions)
        return self

    def _register_start_states(self, mean: Tensor, std: Tensor, actions: Tensor) -> None:
        self.register_buffer("start_mean", mean)
        self.register_buffer("start_std", std)
        self.register_buffer("start_actions", actions)

    def check_vision(self, digest: str | None) -> None:
        """Checks that this memory was trained on the vision of a digest.

        Raises:
            ArtifactError: it was trained on another one.
        """
        expected = self.config.vision_digest
        if digest != expected:
            raise ArtifactError(
                f"memory: trained on the vision {str(expected)[:12]}…, got the vision "
                f"{str(digest)[:12]}…; use the vision that it was trained on, or train a memory "
                "for this one"
            )

    @classmethod
    def _shaped_as(cls, config: Any, artifact: Artifact) -> Self:
        return cls(config).with_start_states_of(artifact)


MEMORIES: Registry[Memory[Any]] = Registry(
    Memory,  # type: ignore[type-abstract]
    "memory",
    (
        "wmrl.memory.code_memory:CodeMemory",
        "wmrl.memory.ensemble:CodeMemoryEnsemble",
        "wmrl.memory.ensemble:MemoryEnsemble",
        "wmrl.memory.mdn_rnn:MDNRNN",
    ),
    register="wmrl.memory.register_memory",
)
"""Known memories."""

M = TypeVar("M", bound=Memory[Any])


def register_memory(cls: type[M]) -> type[M]:
    """Registers a memory that is defined outside this library; usable as a decorator.

    It can then be trained by :func:`~wmrl.memory.training.train_memory` if it derives from
    :class:`~wmrl.memory.trainable.TrainableMemory`, and its artifacts can be loaded wherever a
    memory is expected.

    Args:
        cls: subclass of :class:`Memory`; artifacts store its name.

    Returns:
        The same class.

    Raises:
        ValueError: another class has that name.
        TypeError: it does not derive from :class:`Memory`.
    """
    return MEMORIES.register(cls)


def load_memory(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Memory[Any]:
    """Loads a memory from an artifact, in evaluation mode.

    Args:
        name_or_path: name of a shipped artifact, or path of one.
        device: device of the weights.

    Raises:
        ArtifactError: the artifact is missing, damaged, no memory, or of an unknown class.

    Example:
        >>> from wmrl.memory import load_memory
        >>> memory = load_memory("car-racing-mdnrnn", device="cpu")
        >>> memory.latent_dim, memory.action_dim, memory.feature_dim
        (32, 2, 256)
    """
    return load_saved_module(MEMORIES, name_or_path, device=device)


def matching_memory(vision_digest: str | None) -> str:
    """Returns the name of the shipped memory that was trained on a vision.

    Raises:
        ArtifactError: there is none.
    """
    for name in shipped_artifacts(kind="memory"):
        config = load_artifact(name, kind="memory").config
        config = config.get("member", config)  # an ensemble has the members' configuration there
        if config.get("vision_digest") == vision_digest:
            return name
    raise ArtifactError(
        f"memory: no shipped memory was trained on the vision {str(vision_digest)[:12]}…; give a "
        "name or path (or, in the real game, None for observations without a memory)"
    )
