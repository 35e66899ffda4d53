"""The convolutional variational autoencoder of World Models: a vision with Gaussian latents."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.nn.losses import floored_kl, gaussian_kl, squared_error
from wmrl.vision.base import Vision

_ACTIVE_VARIANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Sizes and loss of a :class:`VAE`.

    Attributes:
        width: channels of the first convolution; the others have 2, 4 and 8 times as many. The
            paper's 32 makes 4,348,547 parameters with 32 latents; 16 is a quarter of that.
        latent_size: Z.
        kl_floor: nats a dimension that the divergence may cost for free.
        frame_size: height and width of the frames; the paper's layers fit 64×64 only.
        log_variance_bias: where log σ² of the posterior starts. At 0 the latents are mere noise
            at first, and some never recover; −2 lets the decoder hear them from the start.
    """

    width: int = 16
    latent_size: int = 32
    kl_floor: float = 0.5
    frame_size: tuple[int, int] = (64, 64)
    log_variance_bias: float = -2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame_size", tuple(self.frame_size))  # a list in JSON
        for name in ("width", "latent_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.kl_floor < 0:
            raise ValueError(f"kl_floor: expected at least 0 nats, got {self.kl_floor}")
        if self.frame_size != (64, 64):
            raise ValueError(
                f"frame_size: expected (64, 64), which the paper's layers take, got "
                f"{self.frame_size}; let the task resize its frames to that"
            )


class VAE(Vision):
    """Four convolutions down to a Gaussian of Z dimensions, four transposed ones up again.

    World Models, Ha and Schmidhuber 2018 (https://arxiv.org/abs/1803.10122), appendix A.1. The
    controller sees the posterior's mean; the memory is trained on draws from the posterior.

    Args:
        config: sizes and loss.
        generator: source of the initial weights; a fixed seed's if None.
    """

    config: VAEConfig
    config_class: ClassVar[type] = VAEConfig

    def __init__(self, config: VAEConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        width, latent_size = config.width, config.latent_size
        with seeded_weights(generator):
            self.encoder = nn.Sequential(
                *(nn.Conv2d(3, width, 4, 2), nn.ReLU(inplace=True)),  # (B, w, 31, 31)
                *(nn.Conv2d(width, 2 * width, 4, 2), nn.ReLU(inplace=True)),  # (B, 2w, 14, 14)
                *(nn.Conv2d(2 * width, 4 * width, 4, 2), nn.ReLU(inplace=True)),  # (B, 4w, 6, 6)
                *(nn.Conv2d(4 * width, 8 * width, 4, 2), nn.ReLU(inplace=True)),  # (B, 8w, 2, 2)
                nn.Flatten(),
            )
            self.posterior_head = nn.Linear(32 * width, 2 * latent_size)  # (B, mean and log σ²)
            self.decoder_head = nn.Linear(latent_size, 32 * width)
            self.decoder = nn.Sequential(
                nn.Unflatten(1, (32 * width, 1, 1)),
                *(nn.ConvTranspose2d(32 * width, 4 * width, 5, 2), nn.ReLU(inplace=True)),  # 5×5
                *(nn.ConvTranspose2d(4 * width, 2 * width, 5, 2), nn.ReLU(inplace=True)),  # 13×13
                *(nn.ConvTranspose2d(2 * width, width, 6, 2), nn.ReLU(inplace=True)),  # 30×30
                *(nn.ConvTranspose2d(width, 3, 6, 2), nn.Sigmoid()),  # (B, 3, 64, 64)
            )
        with torch.no_grad():
            self.posterior_head.bias[latent_size:] += config.log_variance_bias
        # Frames come with the channels last; convolutions that match are far faster on CPUs.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """``(64, 64, 3)``."""
        return (*self.config.frame_size, 3)

    @property
    def latent_space(self) -> spaces.Space[Any]:
        """``Box(Z,) float32``, unbounded."""
        return spaces.Box(-np.inf, np.inf, (self.latent_size,), np.float32)

    @property
    def latent_size(self) -> int:
        """Z."""
        return self.config.latent_size

    def encode(self, frames: Tensor) -> Tensor:
        """Frames ``(B, 64, 64, 3) uint8`` to posterior means ``(B, Z) float32``."""
        return self._encode(self._pixels(frames))[0]

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames ``(B, 64, 64, 3) uint8`` to ``(mean, std)``, each ``(B, Z) float32``."""
        mean, log_variance = self._encode(self._pixels(frames))
        return mean, torch.exp(0.5 * log_variance)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z) float32`` to frames ``(B, 64, 64, 3) uint8``.

        Raises:
            ValueError: latents are not ``(B, Z)``.
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent_size:
            raise ValueError(
                f"latents: expected shape (B, {self.latent_size}), got {tuple(latents.shape)}"
            )
        pixels = self._decode(latents).permute(0, 2, 3, 1)
        return pixels.mul(255.0).round_().to(torch.uint8).contiguous()

    def loss(self, frames: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative evidence bound with a floor under its divergence; mean over frames.

        Args:
            frames: ``(B, 64, 64, 3) uint8``.
            generator: source of the posterior's noise.

        Returns:
            The loss ``()``, and the parts it is made of: ``squared_error`` (summed over a frame's
            pixels in [0, 1]) and ``kl`` (nats a frame, without the floor).
        """
        pixels = self._pixels(frames)
        mean, log_variance = self._encode(pixels)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        decoded = self._decode(torch.addcmul(mean, torch.exp(0.5 * log_variance), noise))
        error = squared_error(decoded, pixels).mean()
        kl = gaussian_kl(mean, log_variance)
        loss = error + floored_kl(kl, floor=self.config.kl_floor).mean()
        return loss, {"squared_error": error.detach(), "kl": kl.detach().sum(1).mean()}

    def figures(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """``kl`` in nats a frame, and ``active_dimensions``: how many latents' means vary.

        A dimension counts from a variance of 0.01 on, the bound of Importance Weighted
        Autoencoders (Burda et al. 2016, https://arxiv.org/abs/1509.00519).
        """
        divergences, means = [], []
        for frames in batches:
            mean, log_variance = self._encode(self._pixels(frames))
            divergences.append(gaussian_kl(mean, log_variance).sum(1).cpu())
            means.append(mean.cpu())
        active = torch.cat(means).var(0) > _ACTIVE_VARIANCE
        return {
            "kl": float(torch.cat(divergences).mean()),
            "active_dimensions": int(active.sum()),
        }

    def _pixels(self, frames: Tensor) -> Tensor:
        self.check_frames(frames)
        # A permuted view of (B, H, W, 3) is channels-last already: nothing is copied but once.
        return frames.permute(0, 3, 1, 2).to(torch.float32).mul_(1.0 / 255.0)

    def _encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.posterior_head(self.encoder(pixels)).chunk(2, 1)
        return mean, log_variance

    def _decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self.decoder(self.decoder_head(latents).relu())
        return pixels
