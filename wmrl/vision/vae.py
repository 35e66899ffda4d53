"""The convolutional variational autoencoder (VAE) of World Models."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from wmrl.core.config import check_fields
from wmrl.core.seeding import seeded_weights
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.nn.autoencoder import GaussianAutoencoder
from wmrl.nn.losses import calibrated_error, floored_kl
from wmrl.vision.base import Vision

_PAPER_SIZE = (64, 64)
_PAPER_VARIANCE = 0.5  # the loss is then the squared error
_LEAST_SIDE, _MOST_SIDE = 32, 128
_BOTTOM = 4  # convolutions are added until the smaller side is at most this
_MOST_WIDTH = 8  # channels of the deepest convolutions, as a multiple of base_channels
_LEAST_LEVEL = 0.01  # of initial reconstructions, since a sigmoid reaches no 0 or 1
_MEAN_BATCHES = 8  # of the frames from which the mean frame is estimated


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Configuration of a :class:`VAE`.

    Attributes:
        base_channels: number of output channels of the first convolution. The second convolution
            has 2 times as many, the third 4 times, and all others 8 times. With 32 latent
            dimensions and color frames of 64×64, the paper's 32 channels give 4,348,547 parameters,
            and 16 channels give about a quarter of this number.
        latent_dim: Z, the number of latent dimensions.
        kl_floor: lower bound of the average KL divergence of the latent dimensions, in nats. If a
            frame's average is below the bound, the bound replaces the average in the loss; see
            :func:`~wmrl.nn.losses.floored_kl`.
        pixel_variance: variance σ² of a pixel given the latents, with pixel values in [0, 1]. The
            loss term of the reconstruction is the squared error divided by 2 σ². With 0.5, the term
            is the squared error, as in the paper. With a smaller variance, details count more in
            comparison with the KL divergence, so small objects remain visible in the
            reconstructions. If None, the variance is its maximum likelihood estimate, the mean
            squared error of each batch; see :func:`~wmrl.nn.losses.calibrated_error`.
        mean_frame: True to encode and decode the difference from the mean frame. Training from
            scratch estimates it before the first step; further training keeps it. A background
            that does not change is then reconstructed from the start. Otherwise, the VAE learns the
            background first, and small objects on it hundreds of steps later. False in the paper.
        frame_size: height and width of the frames, each from 32 to 128; 64×64 in the paper.
        channels: number of channels of a frame: 3 for color, 1 for gray.
        frame_stack: number of successive frames that the model encodes together. Only the newest
            frame is decoded.
        log_variance_bias: number that is added to the initial bias of the posterior's log
            variance. With 0, the sampled latents are mostly noise at first, and some latent
            dimensions never become useful. With −2, the sampled latents are informative from the
            start.
    """

    base_channels: int = 16
    latent_dim: int = 32
    kl_floor: float = 0.5
    pixel_variance: float | None = _PAPER_VARIANCE
    mean_frame: bool = False
    frame_size: tuple[int, int] = _PAPER_SIZE
    channels: int = 3
    frame_stack: int = 1
    log_variance_bias: float = -2.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("base_channels", self.base_channels, at_least=1)
        check_int("latent_dim", self.latent_dim, at_least=1)
        check_float("kl_floor", self.kl_floor, at_least=0)
        if self.pixel_variance is not None:
            check_float("pixel_variance", self.pixel_variance, above=0)
        check_choice("channels", self.channels, (1, 3))
        check_int("frame_stack", self.frame_stack, at_least=1)
        if min(self.frame_size) < _LEAST_SIDE or max(self.frame_size) > _MOST_SIDE:
            raise ValueError(
                f"frame_size: expected a height and a width from {_LEAST_SIDE} to {_MOST_SIDE}, "
                f"got {self.frame_size}; let the task resize its frames"
            )

    @property
    def encoded_sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of a frame, then of the output of each convolution.

        A convolution maps a side of n pixels to ⌊n / 2⌋ − 1. Convolutions are added until the
        smaller side is at most 4.
        """
        sizes = [self.frame_size]
        while min(sizes[-1]) > _BOTTOM:
            height, width = sizes[-1]
            sizes.append((height // 2 - 1, width // 2 - 1))
        return tuple(sizes)


class VAE(GaussianAutoencoder, Vision):
    """The VAE of World Models, for frames from 32×32 to 128×128.

    Source: World Models, Ha and Schmidhuber 2018 (https://arxiv.org/abs/1803.10122), appendix A.1.
    The controller observes the posterior's mean; the memory is trained on draws from the posterior.
    The KL divergence in the loss has a lower bound (see :func:`~wmrl.nn.losses.floored_kl`).

    The convolutions have a kernel of 4×4, a stride of 2 and no padding: n pixels become
    ⌊(n − 4) / 2⌋ + 1 = ⌊n / 2⌋ − 1. Convolutions are added until the smaller side is at most 4.
    Frames of 64×64 get the four convolutions of the paper, with outputs of 31, 14, 6 and 2 pixels
    per side. Frames of 84×84 get outputs of 41, 19, 8 and 3. From one convolution to the next, the
    number of channels doubles three times, and then stays the same.

    The decoder for 64×64 is that of the paper: it maps 1×1 to 5×5, 13×13, 30×30 and 64×64. For
    other sizes, the decoder mirrors the encoder. A transposed convolution with a kernel of 4×4, a
    stride of 2 and an output padding of p maps m pixels to 2 (m − 1) + 4 + p = 2 m + 2 + p. With
    m = ⌊n / 2⌋ − 1 and p = n mod 2, the result is n. Each layer thus outputs the size that the
    corresponding convolution of the encoder takes as input.

    Args:
        config: configuration of the architecture and the loss.
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
    mean_frame: Tensor
    config_class: ClassVar[type] = VAEConfig

    def __init__(self, config: VAEConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        latent_dim, sizes = config.latent_dim, config.encoded_sizes
        factors = [min(2**level, _MOST_WIDTH) for level in range(len(sizes) - 1)]
        inner = [factor * config.base_channels for factor in factors]
        widths = [config.channels, *inner]
        height, width = sizes[-1]
        flat = widths[-1] * height * width
        with seeded_weights(generator):
            encoder: list[nn.Module] = []
            for into, out in pairwise([config.channels * config.frame_stack, *inner]):
                encoder += [nn.Conv2d(into, out, 4, 2), nn.ReLU(inplace=True)]
            self.encoder = nn.Sequential(*encoder, nn.Flatten())
            self.posterior_head = nn.Linear(flat, 2 * latent_dim)  # (B, mean and log σ²)
            self.decoder_head = nn.Linear(latent_dim, flat)
            if config.frame_size == _PAPER_SIZE:
                self.decoder = _paper_decoder(config.base_channels, config.channels)
            else:
                self.decoder = _mirrored_decoder(widths, sizes)
        with torch.no_grad():
            self.posterior_head.bias[latent_dim:] += config.log_variance_bias
        if config.mean_frame:
            shape = (config.channels, *config.frame_size)
            self.register_buffer("mean_frame", torch.full(shape, 0.5))
        # Frames are channels-last; convolutions with that layout are far faster on CPUs.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, C)`` of a single frame."""
        return (*self.config.frame_size, self.config.channels)

    @property
    def frame_stack(self) -> int:
        """K, the number of successive frames that the model encodes together."""
        return self.config.frame_stack

    @torch.no_grad()
    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Fits the first reconstructions to training frames.

        If ``config.mean_frame`` is True, the mean frame of a few batches is stored, and the first
        reconstructions are about this frame. If it is False, and ``pixel_variance`` is not the
        paper's 0.5, the output bias of the decoder is set to the mean color of a batch. Otherwise,
        training on frames that are almost white or black makes the decoder's weights so large that
        its sigmoid saturates. The VAE then never learns to reconstruct objects.

        Args:
            step: index of the next gradient step. Only at step 0, something is done.
            draw: function that returns an iterator over batches of training frames.
            generator: ignored.
        """
        if step > 0:
            return
        targets = (self._target(self._preprocess(frames)) for frames in draw())
        if self.config.mean_frame:
            means = [batch.mean(0) for batch in islice(targets, _MEAN_BATCHES)]
            level = torch.stack(means).mean(0).clamp(_LEAST_LEVEL, 1.0 - _LEAST_LEVEL)
            self.mean_frame.copy_(level)
            self.decoder[-2].bias.zero_()  # type: ignore[operator]
        elif self.config.pixel_variance != _PAPER_VARIANCE:
            color = next(targets).mean((0, 2, 3)).clamp(_LEAST_LEVEL, 1.0 - _LEAST_LEVEL)
            self.decoder[-2].bias.copy_(color.logit())  # type: ignore[operator]

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Maps frames ``(B, *input_shape) uint8`` to posterior distributions of their latents.

        Returns:
            Mean and standard deviation of each latent, both ``(B, Z) float32``.
        """
        mean, log_variance = self._encode(self._preprocess(frames))
        return mean, torch.exp(0.5 * log_variance)

    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z) float32`` to frames ``(B, H, W, C) uint8``.

        Raises:
            ValueError: the latents' shape is not ``(B, Z)``.
        """
        latents = self.check_latents(latents)
        return self._to_frames(self._decode(latents).permute(0, 2, 3, 1))

    def _encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.mean_frame:
            inputs = inputs - self.mean_frame.repeat(self.config.frame_stack, 1, 1)
        mean, log_variance = self.posterior_head(self.encoder(inputs)).chunk(2, 1)
        return mean, log_variance

    def _decode(self, latents: Tensor) -> Tensor:
        hidden = self.decoder_head(latents).relu()
        if not self.config.mean_frame:
            return cast("Tensor", self.decoder(hidden))
        # The sigmoid is the last layer. A stranger's artifact may hold any finite mean.
        mean = self.mean_frame.clamp(_LEAST_LEVEL, 1.0 - _LEAST_LEVEL)
        return torch.sigmoid(self.decoder[:-1](hidden) + mean.logit())

    def _error_loss(self, error: Tensor, size: int) -> Tensor:
        variance = self.config.pixel_variance
        if variance is None:
            return calibrated_error(error, size=size)
        return error if variance == _PAPER_VARIANCE else error / (2 * variance)

    def _kl_loss(self, kl: Tensor) -> Tensor:
        return floored_kl(kl, floor=self.config.kl_floor).mean()


def _paper_decoder(width: int, channels: int) -> nn.Sequential:
    """Creates the decoder of the paper, for frames of 64×64 pixels.

    Args:
        width: number of output channels of the encoder's first convolution.
        channels: number of channels of a frame.
    """
    return nn.Sequential(
        nn.Unflatten(1, (32 * width, 1, 1)),
        *(nn.ConvTranspose2d(32 * width, 4 * width, 5, 2), nn.ReLU(inplace=True)),  # 5×5
        *(nn.ConvTranspose2d(4 * width, 2 * width, 5, 2), nn.ReLU(inplace=True)),  # 13×13
        *(nn.ConvTranspose2d(2 * width, width, 6, 2), nn.ReLU(inplace=True)),  # 30×30
        *(nn.ConvTranspose2d(width, channels, 6, 2), nn.Sigmoid()),  # (B, C, 64, 64)
    )


def _mirrored_decoder(widths: Sequence[int], sizes: Sequence[tuple[int, int]]) -> nn.Sequential:
    """Creates a decoder that mirrors the encoder, with one layer per convolution of the encoder.

    The output of each layer has the height and width of the corresponding convolution's input. The
    last layer outputs a single frame, even if the encoder's input is a stack of frames.

    Args:
        widths: number of channels of a single frame, then of the output of each convolution.
        sizes: height and width of a frame, then of the output of each convolution.
    """
    layers: list[nn.Module] = [nn.Unflatten(1, (widths[-1], *sizes[-1]))]
    for level in reversed(range(len(widths) - 1)):
        height, width = sizes[level]
        padding = (height % 2, width % 2)
        layers += [
            nn.ConvTranspose2d(widths[level + 1], widths[level], 4, 2, output_padding=padding),
            nn.ReLU(inplace=True) if level else nn.Sigmoid(),
        ]
    return nn.Sequential(*layers)
