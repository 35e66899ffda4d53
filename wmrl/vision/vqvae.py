"""VQ-VAE: an eye that sees in symbols."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.nn.vq_autoencoder import QuantisedAutoencoder, QuantiserConfig, make_quantiser
from wmrl.vision.base import Vision


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig(QuantiserConfig):
    """Sizes of a :class:`VQVAE`, and what any :class:`QuantiserConfig` has.

    Attributes:
        frame_size: height and width of the frames, multiples of 2 to the ``downsamplings``.
        channels: of a frame; 3 for environments.
        width: channels after the first halving; they double with each other one.
        residual_width: channels inside a residual block.
        residual_blocks: of encoder and decoder each.
        rezero: scale each block by a number that starts at 0 (Bachlechner et al. 2020,
            https://arxiv.org/abs/2003.04887).
        downsamplings: how often height and width are halved.
    """

    frame_size: tuple[int, int] = (64, 64)
    channels: int = 3
    width: int = 16
    residual_width: int = 32
    residual_blocks: int = 2
    rezero: bool = False
    downsamplings: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "frame_size", tuple(self.frame_size))
        for name in ("channels", "width", "residual_width", "downsamplings"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.residual_blocks < 0:
            raise ValueError(f"residual_blocks: expected at least 0, got {self.residual_blocks}")
        step = 2**self.downsamplings
        if len(self.frame_size) != 2 or any(size < 1 or size % step for size in self.frame_size):
            raise ValueError(
                f"frame_size: expected two multiples of {step} (2 to the downsamplings), got "
                f"{self.frame_size}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a frame's codes."""
        step = 2**self.downsamplings
        return self.frame_size[0] // step, self.frame_size[1] // step


class VQVAE(QuantisedAutoencoder, Vision):
    """A convolutional VQ-VAE (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937).

    The encoder halves height and width some times, the residual blocks follow, and each place of
    what is left becomes the nearest of K codes. The latent of a frame is the codes' vectors in
    raster order, ``Z = rows · columns · D`` numbers: so it fits wherever a VAE's latent does, and
    :meth:`codes_of` tells the symbols that it stands for.

    Args:
        config: sizes, quantiser and loss.
        generator: source of the initial weights; a fixed seed's if None.
    """

    config: VQVAEConfig
    config_class: ClassVar[type] = VQVAEConfig

    def __init__(self, config: VQVAEConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(config.downsamplings)]
        bottom, outer = widths[-1], [config.channels, *widths]
        with seeded_weights(generator):
            self.quantiser = make_quantiser(config, generator=generator)
            size = self.quantiser.size
            encoder: list[nn.Module] = []
            for into, out in pairwise(outer):
                encoder += [nn.Conv2d(into, out, 4, 2, 1), nn.ReLU(inplace=True)]
            encoder += [nn.Conv2d(bottom, bottom, 3, 1, 1), *self._blocks(bottom)]
            encoder += [nn.ReLU(inplace=True), nn.Conv2d(bottom, size, 1)]
            if config.relu_output:
                encoder += [nn.ReLU()]
            decoder: list[nn.Module] = [nn.Conv2d(size, bottom, 3, 1, 1), *self._blocks(bottom)]
            for into, out in pairwise(reversed(outer)):
                decoder += [nn.ReLU(inplace=True), nn.ConvTranspose2d(into, out, 4, 2, 1)]
            self.encoder = nn.Sequential(*encoder)
            self.decoder = nn.Sequential(*decoder)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``."""
        return (*self.config.frame_size, self.config.channels)

    @property
    def tokens(self) -> int:
        """T, the number of codes of a frame."""
        rows, columns = self.config.grid
        return rows * columns

    @property
    def latent_space(self) -> spaces.Space[Any]:
        """``Box(Z,) float32``, unbounded."""
        return spaces.Box(-np.inf, np.inf, (self.latent_size,), np.float32)

    @property
    def code_space(self) -> spaces.MultiDiscrete:
        """``MultiDiscrete`` of T codes."""
        return spaces.MultiDiscrete([self.code_count] * self.tokens)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames ``(B, H, W, C) uint8`` to the vectors of their codes, ``(B, Z) float32``."""
        return self.quantiser.lookup(self.codes(frames)).flatten(1)

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The latents of frames, and zeros: a quantised latent has no spread."""
        latents = self.encode(frames)
        return latents, torch.zeros_like(latents)

    def codes(self, frames: Tensor) -> Tensor:
        """Frames ``(B, H, W, C) uint8`` to codes ``(B, T) int64`` in raster order."""
        vectors = self._encode(self._pixels(frames))
        return self.quantiser.encode(vectors).view(len(frames), self.tokens)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z) float32`` to frames ``(B, H, W, C) uint8``.

        Raises:
            ValueError: latents are not ``(B, Z)``.
        """
        pixels = self.mean(latents).clamp(0.0, 1.0)
        return pixels.mul(255.0).round_().to(torch.uint8).contiguous()

    def mean(self, latents: Tensor) -> Tensor:
        """What latents ``(B, Z)`` are decoded to, as it is: ``(B, H, W, C) float32``.

        Pixels are in units of 0 to 1 and may be beyond.

        Raises:
            ValueError: latents are not ``(B, Z)``.
        """
        self._check_latents(latents)
        pixels = self._decode(latents.reshape(-1, self.quantiser.size), len(latents))
        return pixels.permute(0, 2, 3, 1)

    def loss(self, frames: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error plus what ties vectors and codes together; mean over frames.

        Args:
            frames: ``(B, H, W, C) uint8``.
            generator: where codes that died are moved.

        Returns:
            The loss ``()``, and the parts it is made of: ``squared_error`` (summed over a frame's
            pixels in [0, 1]) and ``commitment`` (summed over its codes, without its weight).
        """
        return self._loss_of(self._pixels(frames), generator)

    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Ends the warm-up at its last step; see :meth:`wmrl.vision.base.Vision.prepare`."""
        self._prepare_for(step, map(self.vectors, draw()), generator)

    @torch.no_grad()
    def figures(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """How the codebook is used.

        Returns:
            ``perplexity`` and ``utilisation`` of the codes; ``codebook_rank`` and ``encoder_rank``,
            the effective ranks of the K codes and of the encoder's vectors; ``commitment``, the
            squared distance of a frame's vectors to their codes.
        """
        return self._figures_of(map(self.vectors, batches))

    def vectors(self, frames: Tensor) -> Tensor:
        """What the encoder makes of frames before it is quantised, ``(B · T, D) float32``."""
        return self._encode(self._pixels(frames))

    def _blocks(self, width: int) -> list[nn.Module]:
        config = self.config
        return [
            _Residual(width, config.residual_width, rezero=config.rezero)
            for _ in range(config.residual_blocks)
        ]

    def _pixels(self, frames: Tensor) -> Tensor:
        self.check_frames(frames)
        return frames.permute(0, 3, 1, 2).to(torch.float32).mul_(1.0 / 255.0)

    def _encode(self, pixels: Tensor) -> Tensor:
        """Vectors ``(B · T, D)`` in raster order, of pixels in [0, 1], which are centred first."""
        vectors: Tensor = self.encoder(pixels - 0.5)
        return vectors.permute(0, 2, 3, 1).reshape(-1, self.quantiser.size)

    def _decode(self, vectors: Tensor, count: int) -> Tensor:
        picture = vectors.view(count, *self.config.grid, self.quantiser.size).permute(0, 3, 1, 2)
        pixels: Tensor = self.decoder(picture) + 0.5
        return pixels


class _Residual(nn.Module):
    """x + α · f(x), f: ReLU, 3×3 to the inner width, ReLU, 1×1; α is 1, or learned from 0."""

    def __init__(self, width: int, inner: int, *, rezero: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, inner, 3, 1, 1)
        self.second = nn.Conv2d(inner, width, 1)
        self.alpha = nn.Parameter(torch.zeros(())) if rezero else None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(self.first(x.relu()).relu())
        result: Tensor = x + (inner if self.alpha is None else self.alpha * inner)
        return result
