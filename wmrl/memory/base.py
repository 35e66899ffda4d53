"""Interface, registration and loading of memories, the models that predict the next latent."""

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
"""Recurrent state of a memory: tensors whose first axis is the batch."""

P = TypeVar("P")


@dataclass(frozen=True)
class Transition:
    """Sampled next step of each of B dreams.

    Attributes:
        latent: ``(B, Z) float32``, next latents.
        reward: ``(B,) float32``, rewards in the task's units.
        terminated: ``(B,) bool``, True where the step terminates the episode.
    """

    latent: Tensor
    reward: Tensor
    terminated: Tensor


class Memory(SavedModule, Generic[P]):
    """Interface of models that predict the next latent, reward and termination.

    Actions are encoded as vectors of A numbers by :class:`~wmrl.core.action_spec.ActionSpec`: a
    choice among n options is a one-hot vector.

    A memory runs over whole sequences (:meth:`forward`) or step by step (:meth:`step`). The type
    parameter ``P`` is the type of the predictions, which are parameters of distributions.

    A memory stores S start states, from which dreams start. Each start state is a recorded sequence
    of T ≥ 1 latents and the actions between them. A new memory has no start states (S = 0).

    A subclass sets ``config_class`` to a frozen dataclass, and ``config`` to an instance of this
    dataclass. The dataclass has at least the attributes ``latent_dim``, ``action_dim``, ``task``,
    ``frame_skip`` and ``vision_digest``. The constructor of the subclass takes the configuration
    and a keyword argument ``generator``, the source of the initial weights. If ``generator`` is
    None, the constructor uses a generator with a fixed seed. Register the subclass with
    :func:`register_memory`.

    Attributes:
        start_mean: buffer ``(S, T, Z) float32``, posterior means of the start states' latents.
        start_std: buffer ``(S, T, Z) float32``, standard deviations of these posteriors.
        start_actions: buffer ``(S, T - 1, A) float32``, encoded actions between these latents.
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
        """A, the number of dimensions of an encoded action."""
        return int(self.config.action_dim)

    @property
    def num_options(self) -> tuple[int, ...]:
        """Number of options of each discrete choice in an action; empty for continuous actions."""
        return tuple(getattr(self.config, "num_options", ()))

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """H, the number of features that the memory provides for a controller."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> MemoryState:
        """Returns the state before the first step, for a batch of ``batch_size`` episodes."""

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
        """Predicts the next latent, reward and termination at each step of a batch of sequences.

        Args:
            latents: ``(B, T, Z) float32``, latents z_t.
            actions: ``(B, T, A) float32``, encoded actions a_t.
            first: ``(B, T) bool``, True where an episode starts. The state of a sequence is reset
                before each such step. None if no episode starts within the sequences.
            state: state before the first step; the initial state if None.
            dropout: source of dropout masks; None for no dropout, even in training mode.

        Returns:
            The predictions for steps t + 1, with leading axes ``(B, T)``, and the state after the
            last step.
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
        """Predicts the next latent, reward and termination from the current latent and action.

        Args:
            latent: ``(B, Z) float32``, latents z_t.
            action: ``(B, A) float32``, encoded actions a_t.
            state: state before the step.
            dropout: source of dropout masks; None for no dropout, even in training mode.

        Returns:
            The predictions for step t + 1, with leading axis ``(B,)``, and the state after step t.
        """

    @abstractmethod
    def features(self, state: MemoryState) -> Tensor:
        """Returns the features ``(B, H) float32`` that a state provides for a controller."""

    @abstractmethod
    def sample(
        self, prediction: P, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Transition:
        """Draws the next latent, reward and termination from predictions of :meth:`step`.

        Args:
            prediction: predictions with leading axis ``(B,)``.
            temperature: temperature τ of World Models (https://arxiv.org/abs/1803.10122), above 0.
                The logits of mixture components or codes are divided by τ. Gaussian noise is
                multiplied by √τ.
            generator: source of all randomness; PyTorch's global generator if None.
        """

    @property
    def num_start_states(self) -> int:
        """S, the number of start states."""
        return len(self.start_mean)

    def start_latents(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Draws the latents of start states from their posteriors.

        Args:
            indices: ``(B,) int64``, indices of the start states.
            generator: source of the noise, on the memory's device.

        Returns:
            Latents ``(B, T, Z) float32``, where T is the number of latents in a start state.
        """
        mean, std = self.start_mean[indices], self.start_std[indices]
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return torch.addcmul(mean, std, noise)

    @abstractmethod
    def log_likelihood(self, prediction: P, latents: Tensor) -> Tensor:
        """Returns the log-likelihood of the next latents under the predictions.

        Args:
            prediction: predictions with leading axes ``(...)``.
            latents: ``(..., Z) float32``, next latents.

        Returns:
            Log-likelihoods ``(..., N) float32`` in nats. Their sum over the last axis is the
            log-likelihood of the whole latent. N is the number of latent dimensions or codes, or 1
            for an ensemble.
        """

    def set_start_states(self, mean: Tensor, std: Tensor, actions: Tensor) -> None:
        """Sets the S recorded sequences of T latents from which dreams start.

        Args:
            mean: ``(S, T, Z) float32``, posterior means of the latents.
            std: ``(S, T, Z) float32``, standard deviations of the posteriors.
            actions: ``(S, T - 1, A) float32``, actions between the latents.

        Raises:
            ValueError: an argument has the wrong shape, is not float32, or contains a number that
                is not finite.
        """
        for name, tensor in (("mean", mean), ("std", std), ("actions", actions)):
            if tensor.dtype != torch.float32:
                raise ValueError(f"{name}: expected torch.float32, got {tensor.dtype}")
            if not tensor.is_meta and not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
        count, steps = mean.shape[:2]
        check_shape("mean", mean, (count, steps, self.latent_dim))
        check_shape("std", std, (count, steps, self.latent_dim))
        check_shape("actions", actions, (count, steps - 1, self.action_dim))
        self._register_start_states(
            mean.to(self.device), std.to(self.device), actions.to(self.device)
        )

    def with_start_states_of(self, artifact: Artifact) -> Self:
        """Copies an artifact's start states, if there are any, into this memory.

        Returns:
            This memory.
        """
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
        """Checks that this memory was trained on a given vision model.

        Args:
            digest: digest of the vision model; None if the model was never saved.

        Raises:
            ArtifactError: the memory was trained on another vision model.
        """
        expected = self.config.vision_digest
        if digest != expected:
            raise ArtifactError(
                f"memory: expected one that was trained on {_vision_model(digest)}, got one that "
                f"was trained on {_vision_model(expected)}; train a memory on the given vision "
                "model, or use the vision model of this memory"
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
"""Registry of all memory classes."""

M = TypeVar("M", bound=Memory[Any])


def register_memory(cls: type[M]) -> type[M]:
    """Registers a memory class that is defined outside this library.

    The function can be used as a decorator. Artifacts of a registered class can be loaded wherever
    a memory is expected. :func:`~wmrl.memory.training.train_memory` can train the class if it
    derives from :class:`~wmrl.memory.trainable.TrainableMemory`.

    Args:
        cls: subclass of :class:`Memory`. Artifacts refer to the class by its name.

    Returns:
        The same class.

    Raises:
        ValueError: another class with the same name is registered.
        TypeError: the class does not derive from :class:`Memory`.
    """
    return MEMORIES.register(cls)


def load_memory(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Memory[Any]:
    """Loads a memory from an artifact, in evaluation mode.

    Args:
        name_or_path: name of a shipped artifact, path of an artifact's folder, or reference
            ``hf://user/name`` to a repository of the Hugging Face hub.
        device: device of the weights; ``"auto"`` for a GPU if there is one.

    Raises:
        ArtifactError: the artifact is missing, damaged, not a memory, or of an unknown class.

    Example:
        >>> from wmrl.memory import load_memory
        >>> memory = load_memory("car-racing-mdnrnn", device="cpu")
        >>> memory.latent_dim, memory.action_dim, memory.feature_dim
        (32, 2, 256)
    """
    return load_saved_module(MEMORIES, name_or_path, device=device)


def matching_memory(vision_digest: str | None) -> str:
    """Returns the name of the shipped memory that was trained on a given vision model.

    Args:
        vision_digest: digest of the vision model; None if the model was never saved.

    Raises:
        ArtifactError: no shipped memory was trained on this vision model.
    """
    for name in shipped_artifacts(kind="memory"):
        config = load_artifact(name, kind="memory").config
        config = config.get("member", config)  # configuration of an ensemble's members
        if config.get("vision_digest") == vision_digest:
            return name
    raise ArtifactError(
        f"memory: no shipped memory was trained on {_vision_model(vision_digest)}; pass the name "
        "or path of a memory that was trained on this model, or None to use the real game without "
        "a memory"
    )


def _vision_model(digest: str | None) -> str:
    """Describes the vision model with a given digest in error messages."""
    if digest is None:
        return "a vision model without a digest, which was never saved"
    return f"the vision model with digest {digest[:12]}…"
