"""What VQ-VAEs have in common, whatever they encode: quantiser, loss, warm-up, figures."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from wmrl.nn.codebook_metrics import code_counts, effective_rank, perplexity, utilisation
from wmrl.nn.losses import squared_error
from wmrl.nn.quantizers import EMAConfig, EMAQuantiser, FSQuantiser, GradientQuantiser, Quantiser

# So many vectors are looked at for each code that k-means places.
_VECTORS_PER_CODE = 16


@dataclass(frozen=True, kw_only=True)
class QuantiserConfig:
    """A quantiser, and how an autoencoder around it learns.

    Attributes:
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
            quantise from the start, where moving averages begin at the first batches' centres and
            a codebook learned by gradients where it was drawn.
        relu_output: end the encoder in a ReLU, as the earlier experiment did; codes that are
            negative somewhere can then never be met.
    """

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
        object.__setattr__(self, "levels", tuple(self.levels))
        for name in ("codes", "code_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("commitment", "warmup_steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.quantiser not in ("ema", "gradient", "fsq"):
            raise ValueError(
                f"quantiser: expected 'ema', 'gradient' or 'fsq', got {self.quantiser!r}"
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
        if self.quantiser != "fsq" and vectors < self.codes:
            raise ValueError(
                f"codes: expected at most the {vectors} vectors that there are to learn from, got "
                f"{self.codes}; give more data or a smaller codebook"
            )


def make_quantiser(
    config: QuantiserConfig, *, generator: torch.Generator | None = None
) -> Quantiser:
    """The quantiser that a configuration describes."""
    if config.quantiser == "fsq":
        return FSQuantiser(config.levels)
    if config.quantiser == "gradient":
        return GradientQuantiser(config.codes, config.code_size, generator=generator)
    return EMAQuantiser(config.codes, config.code_size, _ema_config(config))


def _ema_config(config: QuantiserConfig) -> EMAConfig:
    return EMAConfig(
        decay=config.decay,
        expiry=config.expiry,
        gradient="rotation" if config.rotation else "straight-through",
    )


def _check_options(config: QuantiserConfig) -> None:
    """Lets a quantiser's own checks complain, without its codebook being made."""
    if config.quantiser == "fsq":
        FSQuantiser(config.levels)
    elif config.quantiser == "ema":
        _ema_config(config)


class QuantisedAutoencoder(nn.Module, ABC):
    """An autoencoder of T codes for each thing that it encodes.

    A subclass sets ``config`` (a :class:`QuantiserConfig`) and ``quantiser``, and says how things
    become vectors and back. Things are ``(B, ...) float32`` here.

    Attributes:
        quantising: False while it is trained as an autoencoder without a codebook.
    """

    config: QuantiserConfig
    quantiser: Quantiser
    quantising: bool = True

    @property
    def _starts_at_once(self) -> bool:
        """Whether the codebook is put in place by the first batches even without a warm-up."""
        return self.config.quantiser == "ema"

    @property
    @abstractmethod
    def tokens(self) -> int:
        """T, the number of codes of one thing."""

    @property
    def code_count(self) -> int:
        """K."""
        return self.quantiser.count

    @property
    def latent_size(self) -> int:
        """Z = T · D."""
        return self.tokens * self.quantiser.size

    @abstractmethod
    def _encode(self, things: Tensor) -> Tensor:
        """Vectors ``(B · T, D)``, not yet quantised."""

    @abstractmethod
    def _decode(self, vectors: Tensor, count: int) -> Tensor:
        """Things ``(B, ...)`` of vectors ``(B · T, D)``, B being the count."""

    def codes_of(self, latents: Tensor) -> Tensor:
        """Latents ``(B, Z)`` to the nearest codes ``(B, T) int64``."""
        self._check_latents(latents)
        codes = self.quantiser.code_of(latents.reshape(-1, self.quantiser.size))
        return codes.view(len(latents), self.tokens)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Codes ``(B, T) int64`` to latents ``(B, Z) float32``."""
        return self.quantiser.decode(codes).flatten(1)

    def _loss_of(
        self, things: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error plus what ties vectors and codes together; mean over things.

        Returns:
            The loss ``()``, and the parts it is made of: ``squared_error`` (summed over a thing's
            numbers) and ``commitment`` (summed over its codes, without its weight).
        """
        vectors = self._encode(things)
        if not self.quantising:
            error = squared_error(self._decode(vectors, len(things)), things).mean()
            return error, {"squared_error": error.detach(), "commitment": torch.zeros_like(error)}
        # Which code is nearest, and what averages follow, is no matter for half precision.
        with torch.autocast(vectors.device.type, enabled=False):
            quantised = self.quantiser(vectors.float(), generator=generator)
        error = squared_error(self._decode(quantised.vectors, len(things)), things).mean()
        commitment = self.tokens * quantised.commitment.mean()
        codebook = self.tokens * quantised.codebook.mean()
        loss = error + self.config.commitment * commitment + codebook
        return loss, {"squared_error": error.detach(), "commitment": commitment.detach()}

    def _quantises(self, step: int) -> bool:
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
        self.quantising = self._quantises(step)
        if step == warmup and self.quantiser.starts and (warmup > 0 or self._starts_at_once):
            enough = _VECTORS_PER_CODE * self.code_count
            found: list[Tensor] = []
            for vectors in draw:
                found.append(vectors)
                if sum(map(len, found)) >= enough:
                    break
            self.quantiser.start(torch.cat(found), generator=generator)

    def _figures_of(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """How the codebook is used by vectors ``(N, D)`` that come in batches."""
        counts, vectors, distances = torch.zeros(self.code_count).double(), [], []
        for found in batches:
            codes = self.quantiser.encode(found)
            counts += code_counts(codes.cpu(), self.code_count)
            vectors.append(found.cpu())
            nearest = self.quantiser.lookup(codes)
            distances.append((self.quantiser.bound(found) - nearest).square().sum(1).cpu())
        return {
            "perplexity": perplexity(counts),
            "utilisation": utilisation(counts),
            "codebook_rank": effective_rank(self.quantiser.codebook().detach().cpu()),
            "encoder_rank": effective_rank(torch.cat(vectors)),
            "commitment": self.tokens * float(torch.cat(distances).mean()),
        }

    def _check_latents(self, latents: Tensor) -> None:
        if latents.ndim != 2 or latents.shape[1] != self.latent_size:
            raise ValueError(
                f"latents: expected shape (B, {self.latent_size}), got {tuple(latents.shape)}"
            )
