"""Interface of vision models, which map frames to latents and latents to frames."""

from abc import abstractmethod
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wmrl.core.validation import check_shape
from wmrl.nn.autoencoder import Autoencoder
from wmrl.storage.registry import Registry
from wmrl.storage.saved_module import load_saved_module

if TYPE_CHECKING:
    from wmrl.data.store import RolloutStore


class Vision(Autoencoder):
    """Interface of vision models: autoencoders of frames.

    Frames are ``(B, H, W, C) uint8``; the frames of environments have 3 color channels, or 1
    channel if they are gray. A model may also encode stacks of K successive frames, which are
    ``(B, H, W, C · K) uint8``, with the channels of the newest frame last (see
    :mod:`~wmrl.core.frames`). Such a model decodes only the newest frame.

    A subclass sets ``config`` (a frozen dataclass) and ``config_class``, and is registered by
    :func:`register_vision`. Its constructor takes the configuration and a keyword argument
    ``generator``, the source of the initial weights (a generator with a fixed seed if None). A
    subclass that can encode stacks overrides :attr:`frame_stack`.
    """

    kind = "vision"

    @property
    @abstractmethod
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, C)`` of a single frame, which is also the shape of a decoded frame."""

    @property
    def frame_stack(self) -> int:
        """K, the number of successive frames that the model encodes together; 1 by default."""
        return 1

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, C · K)`` of one input: a stack of K frames with C channels each."""
        height, width, channels = self.frame_shape
        return height, width, channels * self.frame_stack

    @property
    def latent_space(self) -> spaces.Space[Any]:
        """Space of one latent: ``Box(Z,) float32``, unbounded."""
        return spaces.Box(-np.inf, np.inf, (self.latent_dim,), np.float32)

    @abstractmethod
    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Maps frames ``(B, *input_shape) uint8`` to posterior distributions of their latents.

        Returns:
            Mean and standard deviation of each latent, both ``(B, Z) float32``.
        """

    @classmethod
    def fit_config(
        cls, config: Any, frame_shape: tuple[int, int, int], frame_stack: int = 1
    ) -> Any:
        """Returns a copy of a configuration, adapted to the frames to train on.

        By default, the fields ``frame_size`` (height and width), ``channels`` and ``frame_stack``
        are set to the values of these frames. Fields that the configuration does not have are
        skipped.

        Args:
            config: configuration of a model of this class.
            frame_shape: shape ``(H, W, C)`` of a single frame.
            frame_stack: number of successive frames that the model encodes together.

        Raises:
            ValueError: one of these fields has neither its default value nor the value of the
                frames, or models of this class do not support frames of this shape.
        """
        wanted = {
            "frame_size": tuple(frame_shape[:2]),
            "channels": frame_shape[2],
            "frame_stack": frame_stack,
        }
        found = {
            item.name: getattr(config, item.name) for item in fields(config) if item.name in wanted
        }
        defaults = {item.name: item.default for item in fields(config)}
        for name, value in found.items():
            if value not in (defaults[name], wanted[name]):
                raise ValueError(
                    f"config: expected {name} {wanted[name]!r} for data with frames of shape "
                    f"{frame_shape}, got {value!r}; leave {name} out, or give other data"
                )
        return replace(config, **{name: wanted[name] for name in found})

    def plan_training(self, *, frames: int, steps: int) -> int:
        """Checks that there are enough frames and steps to train from random initial weights.

        Args:
            frames: number of training frames.
            steps: number of gradient steps.

        Returns:
            Minimum number of steps to take, even if they take longer than a time limit allows; 0
            by default.

        Raises:
            ValueError: there are too few frames or steps.
        """
        return 0

    def check_frames(self, frames: Tensor) -> None:
        """Raises ``ValueError`` unless the frames are ``(B, *input_shape) uint8``."""
        check_shape("frames", frames, ("B", *self.input_shape))
        if frames.dtype != torch.uint8:
            raise ValueError(f"frames: expected dtype uint8, got {frames.dtype}")

    def check_store(self, store: "RolloutStore") -> None:
        """Checks, based on a store's metadata, that the model can encode the store's frames.

        Raises:
            ValueError: the shape of a frame, or the number of stacked frames, differs between the
                store and the model.
        """
        metadata = store.metadata
        for what, expected, got in (
            ("frames of shape", tuple(self.frame_shape), metadata.frame_shape),
            ("a frame_stack of", self.frame_stack, metadata.frame_stack),
        ):
            if expected != got:
                raise ValueError(
                    f"stores: expected {what} {expected}, as the {type(self).__name__} requires, "
                    f"got {got} in {store.path}; use another vision model, or other stores"
                )

    def _preprocess(self, inputs: Tensor) -> Tensor:
        """Maps frames ``(B, *input_shape)`` to pixels ``(B, C · K, H, W) float32`` in [0, 1]."""
        self.check_frames(inputs)
        # The permuted view is already channels-last, so that only the conversion makes a copy.
        return inputs.permute(0, 3, 1, 2).to(torch.float32).mul_(1.0 / 255.0)

    def _target(self, inputs: Tensor) -> Tensor:
        """Selects the newest frame, ``(B, C, H, W)``, from pixels ``(B, C · K, H, W)``."""
        return inputs if self.frame_stack == 1 else inputs[:, -self.frame_shape[2] :]

    def _to_frames(self, pixels: Tensor) -> Tensor:
        """Maps pixels ``(B, H, W, C)`` in [0, 1] to frames ``(B, H, W, C) uint8``."""
        return pixels.mul(255.0).round_().to(torch.uint8).contiguous()

    @torch.inference_mode()
    def encode_numpy(self, frames: np.ndarray) -> np.ndarray:
        """Encodes a NumPy array of frames ``(B, *input_shape)`` to latents ``(B, Z) float32``."""
        # A copy of arrays that torch can't read, such as mirrored views.
        contiguous = torch.from_numpy(np.ascontiguousarray(frames))
        return self.encode(contiguous.to(self.device)).cpu().numpy()

    @torch.inference_mode()
    def decode_numpy(self, latents: np.ndarray) -> np.ndarray:
        """Decodes a NumPy array of latents ``(B, Z) float32`` to frames ``(B, H, W, C) uint8``."""
        contiguous = torch.from_numpy(np.ascontiguousarray(latents, np.float32))
        return self.decode(contiguous.to(self.device)).cpu().numpy()


VISIONS: Registry[Vision] = Registry(
    Vision,  # type: ignore[type-abstract]
    "vision",
    ("wmrl.vision.vae:VAE", "wmrl.vision.vqvae:VQVAE"),
    register="wmrl.vision.register_vision",
)
"""Registry of the classes of vision models."""

V = TypeVar("V", bound=Vision)


def register_vision(cls: type[V]) -> type[V]:
    """Registers a class of vision models that is defined outside this library.

    This function can be used as a decorator. Once the class is registered,
    :func:`~wmrl.vision.training.train_vision` can train models of this class, and
    :func:`load_vision` can load the models from their artifacts.

    Args:
        cls: subclass of :class:`Vision`. Artifacts refer to the class by its name.

    Returns:
        The same class.

    Raises:
        ValueError: a different class of the same name is registered.
        TypeError: ``cls`` is not a class, or does not derive from :class:`Vision`.
    """
    return VISIONS.register(cls)


def load_vision(name_or_path: str | Path, *, device: str | torch.device = "auto") -> Vision:
    """Loads a vision model from an artifact.

    Args:
        name_or_path: name of a shipped artifact, path of an artifact's folder, or reference
            ``hf://user/name`` to a repository of the Hugging Face hub.
        device: device of the weights; ``"auto"`` for a GPU if there is one.

    Raises:
        ArtifactError: the artifact is missing or damaged, is not a vision model, or has an unknown
            class.

    Example:
        >>> import numpy as np
        >>> from wmrl.vision import load_vision
        >>> vision = load_vision("car-racing-vae", device="cpu")
        >>> frames = np.zeros((2, *vision.input_shape), np.uint8)
        >>> latents = vision.encode_numpy(frames)
        >>> latents.shape, vision.decode_numpy(latents).shape
        ((2, 32), (2, 64, 64, 3))
    """
    return load_saved_module(VISIONS, name_or_path, device=device)
