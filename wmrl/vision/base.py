"""Vision: the seam between frames and latents."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wmrl.storage.saved_module import Learned, load_learned

# Where each class of vision lives; a new one is added here.
_CLASSES = {"VAE": "wmrl.vision.vae", "VQVAE": "wmrl.vision.vqvae"}


class Vision(Learned):
    """A learned eye: frames to latents and back.

    Frames are ``(B, H, W, 3) uint8`` everywhere outside the network. A subclass sets ``config``
    (a frozen dataclass) and ``config_class``, and is listed in this module's table of classes.
    """

    kind = "vision"

    @property
    @abstractmethod
    def frame_shape(self) -> tuple[int, int, int]:
        """``(H, W, 3)`` of the frames that it takes."""

    @property
    @abstractmethod
    def latent_space(self) -> spaces.Space[Any]:
        """Space of one latent: ``Box(Z,)`` float32, for a quantised vision its codes' vectors."""

    @property
    @abstractmethod
    def latent_size(self) -> int:
        """Z, the number of latent dimensions."""

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Frames ``(B, H, W, 3) uint8`` to latents ``(B, Z) float32``, without noise."""

    @abstractmethod
    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames ``(B, H, W, 3) uint8`` to ``(mean, std)``, each ``(B, Z) float32``."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z) float32`` to frames ``(B, H, W, 3) uint8``."""

    @abstractmethod
    def loss(self, frames: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised over frames ``(B, H, W, 3) uint8``, ``()``, and its parts by name."""

    @abstractmethod
    def figures(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """What there is to say of its latents on frames that it was not trained on."""

    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Is called before each step of training.

        Args:
            step: its number.
            draw: begins an endless run of batches of frames.
            generator: this step's source of randomness.
        """

    def check_frames(self, frames: Tensor) -> None:
        """Raises ``ValueError`` unless frames are ``(B, *frame_shape) uint8``."""
        if frames.ndim != 4 or tuple(frames.shape[1:]) != self.frame_shape:
            raise ValueError(
                f"frames: expected shape (B, {', '.join(map(str, self.frame_shape))}), "
                f"got {tuple(frames.shape)}"
            )
        if frames.dtype != torch.uint8:
            raise ValueError(f"frames: expected dtype uint8, got {frames.dtype}")

    @torch.inference_mode()
    def encode_numpy(self, frames: np.ndarray) -> np.ndarray:
        """:meth:`encode` from and to NumPy arrays."""
        return self.encode(torch.from_numpy(frames).to(self.device)).cpu().numpy()

    @torch.inference_mode()
    def decode_numpy(self, latents: np.ndarray) -> np.ndarray:
        """:meth:`decode` from and to NumPy arrays."""
        return self.decode(torch.from_numpy(latents).to(self.device)).cpu().numpy()


def load_vision(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Vision:
    """Opens a vision artifact by shipped name or path.

    Raises:
        ArtifactError: it is missing, damaged, no vision, or of a class that is not known.
    """
    return load_learned(Vision, _CLASSES, name_or_path, device=device)  # type: ignore[type-abstract]
