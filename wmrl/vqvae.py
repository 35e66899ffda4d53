"""VQ-VAE: an eye that sees in symbols."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from wmrl.code_metrics import code_counts, effective_rank, perplexity, utilisation
from wmrl.initialisation import seeded_weights
from wmrl.losses import squared_error
from wmrl.quantisers import EMAConfig, EMAQuantiser, FSQuantiser, GradientQuantiser, Quantiser
from wmrl.vision import Vision

# So many vectors are looked at for each code that k-means places.
_VECTORS_PER_CODE = 16


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig:
    """Sizes, quantiser and loss of a :class:`VQVAE`.

    Attributes:
        frame_size: height and width of the frames, multiples of 2 to the ``downsamplings``.
        channels: of a frame; 3 for environments.
        width: channels after the first halving; they double with each other one.
        residual_width: channels inside a residual block.
        residual_blocks: of encoder and decoder each.
        rezero: scale each block by a number that starts at 0 (Bachlechner et al. 2020,
            https://arxiv.org/abs/2003.04887).
        downsamplings: how often height and width are halved.
        quantiser: ``"ema"``, ``"gradient"`` or ``"fsq"``.
        codes: K, of a learned codebook.
        code_size: D, of a learned codebook.
        levels: of ``"fsq"``, which has their product of codes of their number's size.
        decay: ``"ema"``: γ.
        expiry: ``"ema"``: codes with fewer vectors a batch are moved; 0 to keep dead ones.
        rotation: ``"ema"``: the rotation trick in place of straight-through gradients.
        commitment: weight β of the commitment.
        warmup_steps: first steps as an autoencoder without a codebook, which then starts at the
            centres of what the encoder has learned (https://arxiv.org/abs/2605.06870); 0 to
            quantise from the start, codes being where they are made.
        relu_output: end the encoder in a ReLU, as the earlier experiment did; codes that are
            negative somewhere can then never be met.
    """

    frame_size: tuple[int, int] = (64, 64)
    channels: int = 3
    width: int = 16
    residual_width: int = 32
    residual_blocks: int = 2
    rezero: bool = False
    downsamplings: int = 4
    quantiser: Literal["ema", "gradient", "fsq"] = "ema"
    codes: int = 512
    code_size: int = 16
    levels: tuple[int, ...] = (8, 8, 8)
    decay: float = 0.99
    expiry: float = 1.0
    rotation: bool = False
    commitment: float = 0.25
    warmup_steps: int = 500
    relu_output: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame_size", tuple(self.frame_size))
        object.__setattr__(self, "levels", tuple(self.levels))
        names = ("channels", "width", "residual_width", "downsamplings", "codes", "code_size")
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("residual_blocks", "commitment", "warmup_steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        step = 2**self.downsamplings
        if len(self.frame_size) != 2 or any(size < 1 or size % step for size in self.frame_size):
            raise ValueError(
                f"frame_size: expected two multiples of {step} (2 to the downsamplings), got "
                f"{self.frame_size}"
            )
        if self.quantiser not in ("ema", "gradient", "fsq"):
            raise ValueError(
                f"quantiser: expected 'ema', 'gradient' or 'fsq', got {self.quantiser!r}"
            )
        make_quantiser(self)  # complains of what is wrong with its own options

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a frame's codes."""
        step = 2**self.downsamplings
        return self.frame_size[0] // step, self.frame_size[1] // step


def make_quantiser(config: VQVAEConfig, *, generator: torch.Generator | None = None) -> Quantiser:
    """The quantiser that a configuration describes."""
    if config.quantiser == "fsq":
        return FSQuantiser(config.levels)
    if config.quantiser == "gradient":
        return GradientQuantiser(config.codes, config.code_size, generator=generator)
    follow = EMAConfig(
        decay=config.decay,
        expiry=config.expiry,
        gradient="rotation" if config.rotation else "straight-through",
    )
    return EMAQuantiser(config.codes, config.code_size, follow)


class VQVAE(Vision):
    """A convolutional VQ-VAE (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937).

    The encoder halves height and width some times, the residual blocks follow, and each place of
    what is left becomes the nearest of K codes. The latent of a frame is the codes' vectors in
    raster order, ``Z = rows · columns · D`` numbers: so it fits wherever a VAE's latent does, and
    :meth:`codes_of` tells the symbols that it stands for.

    Args:
        config: sizes, quantiser and loss.
        generator: source of the initial weights; a fixed seed's if None.

    Attributes:
        quantising: False while it is trained as an autoencoder without a codebook.
    """

    config: VQVAEConfig
    config_class: ClassVar[type] = VQVAEConfig

    def __init__(self, config: VQVAEConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.quantising = True
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
    def code_count(self) -> int:
        """K."""
        return self.quantiser.count

    @property
    def tokens(self) -> int:
        """T, the number of codes of a frame."""
        rows, columns = self.config.grid
        return rows * columns

    @property
    def latent_size(self) -> int:
        """Z = T · D."""
        return self.tokens * self.quantiser.size

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

    def codes_of(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z)`` to the nearest codes ``(B, T) int64``."""
        self._check_latents(latents)
        codes = self.quantiser.code_of(latents.reshape(-1, self.quantiser.size))
        return codes.view(len(latents), self.tokens)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Codes ``(B, T) int64`` to latents ``(B, Z) float32``."""
        return self.quantiser.decode(codes).flatten(1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z) float32`` to frames ``(B, H, W, C) uint8``.

        Raises:
            ValueError: latents are not ``(B, Z)``.
        """
        self._check_latents(latents)
        pixels = self._decode(latents.reshape(-1, self.quantiser.size), len(latents))
        pixels = pixels.clamp(0.0, 1.0).permute(0, 2, 3, 1)
        return pixels.mul(255.0).round_().to(torch.uint8).contiguous()

    def loss(self, frames: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error plus what ties vectors and codes together; mean over frames.

        Args:
            frames: ``(B, H, W, C) uint8``.
            generator: where codes that died are moved.

        Returns:
            The loss ``()``, and the parts it is made of: ``squared_error`` (summed over a frame's
            pixels in [0, 1]) and ``commitment`` (summed over its codes, without its weight).
        """
        pixels = self._pixels(frames)
        vectors = self._encode(pixels)
        if not self.quantising:
            error = squared_error(self._decode(vectors, len(frames)), pixels).mean()
            return error, {"squared_error": error.detach(), "commitment": torch.zeros_like(error)}
        quantised = self.quantiser(vectors, generator=generator)
        error = squared_error(self._decode(quantised.vectors, len(frames)), pixels).mean()
        tokens = self.tokens
        commitment = tokens * quantised.commitment.mean()
        codebook = tokens * quantised.codebook.mean()
        loss = error + self.config.commitment * commitment + codebook
        return loss, {"squared_error": error.detach(), "commitment": commitment.detach()}

    @torch.no_grad()
    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Ends the warm-up at its last step; see :meth:`wmrl.vision.Vision.prepare`."""
        warmup = self.config.warmup_steps
        self.quantising = step >= warmup
        if step == warmup and (warmup > 0 or self.config.quantiser == "ema"):
            enough = _VECTORS_PER_CODE * self.code_count
            found: list[Tensor] = []
            for frames in draw():
                found.append(self.vectors(frames))
                if sum(map(len, found)) >= enough:
                    break
            self.quantiser.start(torch.cat(found), generator=generator)

    def figures(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """How the codebook is used.

        Returns:
            ``perplexity`` and ``utilisation`` of the codes; ``codebook_rank`` and ``encoder_rank``,
            the effective ranks of the K codes and of the encoder's vectors; ``commitment``, the
            squared distance of a frame's vectors to their codes.
        """
        counts, vectors, distances = torch.zeros(self.code_count).double(), [], []
        for frames in batches:
            found = self.vectors(frames)
            codes = self.quantiser.encode(found)
            counts += code_counts(codes.cpu(), self.code_count)
            vectors.append(found.cpu())
            nearest = self.quantiser.lookup(codes)
            distances.append((found - nearest).square().sum(1).cpu())
        return {
            "perplexity": perplexity(counts),
            "utilisation": utilisation(counts),
            "codebook_rank": effective_rank(self.quantiser.codebook().detach().cpu()),
            "encoder_rank": effective_rank(torch.cat(vectors)),
            "commitment": self.tokens * float(torch.cat(distances).mean()),
        }

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

    def _check_latents(self, latents: Tensor) -> None:
        if latents.ndim != 2 or latents.shape[1] != self.latent_size:
            raise ValueError(
                f"latents: expected shape (B, {self.latent_size}), got {tuple(latents.shape)}"
            )


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
