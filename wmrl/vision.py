"""Vision: the seam between frames and latents."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
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

# Where each class of vision lives; a new one is added here.
_CLASSES = {"VAE": "wmrl.vae", "VQVAE": "wmrl.vqvae"}


class Vision(nn.Module, ABC):
    """A learned eye: frames to latents and back.

    Frames are ``(B, H, W, 3) uint8`` everywhere outside the network. A subclass sets ``config``
    (a frozen dataclass) and ``config_class``, and is listed in this module's table of classes.

    Attributes:
        digest: SHA-256 of the weights' file that this was loaded from or last saved to, else None.
    """

    config: Any
    config_class: ClassVar[type]
    digest: str | None = None

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

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

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

    def save(
        self,
        path: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        card: str | None = None,
        half: bool = True,
    ) -> str:
        """Writes an artifact (float16 by default) and returns its digest.

        The weights in memory are replaced by what was written, so that whatever is trained on
        this object's latents has seen the very eye that others will load.
        """
        save_artifact(
            path,
            kind="vision",
            class_name=type(self).__name__,
            config=asdict(self.config),
            tensors=self.state_dict(),
            provenance=provenance,
            card=card,
            half=half,
        )
        artifact = load_artifact(path, kind="vision")
        load_weights(self, artifact)
        self.digest = artifact.digest
        return artifact.digest

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores from an artifact that was read."""
        config: Any = restore_config(cls.config_class, artifact)
        vision = restore_module(lambda: cls(config), artifact)
        vision.digest = artifact.digest
        return vision.eval()


def load_vision(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Vision:
    """Opens a vision artifact by shipped name or path.

    Raises:
        ArtifactError: it is missing, damaged, no vision, or of a class that is not known.
    """
    artifact = load_artifact(name_or_path, kind="vision")
    if artifact.class_name not in _CLASSES:
        raise ArtifactError(
            f"{artifact.path}: unknown vision class {artifact.class_name!r}; "
            f"expected one of {sorted(_CLASSES)}"
        )
    cls = getattr(import_module(_CLASSES[artifact.class_name]), artifact.class_name)
    vision: Vision = cls.from_artifact(artifact)
    return vision.to(resolve_device(device))
