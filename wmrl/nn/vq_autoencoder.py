"""Base class of VQ-VAEs, with quantizer, loss, warm-up and metrics."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wmrl.core.config import check_fields
from wmrl.core.validation import check_choice, check_float, check_int, check_lengths
from wmrl.nn.autoencoder import Autoencoder
from wmrl.nn.codebook_metrics import code_counts, effective_rank, perplexity, utilization
from wmrl.nn.fsq import FSQuantizer
from wmrl.nn.losses import squared_error
from wmrl.nn.quantizers import EMAConfig, EMAQuantizer, GradientQuantizer, Quantizer

# Number of vectors per code with which k-means initializes a codebook.
_VECTORS_PER_CODE = 16


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    """Configuration of a VQ-VAE's quantizer, loss and warm-up.

    Attributes:
        quantizer: kind of quantizer. ``"ema"`` learns its codebook by moving averages, and
            ``"gradient"`` by gradients. ``"fsq"`` is finite scalar quantization, which has no
            codebook to learn.
        codebook_size: K, number of codes; ignored by ``"fsq"``.
        code_dim: D, dimension of a code's vector; ignored by ``"fsq"``.
        levels: for ``"fsq"``, the number of levels of each dimension. K is then the product of
            these numbers, and D is their count. Ignored by other quantizers.
        decay: decay factor γ of the moving averages of ``"ema"``.
        expiry: minimum use of a code of ``"ema"``. The use of a code is the number of vectors per
            batch that are mapped to the code, as a moving average. If the use falls below this
            minimum, the code's vector is replaced with a random vector of the batch. If 0, no
            vector is replaced.
        rotation: True if ``"ema"`` uses the rotation trick instead of straight-through gradients.
        commitment: weight β of the commitment loss.
        warmup_steps: number of initial steps that train a plain autoencoder without quantization.
            After the warm-up, k-means of the encoder's outputs initializes the codebook
            (https://arxiv.org/abs/2605.06870). Without a warm-up (0), k-means initializes the
            codebook of ``"ema"`` before the first step, and ``"gradient"`` keeps its random
            initial codebook.
        relu_output: True if the encoder ends in a ReLU, as in the experiment behind
            ``wmrl reproduce vqvae``. The encoder's outputs are then never negative, and codes with
            negative components are rarely used.
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
        check_fields(self)
        object.__setattr__(self, "levels", tuple(self.levels))
        check_choice("quantizer", self.quantizer, ("ema", "gradient", "fsq"))
        check_lengths("levels", self.levels)
        check_int("codebook_size", self.codebook_size, at_least=1)
        check_int("code_dim", self.code_dim, at_least=1)
        check_float("commitment", self.commitment, at_least=0)
        check_int("warmup_steps", self.warmup_steps, at_least=0)
        _check_options(self)

    @property
    def least_steps(self) -> int:
        """Minimum number of training steps under a time limit: twice ``warmup_steps``.

        A time limit does not end training before this number of steps.
        """
        return 2 * self.warmup_steps

    def check_training(self, *, vectors: int, steps: int) -> None:
        """Raises ``ValueError`` if there are too few data or steps to learn a codebook.

        Args:
            vectors: number of vectors that the encoder outputs for all training data.
            steps: number of training steps.
        """
        if steps <= self.warmup_steps:
            raise ValueError(
                f"steps: expected more than the {self.warmup_steps} steps of the warm-up, got "
                f"{steps}; raise steps or lower warmup_steps"
            )
        if self.quantizer != "fsq" and vectors < self.codebook_size:
            raise ValueError(
                f"codebook_size: expected at most {vectors}, the number of encoder outputs for the "
                f"training data, got {self.codebook_size}; give more data or lower codebook_size"
            )


def make_quantizer(
    config: QuantizerConfig, *, generator: torch.Generator | None = None
) -> Quantizer:
    """Creates the quantizer that a configuration describes.

    Args:
        config: kind and sizes of the quantizer.
        generator: source of the initial codebook of ``"gradient"``; a generator with seed 0 if
            None. Ignored by other quantizers.
    """
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
    """Raises ``ValueError`` if an option of the quantizer is invalid.

    The check does not allocate a codebook, which may be large.
    """
    if config.quantizer == "fsq":
        FSQuantizer(config.levels)
    elif config.quantizer == "ema":
        _ema_config(config)


class QuantizedAutoencoder(Autoencoder):
    """An autoencoder that represents an input by T codes of one codebook (a VQ-VAE).

    Source: van den Oord et al. 2017 (https://arxiv.org/abs/1711.00937). Each code has a vector of D
    dimensions. The latent of an input is the concatenation of the vectors of its T codes, and has
    Z = T · D dimensions. A subclass sets ``config`` and ``quantizer``, and implements the encoder
    and the decoder.

    Attributes:
        config: configuration of quantizer, loss and warm-up.
        quantizer: quantizer of the encoder's outputs.
        quantizing: False during the warm-up, which trains without quantization.
    """

    config: QuantizerConfig
    quantizer: Quantizer
    quantizing: bool = True

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """T, the number of codes per input."""

    @property
    def codebook_size(self) -> int:
        """K, the number of codes in the codebook."""
        return self.quantizer.codebook_size

    @property
    def latent_dim(self) -> int:
        """Z = T · D, the number of latent dimensions."""
        return self.num_tokens * self.quantizer.code_dim

    def encode(self, inputs: Tensor) -> Tensor:
        """Maps inputs ``(B, ...)`` to latents ``(B, Z) float32``, the concatenated code vectors."""
        return self.quantizer.lookup(self.codes(inputs)).flatten(1)

    def codes(self, inputs: Tensor) -> Tensor:
        """Maps inputs ``(B, ...)`` to T codes each, ``(B, T) int64``."""
        return self.quantizer.encode(self.unquantized(inputs)).view(-1, self.num_tokens)

    def unquantized(self, inputs: Tensor) -> Tensor:
        """Maps inputs ``(B, ...)`` to unquantized encoder outputs ``(B · T, D) float32``."""
        return self._encode(self._preprocess(inputs))

    def codes_of(self, latents: Tensor) -> Tensor:
        """Maps latents ``(B, Z)`` to T codes each, ``(B, T) int64``.

        A latent is split into T vectors, and each vector is mapped to the nearest code.
        """
        latents = self.check_latents(latents)
        codes = self.quantizer.code_of(latents.reshape(-1, self.quantizer.code_dim))
        return codes.view(-1, self.num_tokens)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Maps T codes per latent, ``(B, T) int64``, to latents ``(B, Z) float32``."""
        return self.quantizer.decode(codes).flatten(1)

    def loss(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss: squared error + β · commitment loss + codebook loss.

        The weight β is ``config.commitment``. During the warm-up, the loss is the squared error
        alone.

        Args:
            inputs: ``(B, ...)``.
            generator: source of the random vectors that replace rarely used codes.

        Returns:
            The scalar loss, and a dictionary with two of its parts. All of them are averaged over
            the batch. ``"squared_error"`` is summed over the elements of a network output.
            ``"commitment"`` is the commitment loss without the weight β, summed over the codes of
            an input. During the warm-up, ``"commitment"`` is 0.
        """
        given = self._preprocess(inputs)
        target = self._target(given)
        vectors = self._encode(given)
        if not self.quantizing:
            error = squared_error(self._decode(vectors, len(target)), target).mean()
            return error, {"squared_error": error.detach(), "commitment": torch.zeros_like(error)}
        # Half precision is too coarse to find nearest codes and to update moving averages.
        with torch.autocast(vectors.device.type, enabled=False):
            quantized = self.quantizer(vectors.float(), generator=generator)
        error = squared_error(self._decode(quantized.vectors, len(target)), target).mean()
        commitment = self.num_tokens * quantized.commitment.mean()
        codebook = self.num_tokens * quantized.codebook.mean()
        loss = error + self.config.commitment * commitment + codebook
        return loss, {"squared_error": error.detach(), "commitment": commitment.detach()}

    @torch.no_grad()
    def metrics(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """Computes metrics of the codebook and the encoder over batches of held-out inputs.

        Returns:
            ``perplexity`` and ``utilization`` of the codes. ``codebook_rank`` is the effective rank
            of the vectors of all K codes. ``encoder_rank`` is the effective rank of the encoder's
            outputs. ``commitment`` is the squared distance between an encoder output and its code's
            vector, summed over the codes of an input and averaged over inputs. For ``"fsq"``, the
            outputs are bounded before the distance is measured.
        """
        counts, vectors, distances = torch.zeros(self.codebook_size).double(), [], []
        for inputs in batches:
            found = self.unquantized(inputs)
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

    @torch.no_grad()
    def prepare(
        self, step: int, draw: Callable[[], Iterator[Tensor]], generator: torch.Generator
    ) -> None:
        """Prepares a training step: at the end of the warm-up, quantization starts.

        Before the first step with quantization, k-means of encoder outputs initializes the
        codebook. A ``"gradient"`` quantizer without a warm-up keeps its random codebook, and
        ``"fsq"`` has no codebook to initialize.

        Args:
            step: index of the next training step, from 0.
            draw: function that returns an endless iterator over batches of inputs, whose encoder
                outputs are used for k-means.
            generator: source of the randomness of k-means.
        """
        warmup = self.config.warmup_steps
        self.quantizing = self._quantizes(step)
        # Without a warm-up, only a codebook of moving averages is initialized from data.
        from_data = warmup > 0 or self.config.quantizer == "ema"
        if step == warmup and self.quantizer.learned and from_data:
            enough = _VECTORS_PER_CODE * self.codebook_size
            found: list[Tensor] = []
            for inputs in draw():
                found.append(self.unquantized(inputs))
                if sum(map(len, found)) >= enough:
                    break
            self.quantizer.init_codebook(torch.cat(found), generator=generator)

    def resume(self, steps: int) -> None:
        """Restores :attr:`quantizing` when training resumes after ``steps`` steps."""
        self.quantizing = self._quantizes(steps - 1)

    def is_usable(self, steps: int) -> bool:
        """Returns True if the warm-up ends within the first ``steps`` steps of training."""
        return self._quantizes(steps - 1)

    def _quantizes(self, step: int) -> bool:
        """Returns True if a training step uses the quantizer, as all steps after the warm-up do."""
        return step >= self.config.warmup_steps

    @abstractmethod
    def _encode(self, inputs: Tensor) -> Tensor:
        """Maps network inputs to unquantized vectors ``(B · T, D)``.

        Each input has T consecutive vectors.
        """

    @abstractmethod
    def _decode(self, vectors: Tensor, count: int) -> Tensor:
        """Maps vectors to network outputs, which have the shape of :meth:`_target`.

        Args:
            vectors: ``(B · T, D)``, T consecutive vectors per input.
            count: B, the number of inputs.
        """
