"""Interface of encodings, which map solutions to latents and back."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from wmrl.core.validation import check_shape
from wmrl.nn.autoencoder import Autoencoder
from wmrl.storage.registry import Registry
from wmrl.storage.saved_module import load_saved_module


class Encoding(Autoencoder):
    """Base class of encodings: autoencoders of solutions, which are vectors of X numbers.

    The constructor of a subclass takes the configuration and a keyword argument ``generator``, the
    source of the initial weights. If ``generator`` is None, the constructor uses a fixed seed. A
    subclass sets ``config`` (a frozen dataclass with a field ``input_dim``) and ``config_class``.
    Subclasses are registered with :func:`register_encoding`.

    Attributes:
        decoder: network that maps latents to vectors.
    """

    kind = "encoding"
    decoder: nn.Module

    @property
    def input_dim(self) -> int:
        """X, the length of a vector."""
        return int(self.config.input_dim)

    def reconstruct(self, vectors: Tensor) -> Tensor:
        """Encodes and decodes vectors ``(B, X) float32``; the result has the same shape."""
        return self.decode(self.encode(vectors))

    def check_vectors(self, vectors: Tensor) -> None:
        """Raises ``ValueError`` unless vectors are floating-point numbers of shape ``(B, X)``."""
        check_shape("vectors", vectors, ("B", self.input_dim))
        if not vectors.is_floating_point():
            raise ValueError(
                f"vectors: expected floating-point numbers, got {vectors.dtype}; convert the "
                "vectors to float32"
            )

    def _preprocess(self, inputs: Tensor) -> Tensor:
        self.check_vectors(inputs)
        return inputs.to(torch.float32)  # archives of ribs are float64 by default


ENCODINGS: Registry[Encoding] = Registry(
    Encoding,  # type: ignore[type-abstract]
    "encoding",
    ("wmrl.encodings.vector_vae:VectorVAE", "wmrl.encodings.vector_vqvae:VectorVQVAE"),
    register="wmrl.encodings.register_encoding",
)
"""Registry of all encoding classes."""

E = TypeVar("E", bound=Encoding)


def register_encoding(cls: type[E]) -> type[E]:
    """Registers an encoding class that is defined outside this library.

    This function can be used as a decorator.

    Args:
        cls: subclass of :class:`Encoding`; artifacts refer to the class by its name.

    Returns:
        The same class.

    Raises:
        ValueError: another registered class has the same name.
        TypeError: the class does not derive from :class:`Encoding`.
    """
    return ENCODINGS.register(cls)


def load_encoding(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Encoding:
    """Loads an encoding from an artifact.

    Args:
        name_or_path: name of a shipped artifact, path of an artifact's folder, or reference
            ``hf://user/name`` to a repository of the Hugging Face hub.
        device: device of the weights; ``"auto"`` for a GPU if there is one.

    Raises:
        ArtifactError: the artifact is missing, damaged, not an encoding, or of an unknown class.

    Example:
        >>> import torch
        >>> from wmrl.encodings import load_encoding
        >>> encoding = load_encoding("planar-arm-vae", device="cpu")
        >>> latents = torch.zeros(3, encoding.latent_dim)
        >>> encoding.decode(latents).shape == (3, encoding.input_dim)
        True
    """
    return load_saved_module(ENCODINGS, name_or_path, device=device)
