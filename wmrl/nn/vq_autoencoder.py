"""What VQ-VAEs have in common, whatever they encode: quantizer, loss, warm-up, figures."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from wmrl.nn.codebook_metrics import code_counts, effective_rank, perplexity, utilization
from wmrl.nn.losses import squared_error
from wmrl.nn.quantizers import EMAConfig, EMAQuantizer, FSQuantizer, GradientQuantizer, Quantizer

# So many vectors are looked at for each code that k-means places.
_VECTORS_PER_CODE = 16


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    """A quantizer, and how an autoencoder around it learns.

    Attributes:
        quantizer: ``"ema"``, ``"gradient"`` or ``"fsq"``.
        codebook_size: K, of a learned codebook.
        code_dim: D, of a learned codebook.
        levels: of ``"fsq"``, which has their product of codes of their number's size.
        decay: ``"ema"``: γ.
        expiry: ``"ema"``: codes with fewer vectors a batch are moved; 0 to keep dead ones.
        rotation: ``"ema"``: the rotation trick in place of straight-through gradients.
        commitment: weight β of the commitment.
        warmup_steps: first steps as an autoencoder without a codebook, which then starts at the
            centers of what the encoder has learned (https://arxiv.org/abs/2605.06870); 0 to
            quantize from the start, where moving averages begin at the first batches' centers and
            a codebook learned by gradients where it was drawn.
        relu_output: end the encoder in a ReLU, as the earlier experiment did; codes that are
            negative somewhere can then never be met.
    """

    quantizer: Literal["ema", "gradient", "fsq"] = "ema"
    codebook_size: int = 512
    code_dim: int = 16
    levels: tuple[int, ...] = (8, 8, 8)
    decay: float = 0.99
    expiry: float = 1.0
    rotation: bool = False
    commitment: float = 0.25
    warmup_steps: int = 500
    relu_output: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        for name in ("codebook_size", "code_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("commitment", "warmup_steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.quantizer not in ("ema", "gradient", "fsq"):
            raise ValueError(
                f"quantizer: expected 'ema', 'gradient' or 'fsq', got {self.quantizer!r}"
            )
        _check_options(self)

    @property
    def least_steps(self) -> int:
        """Steps of training after which a codebook has had as much time as the warm-up."""
        return 2 * self.warmup_steps

    def check_training(self, *, vectors: int, steps: int) -> None:
        """Raises ``ValueError`` unless a codebook can be learned from so much, for so long.

        Args:
            vectors: that there are to learn from.
            steps: of training.
        """
        if steps <= self.warmup_steps:
            raise ValueError(
                f"steps: expected more than the warm-up's {self.warmup_steps}, got {steps}; train "
                "longer or lower warmup_steps"
            )
        if self.quantizer != "fsq" and vectors < self.codebook_size:
            raise ValueError(
                f"codebook_size: expected at most the {vectors} vectors that there are to learn from, got "
                f"{self.codebook_size}; give more data or a smaller codebook"
            )


def make_quantizer(
    config: QuantizerConfig, *, generator: torch.Generator | None = None
) -> Quantizer:
    """The quantizer that a configuration describes."""
    if config.quantizer == "fsq":
        return FSQuantizer(config.levels)
    if config.quantizer == "gradient":
        return GradientQuantizer(config.codebook_size, config.code_dim, generator=generator)
    return EMAQuantizer(config.codebook_size, config.code_dim, _ema_config(config))


def _ema_config(config: QuantizerConfig) -> EMAConfig:
    return EMAConfig(
        decay=config.decay,
        expiry=config.expiry,
        gradient="rotation" if config.rotation else "straight-through",
    )


def _check_options(config: QuantizerConfig) -> None:
    """Lets a quantizer's own checks complain, without its codebook being made."""
    if config.quantizer == "fsq":
        FSQuantizer(config.levels)
    elif config.quantizer == "ema":
        _ema_config(config)


class QuantizedAutoencoder(nn.Module, ABC):
    """An autoencoder of T codes for each thing that it encodes.

    A subclass sets ``config`` (a :class:`QuantizerConfig`) and ``quantizer``, and says how things
    become vectors and back. Things are ``(B, ...) float32`` here.

    Attributes:
        quantizing: False while it is trained as an autoencoder without a codebook.
    """

    config: QuantizerConfig
    quantizer: Quantizer
    quantizing: bool = True

    @property
    def _starts_at_once(self) -> bool:
        """Whether the codebook is put in place by the first batches even without a warm-up."""
        return self.config.quantizer == "ema"

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """T, the number of codes of one thing."""

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.quantizer.codebook_size

    @property
    def latent_dim(self) -> int:
        """Z = T · D."""
        return self.num_tokens * self.quantizer.code_dim

    @abstractmethod
    def _encode(self, things: Tensor) -> Tensor:
        """Vectors ``(B · T, D)``, not yet quantized."""

    @abstractmethod
    def _decode(self, vectors: Tensor, count: int) -> Tensor:
        """Things ``(B, ...)`` of vectors ``(B · T, D)``, B being the count."""

    def codes_of(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z)`` to the nearest codes ``(B, T) int64``."""
        self._check_latents(latents)
        codes = self.quantizer.code_of(latents.reshape(-1, self.quantizer.code_dim))
        return codes.view(len(latents), self.num_tokens)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Codes ``(B, T) int64`` to latents ``(B, Z) float32``."""
        return self.quantizer.decode(codes).flatten(1)

    def _loss_of(
        self, things: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error plus what ties vectors and codes together; mean over things.

        Returns:
            The loss ``()``, and the parts it is made of: ``squared_error`` (summed over a thing's
            numbers) and ``commitment`` (summed over its codes, without its weight).
        """
        vectors = self._encode(things)
        if not self.quantizing:
            error = squared_error(self._decode(vectors, len(things)), things).mean()
            return error, {"squared_error": error.detach(), "commitment": torch.zeros_like(error)}
        # Which code is nearest, and what averages follow, is no matter for half precision.
        with torch.autocast(vectors.device.type, enabled=False):
            quantized = self.quantizer(vectors.float(), generator=generator)
        error = squared_error(self._decode(quantized.vectors, len(things)), things).mean()
        commitment = self.num_tokens * quantized.commitment.mean()
        codebook = self.num_tokens * quantized.codebook.mean()
        loss = error + self.config.commitment * commitment + codebook
        return loss, {"squared_error": error.detach(), "commitment": commitment.detach()}

    def _quantizes(self, step: int) -> bool:
        """Whether codes are learned in a step of training."""
        return step >= self.config.warmup_steps

    @torch.no_grad()
    def _prepare_for(self, step: int, draw: Iterable[Tensor], generator: torch.Generator) -> None:
        """Ends the warm-up at its last step.

        Args:
            step: number of the step that comes next.
            draw: endless batches of vectors ``(N, D)``, of which only what is needed is taken.
            generator: this step's source of randomness.
        """
        warmup = self.config.warmup_steps
        self.quantizing = self._quantizes(step)
        if step == warmup and self.quantizer.learned and (warmup > 0 or self._starts_at_once):
            enough = _VECTORS_PER_CODE * self.codebook_size
            found: list[Tensor] = []
            for vectors in draw:
                found.append(vectors)
                if sum(map(len, found)) >= enough:
                    break
            self.quantizer.init_codebook(torch.cat(found), generator=generator)

    def _figures_of(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """How the codebook is used by vectors ``(N, D)`` that come in batches."""
        counts, vectors, distances = torch.zeros(self.codebook_size).double(), [], []
        for found in batches:
            codes = self.quantizer.encode(found)
            counts += code_counts(codes.cpu(), self.codebook_size)
            vectors.append(found.cpu())
            nearest = self.quantizer.lookup(codes)
            distances.append((self.quantizer.bound(found) - nearest).square().sum(1).cpu())
        return {
            "perplexity": perplexity(counts),
            "utilization": utilization(counts),
            "codebook_rank": effective_rank(self.quantizer.codebook().detach().cpu()),
            "encoder_rank": effective_rank(torch.cat(vectors)),
            "commitment": self.num_tokens * float(torch.cat(distances).mean()),
        }

    def _check_latents(self, latents: Tensor) -> None:
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim:
            raise ValueError(
                f"latents: expected shape (B, {self.latent_dim}), got {tuple(latents.shape)}"
            )
