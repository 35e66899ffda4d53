"""Encoding: the seam between solutions and what a model has learned of them."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from wmrl.storage.saved_module import Learned, load_learned

# Where each class of encoding lives; a new one is added here.
_CLASSES = {"VectorVAE": "wmrl.encodings.vector_vae", "VectorVQVAE": "wmrl.encodings.vector_vqvae"}


class Encoding(Learned):
    """A learned encoding of solutions: vectors of X numbers to latents of Z numbers and back.

    A subclass sets ``config`` (a frozen dataclass with a ``size``) and ``config_class``, and is
    listed in this module's table of classes.

    Attributes:
        decoder: the network from latents to vectors.
    """

    kind = "encoding"
    decoder: nn.Module

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

    def resume(self, steps: int) -> None:
        """Is called when training goes on after so many steps."""

    def reconstruct(self, vectors: Tensor) -> Tensor:
        """D(E(x)) of vectors ``(B, X) float32``."""
        return self.decode(self.encode(vectors))

    @property
    def size(self) -> int:
        """X."""
        return int(self.config.size)

    def check_vectors(self, vectors: Tensor) -> None:
        """Raises ``ValueError`` unless vectors are ``(B, X)``."""
        if vectors.ndim != 2 or vectors.shape[1] != self.size:
            raise ValueError(
                f"vectors: expected shape (B, {self.size}), got {tuple(vectors.shape)}"
            )


def load_encoding(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Encoding:
    """Opens an encoding's artifact by shipped name or path.

    Raises:
        ArtifactError: it is missing, damaged, no encoding, or of a class that is not known.
    """
    return load_learned(Encoding, _CLASSES, name_or_path, device=device)  # type: ignore[type-abstract]
