"""The convolutional variational autoencoder (VAE) of World Models."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from wmrl.core.config import check_fields
from wmrl.core.seeding import seeded_weights
from wmrl.core.validation import check_float, check_int
from wmrl.nn.autoencoder import GaussianAutoencoder
from wmrl.nn.losses import floored_kl
from wmrl.vision.base import Vision


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Configuration of a :class:`VAE`.

    Attributes:
        base_channels: number of output channels of the first convolution; the other convolutions
            have 2, 4 and 8 times as many. With 32 latent dimensions, the paper's 32 channels give
            4,348,547 parameters, and 16 channels about a quarter of that.
        latent_dim: Z, the number of latent dimensions.
        kl_floor: lower bound of the KL divergence in the loss, in nats per dimension; see
            :func:`~wmrl.nn.losses.floored_kl`.
        frame_size: height and width of the frames; must be ``(64, 64)``, as in the paper.
        log_variance_bias: initial offset of the posterior's log σ². With 0, the sampled latents
            are mostly noise at first, and some dimensions never become useful. With −2, the
            sampled latents are informative from the start.
    """

    base_channels: int = 16
    latent_dim: int = 32
    kl_floor: float = 0.5
    frame_size: tuple[int, int] = (64, 64)
    log_variance_bias: float = -2.0

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "frame_size", tuple(self.frame_size))  # a list in JSON
        check_int("base_channels", self.base_channels, at_least=1)
        check_int("latent_dim", self.latent_dim, at_least=1)
        check_float("kl_floor", self.kl_floor, at_least=0)
        if self.frame_size != (64, 64):
            raise ValueError(
                f"frame_size: expected (64, 64), because the paper's layers require it, got "
                f"{self.frame_size}; let the task resize its frames to 64×64"
            )


class VAE(GaussianAutoencoder, Vision):
    """The VAE of World Models, with four convolutions and four transposed convolutions.

    Source: World Models, Ha and Schmidhuber 2018 (https://arxiv.org/abs/1803.10122), appendix A.1.
    The controller observes the posterior's mean; the memory is trained on draws from the posterior.
    The KL divergence in the loss has a lower bound (see :func:`~wmrl.nn.losses.floored_kl`).

    Args:
        config: sizes and loss.
        generator: source of the initial weights; a generator with a fixed seed if None.

    Example:
        >>> import torch
        >>> from wmrl.vision import VAE, VAEConfig
        >>> vae = VAE(VAEConfig(base_channels=4, latent_dim=8))
        >>> frames = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
        >>> mean, std = vae.posterior(frames)
        >>> mean.shape, vae.decode(mean).shape
        (torch.Size([2, 8]), torch.Size([2, 64, 64, 3]))
        >>> loss, parts = vae.loss(frames, torch.Generator().manual_seed(0))
        >>> sorted(parts)
        ['kl', 'squared_error']
    """

    config: VAEConfig
    config_class: ClassVar[type] = VAEConfig

    def __init__(self, config: VAEConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        width, latent_dim = config.base_channels, config.latent_dim
        with seeded_weights(generator):
            self.encoder = nn.Sequential(
                *(nn.Conv2d(3, width, 4, 2), nn.ReLU(inplace=True)),  # (B, w, 31, 31)
                *(nn.Conv2d(width, 2 * width, 4, 2), nn.ReLU(inplace=True)),  # (B, 2w, 14, 14)
                *(nn.Conv2d(2 * width, 4 * width, 4, 2), nn.ReLU(inplace=True)),  # (B, 4w, 6, 6)
                *(nn.Conv2d(4 * width, 8 * width, 4, 2), nn.ReLU(inplace=True)),  # (B, 8w, 2, 2)
                nn.Flatten(),
            )
            self.posterior_head = nn.Linear(32 * width, 2 * latent_dim)  # (B, mean and log σ²)
            self.decoder_head = nn.Linear(latent_dim, 32 * width)
            self.decoder = nn.Sequential(
                nn.Unflatten(1, (32 * width, 1, 1)),
                *(nn.ConvTranspose2d(32 * width, 4 * width, 5, 2), nn.ReLU(inplace=True)),  # 5×5
                *(nn.ConvTranspose2d(4 * width, 2 * width, 5, 2), nn.ReLU(inplace=True)),  # 13×13
                *(nn.ConvTranspose2d(2 * width, width, 6, 2), nn.ReLU(inplace=True)),  # 30×30
                *(nn.ConvTranspose2d(width, 3, 6, 2), nn.Sigmoid()),  # (B, 3, 64, 64)
            )
        with torch.no_grad():
            self.posterior_head.bias[latent_dim:] += config.log_variance_bias
        # Frames are channels-last; convolutions with that layout are far faster on CPUs.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape ``(64, 64, 3)`` of a frame."""
        return (*self.config.frame_size, 3)

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Implements :meth:`~wmrl.vision.base.Vision.posterior`."""
        mean, log_variance = self._encode(self._preprocess(frames))
        return mean, torch.exp(0.5 * log_variance)

    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z) float32`` to frames ``(B, 64, 64, 3) uint8``.

        Raises:
            ValueError: the latents' shape is not ``(B, Z)``.
        """
        latents = self.check_latents(latents)
        return self._to_frames(self._decode(latents).permute(0, 2, 3, 1))

    def _encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.posterior_head(self.encoder(inputs)).chunk(2, 1)
        return mean, log_variance

    def _decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self.decoder(self.decoder_head(latents).relu())
        return pixels

    def _kl_loss(self, kl: Tensor) -> Tensor:
        return floored_kl(kl, floor=self.config.kl_floor).mean()
