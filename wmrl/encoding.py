"""Encoding: the seam between solutions and what a model has learned of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from wmrl.artifact import (
    Artifact,
    ArtifactError,
    load_artifact,
    load_weights,
    restore_config,
    restore_module,
    save_artifact,
)
from wmrl.device import resolve_device

# Where each class of encoding lives; a new one is added here.
_CLASSES = {"VectorVAE": "wmrl.vector_vae", "VectorVQVAE": "wmrl.vector_vqvae"}


class Encoding(nn.Module, ABC):
    """A learned encoding of solutions: vectors of X numbers to latents of Z numbers and back.

    A subclass sets ``config`` (a frozen dataclass with a ``size``) and ``config_class``, and is
    listed in this module's table of classes.

    Attributes:
        decoder: the network from latents to vectors.
        digest: SHA-256 of the weights' file that this was loaded from or last saved to, else None.
    """

    decoder: nn.Module
    config: Any
    config_class: ClassVar[type]
    digest: str | None = None

    @property
    @abstractmethod
    def latent_size(self) -> int:
        """Z."""

    @abstractmethod
    def encode(self, vectors: Tensor) -> Tensor:
        """Vectors ``(B, X) float32`` to latents ``(B, Z) float32``, without noise."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z) float32`` to vectors ``(B, X) float32``."""

    @abstractmethod
    def loss(self, vectors: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised over vectors ``(B, X)``, ``()``, and its parts by name."""

    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Is called before each step of training.

        Args:
            step: its number.
            draw: begins an endless run of batches of vectors.
            generator: this step's source of randomness.
        """

    def reconstruct(self, vectors: Tensor) -> Tensor:
        """D(E(x)) of vectors ``(B, X) float32``."""
        return self.decode(self.encode(vectors))

    @property
    def size(self) -> int:
        """X."""
        return int(self.config.size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def check_vectors(self, vectors: Tensor) -> None:
        """Raises ``ValueError`` unless vectors are ``(B, X)``."""
        if vectors.ndim != 2 or vectors.shape[1] != self.size:
            raise ValueError(
                f"vectors: expected shape (B, {self.size}), got {tuple(vectors.shape)}"
            )

    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Writes an artifact (float16) and returns its digest.

        The weights in memory are replaced by what was written.
        """
        save_artifact(
            path,
            kind="encoding",
            class_name=type(self).__name__,
            config=asdict(self.config),
            tensors=self.state_dict(),
            provenance=provenance,
            half=True,
        )
        artifact = load_artifact(path, kind="encoding")
        load_weights(self, artifact)
        self.digest = artifact.digest
        return artifact.digest

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores from an artifact that was read."""
        config: Any = restore_config(cls.config_class, artifact)
        encoding = restore_module(lambda: cls(config), artifact)
        encoding.digest = artifact.digest
        return encoding.eval()


def load_encoding(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Encoding:
    """Opens an encoding's artifact by shipped name or path.

    Raises:
        ArtifactError: it is missing, damaged, no encoding, or of a class that is not known.
    """
    artifact = load_artifact(name_or_path, kind="encoding")
    if artifact.class_name not in _CLASSES:
        raise ArtifactError(
            f"{artifact.path}: unknown encoding class {artifact.class_name!r}; "
            f"expected one of {sorted(_CLASSES)}"
        )
    cls = getattr(import_module(_CLASSES[artifact.class_name]), artifact.class_name)
    encoding: Encoding = cls.from_artifact(artifact)
    return encoding.to(resolve_device(device))
