"""A convolutional VQ-VAE, a vision model with discrete latents."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.core.validation import check_int
from wmrl.nn.vq_autoencoder import QuantizedAutoencoder, QuantizerConfig, make_quantizer
from wmrl.vision.base import Vision

_MAX_DOWNSAMPLINGS, _MAX_BLOCKS = 12, 1000  # so that a configuration never takes long to build


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig(QuantizerConfig):
    """Configuration of a :class:`VQVAE`.

    Inherited attributes configure the quantizer, the loss and the warm-up.

    Attributes:
        frame_size: height and width of the frames; both must be multiples of
            ``2**num_downsamplings``.
        channels: number of channels of a frame; in environments, 3 for color and 1 for gray.
        frame_stack: number of successive frames that the model encodes together. Only the newest
            frame is decoded.
        base_channels: number of channels after the first downsampling; each further downsampling
            doubles the number of channels.
        residual_channels: number of channels inside a residual block.
        num_residual_blocks: number of residual blocks in the encoder, and also in the decoder.
        rezero: True to scale each residual block by a learned number that is initially 0
            (Bachlechner et al. 2020, https://arxiv.org/abs/2003.04887).
        num_downsamplings: number of times that the encoder halves height and width.
    """

    frame_size: tuple[int, int] = (64, 64)
    channels: int = 3
    frame_stack: int = 1
    base_channels: int = 16
    residual_channels: int = 32
    num_residual_blocks: int = 2
    rezero: bool = False
    num_downsamplings: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "frame_size", tuple(self.frame_size))
        for name in ("channels", "frame_stack", "base_channels", "residual_channels"):
            check_int(name, getattr(self, name), at_least=1)
        most = _MAX_DOWNSAMPLINGS
        check_int("num_downsamplings", self.num_downsamplings, at_least=1, at_most=most)
        check_int("num_residual_blocks", self.num_residual_blocks, at_least=0, at_most=_MAX_BLOCKS)
        for size in self.frame_size:
            check_int("frame_size", size, at_most=2**most)
        step = 2**self.num_downsamplings
        if len(self.frame_size) != 2 or any(size < 1 or size % step for size in self.frame_size):
            raise ValueError(
                f"frame_size: expected two multiples of {step} (2**num_downsamplings), got "
                f"{self.frame_size}{self._size_advice()}"
            )

    def _size_advice(self) -> str:
        """Returns advice for an error message about a frame size that does not fit.

        The advice names the nearest size that fits. If another number of downsamplings fits the
        given size, the advice names the largest such number too. The advice is empty if the frame
        size does not consist of two positive numbers.
        """
        if len(self.frame_size) != 2 or min(self.frame_size) < 1:
            return ""
        step = 2**self.num_downsamplings
        nearest = tuple(step * max(1, round(size / step)) for size in self.frame_size)
        fits = [
            k for k in range(1, _MAX_DOWNSAMPLINGS) if not any(n % 2**k for n in self.frame_size)
        ]
        fewer = f", or set num_downsamplings to {fits[-1]}" if fits else ""
        return f"; resize the frames to the nearest allowed size {nearest}{fewer}"

    @property
    def grid(self) -> tuple[int, int]:
        """Number of rows and number of columns in the grid of a frame's codes."""
        step = 2**self.num_downsamplings
        return self.frame_size[0] // step, self.frame_size[1] // step


class VQVAE(QuantizedAutoencoder, Vision):
    """A convolutional VQ-VAE (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937).

    The encoder halves height and width ``num_downsamplings`` times and applies residual blocks.
    Each position of the resulting grid is quantized to the nearest of K codes. The latent of a
    frame is the concatenation of its codes' vectors in raster order. If a vector has D dimensions,
    a latent has Z = rows · columns · D dimensions. Such latents can be used in place of a VAE's
    latents. :meth:`codes_of` converts latents back to codes.

    Args:
        config: configuration of the architecture, the quantizer and the loss.
        generator: source of the initial weights; a generator with a fixed seed if None.

    Example:
        >>> import torch
        >>> from wmrl.vision import VQVAE, VQVAEConfig
        >>> config = VQVAEConfig(base_channels=4, quantizer="fsq", levels=(3, 4))
        >>> vqvae = VQVAE(config).eval()
        >>> vqvae.num_tokens, vqvae.codebook_size, vqvae.latent_dim
        (16, 12, 32)
        >>> codes = vqvae.codes(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
        >>> codes.shape, vqvae.decode(vqvae.latents_of(codes)).shape
        (torch.Size([2, 16]), torch.Size([2, 64, 64, 3]))
    """

    config: VQVAEConfig
    config_class: ClassVar[type] = VQVAEConfig

    def __init__(self, config: VQVAEConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        widths = [config.base_channels * 2**level for level in range(config.num_downsamplings)]
        bottom = widths[-1]
        with seeded_weights(generator):
            self.quantizer = make_quantizer(config, generator=generator)
            code_dim = self.quantizer.code_dim
            encoder: list[nn.Module] = []
            for into, out in pairwise([config.channels * config.frame_stack, *widths]):
                encoder += [nn.Conv2d(into, out, 4, 2, 1), nn.ReLU(inplace=True)]
            encoder += [nn.Conv2d(bottom, bottom, 3, 1, 1), *self._blocks(bottom)]
            encoder += [nn.ReLU(inplace=True), nn.Conv2d(bottom, code_dim, 1)]
            if config.relu_output:
                encoder += [nn.ReLU()]
            decoder: list[nn.Module] = [nn.Conv2d(code_dim, bottom, 3, 1, 1)]
            decoder += self._blocks(bottom)
            for into, out in pairwise([*reversed(widths), config.channels]):
                decoder += [nn.ReLU(inplace=True), nn.ConvTranspose2d(into, out, 4, 2, 1)]
            self.encoder = nn.Sequential(*encoder)
            self.decoder = nn.Sequential(*decoder)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, C)`` of a single frame."""
        return (*self.config.frame_size, self.config.channels)

    @property
    def frame_stack(self) -> int:
        """K, the number of successive frames that the model encodes together."""
        return self.config.frame_stack

    @property
    def num_tokens(self) -> int:
        """T, the number of codes per frame."""
        rows, columns = self.config.grid
        return rows * columns

    @property
    def code_space(self) -> spaces.MultiDiscrete:
        """Space of a frame's T codes: ``MultiDiscrete`` with T integers from 0 to K − 1.

        K is the number of codes in the codebook.
        """
        return spaces.MultiDiscrete([self.codebook_size] * self.num_tokens)

    def plan_training(self, *, frames: int, steps: int) -> int:
        """Checks that frames and steps suffice to learn a codebook.

        Args:
            frames: number of training frames.
            steps: number of gradient steps.

        Returns:
            Minimum number of gradient steps. Training takes at least this many steps, even if they
            exceed a time limit.

        Raises:
            ValueError: there are too few frames or steps.
        """
        self.config.check_training(vectors=frames * self.num_tokens, steps=steps)
        return self.config.least_steps

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Maps frames ``(B, *input_shape) uint8`` to posterior distributions of their latents.

        Quantized latents have no noise, so all standard deviations are 0.

        Returns:
            Mean and standard deviation of each latent, both ``(B, Z) float32``.
        """
        latents = self.encode(frames)
        return latents, torch.zeros_like(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z) float32`` to frames ``(B, H, W, C) uint8``.

        Raises:
            ValueError: the latents' shape is not ``(B, Z)``.
        """
        return self._to_frames(self.mean(latents).clamp(0.0, 1.0))

    def mean(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z) float32`` to unclipped pixel values ``(B, H, W, C) float32``.

        The pixel values are the decoder's outputs. 0 is black and 1 is full intensity, but values
        outside [0, 1] are possible.

        Raises:
            ValueError: the latents' shape is not ``(B, Z)``.
        """
        latents = self.check_latents(latents)
        pixels = self._decode(latents.reshape(-1, self.quantizer.code_dim), latents.shape[0])
        return pixels.permute(0, 2, 3, 1)

    def _blocks(self, width: int) -> list[nn.Module]:
        config = self.config
        return [
            _Residual(width, config.residual_channels, rezero=config.rezero)
            for _ in range(config.num_residual_blocks)
        ]

    def _encode(self, inputs: Tensor) -> Tensor:
        """Maps pixels ``(B, C, H, W)`` in [0, 1] to unquantized vectors ``(B · T, D)``.

        Each frame has T consecutive vectors of D dimensions, in raster order.
        """
        vectors: Tensor = self.encoder(inputs - 0.5)
        return vectors.permute(0, 2, 3, 1).reshape(-1, self.quantizer.code_dim)

    def _decode(self, vectors: Tensor, count: int) -> Tensor:
        grid = vectors.view(count, *self.config.grid, self.quantizer.code_dim)
        pixels: Tensor = self.decoder(grid.permute(0, 3, 1, 2)) + 0.5
        return pixels


class _Residual(nn.Module):
    """A residual block x + α f(x).

    The function f consists of a ReLU, a 3×3 convolution, a ReLU and a 1×1 convolution. If
    ``rezero`` is True, α is learned and initially 0. Otherwise, α is 1.
    """

    def __init__(self, width: int, inner: int, *, rezero: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, inner, 3, 1, 1)
        self.second = nn.Conv2d(inner, width, 1)
        self.alpha = nn.Parameter(torch.zeros(())) if rezero else None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(self.first(x.relu()).relu())
        result: Tensor = x + (inner if self.alpha is None else self.alpha * inner)
        return result
