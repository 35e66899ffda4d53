"""Autoregressive prior over the codes of an image."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.core.config import check_fields
from wmrl.core.seeding import seeded_weights
from wmrl.core.validation import check_choice, check_float, check_int, check_shape
from wmrl.nn.sampling import draw_codes
from wmrl.nn.sampling import dropout as drop
from wmrl.nn.sequence_models import (
    SEQUENCE_MODELS,
    SequenceModelName,
    check_heads,
    make_sequence_model,
)
from wmrl.storage.artifact import Artifact, save_artifact
from wmrl.storage.restoring import restore_config, restore_module


@dataclass(frozen=True, kw_only=True)
class CodePriorConfig:
    """Configuration of a :class:`CodePrior`.

    Attributes:
        num_tokens: T, number of codes per image, in raster order.
        codebook_size: K, number of codes in the codebook.
        num_classes: number of image classes; 0 if the prior is not conditioned on classes.
        sequence_model: ``"lstm"`` or ``"transformer"``.
        hidden_dim: number of features of the sequence model. The embeddings of codes, positions and
            classes have the same dimension.
        num_layers: number of layers of the sequence model.
        dropout: probability that a feature of the sequence model is dropped in training.
        one_hot: True if the inputs are one-hot codes and classes in place of embeddings. Positions
            are then not an input, and a hidden layer of K ReLU units is added before the logits.
            The experiment behind ``wmrl reproduce vqvae`` has this architecture.
    """

    num_tokens: int = 49
    codebook_size: int = 512
    num_classes: int = 0
    sequence_model: SequenceModelName = "transformer"
    hidden_dim: int = 128
    num_layers: int = 3
    dropout: float = 0.1
    one_hot: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("num_tokens", "codebook_size", "hidden_dim", "num_layers"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("num_classes", self.num_classes, at_least=0)
        check_choice("sequence_model", self.sequence_model, SEQUENCE_MODELS)
        if self.sequence_model == "transformer":
            check_heads(self.hidden_dim)
        check_float("dropout", self.dropout, at_least=0, below=1)

    def check(self, codes: Tensor, labels: Tensor | None = None) -> None:
        """Raises ``ValueError`` unless codes ``(B, T)`` and labels ``(B,)`` fit this configuration.

        On a GPU, only the shapes are checked, because reading the values would mean waiting for the
        GPU.
        """
        check_shape("codes", codes, ("B", self.num_tokens))
        _check_range("codes", codes, self.codebook_size)
        self.check_labels(labels, len(codes))

    def check_labels(self, labels: Tensor | None, num_images: int) -> None:
        """Raises ``ValueError`` unless labels fit this configuration.

        Args:
            labels: ``(B,) int64``, classes of the images; None if ``num_classes`` is 0.
            num_images: B, number of images.
        """
        classes = self.num_classes
        if (labels is None) == (classes > 0):
            expected = (
                f"one of {classes} classes for each of {num_images} images"
                if classes
                else "None (num_classes is 0)"
            )
            raise ValueError(f"labels: expected {expected}, got {labels}")
        if labels is None:
            return
        check_shape("labels", labels, (num_images,))
        _check_range("labels", labels, classes)


class CodePrior(nn.Module):
    """An autoregressive prior over the codes of an image, the second stage of a VQ-VAE.

    The prior factorizes p(codes) = Π_t p(code_t | code_<t, class), as in section 3.2 of van den
    Oord et al. 2017 (https://arxiv.org/abs/1711.00937). In place of the PixelCNN of that paper, the
    prior has a causal sequence model. At step t, the model receives the previous code, the position
    t and, if there are classes, the class of the image. If ``config.one_hot`` is True, the model
    receives no position.

    Args:
        config: architecture and sizes.
        generator: source of the initial weights; a generator with a fixed seed if None.

    Example:
        >>> import torch
        >>> from wmrl.priors import CodePrior, CodePriorConfig
        >>> config = CodePriorConfig(num_tokens=4, codebook_size=8, hidden_dim=16, num_layers=1)
        >>> prior = CodePrior(config).eval()
        >>> codes = prior.sample(3, generator=torch.Generator().manual_seed(0))
        >>> codes.shape
        torch.Size([3, 4])
        >>> prior.log_likelihood(codes).shape
        torch.Size([3, 4])
    """

    def __init__(
        self, config: CodePriorConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        hidden_dim, codebook_size = config.hidden_dim, config.codebook_size
        input_dim = codebook_size + 1 + config.num_classes if config.one_hot else hidden_dim
        with seeded_weights(generator):
            if not config.one_hot:
                # The additional embedding K stands for the start of the sequence.
                self.embed = nn.Embedding(codebook_size + 1, hidden_dim)
                self.place = nn.Parameter(0.02 * torch.randn(config.num_tokens, hidden_dim))
                classes = config.num_classes
                self.label = nn.Embedding(classes, hidden_dim) if classes else None
            self.sequence_model = make_sequence_model(
                config.sequence_model,
                input_dim,
                hidden_dim=hidden_dim,
                num_layers=config.num_layers,
                context=config.num_tokens,
            )
            between = [nn.Linear(hidden_dim, codebook_size), nn.ReLU()] if config.one_hot else []
            width = codebook_size if config.one_hot else hidden_dim
            self.head = nn.Sequential(*between, nn.Linear(width, codebook_size))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.sequence_model.device

    def log_likelihood(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        *,
        dropout: torch.Generator | None = None,
    ) -> Tensor:
        """Computes the log-probability of each code, given the previous codes of the image.

        Args:
            codes: ``(B, T) int64``, in raster order.
            labels: ``(B,) int64``, classes of the images; None if the prior has no classes.
            dropout: generator of the dropout masks; None for no dropout.

        Returns:
            Log-probabilities ``(B, T)`` in nats.

        Raises:
            ValueError: codes or labels do not fit the configuration; see
                :meth:`CodePriorConfig.check`.
        """
        self.config.check(codes, labels)
        before = F.pad(codes[:, :-1], (1, 0), value=self.config.codebook_size)
        label = None if labels is None else labels[:, None].expand_as(codes)
        inputs = self._inputs(before, torch.arange(codes.shape[1], device=self.device), label)
        features, _ = self.sequence_model(inputs, self.sequence_model.initial_state(len(codes)))
        if dropout is not None:
            features = drop(features, rate=self.config.dropout, generator=dropout)
        logits = self.head(features)
        return -F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(
            codes
        )

    @torch.no_grad()
    def sample(
        self,
        num_images: int,
        *,
        labels: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator,
    ) -> Tensor:
        """Draws the codes of images from the prior, one position after another.

        Args:
            num_images: N, number of images.
            labels: ``(N,) int64``, classes of the images; None if the prior has no classes.
            temperature: divisor of the logits, above 0.
            generator: source of all randomness, on the prior's device.

        Returns:
            Codes ``(N, T) int64`` in raster order.

        Raises:
            ValueError: labels do not fit the configuration (see
                :meth:`CodePriorConfig.check_labels`), or ``temperature`` is not above 0.
        """
        self.config.check_labels(labels, num_images)
        code = torch.full((num_images,), self.config.codebook_size, device=self.device)
        state, codes = self.sequence_model.initial_state(num_images), []
        for place in range(self.config.num_tokens):
            features, state = self.sequence_model.step(self._inputs(code, place, labels), state)
            code = draw_codes(self.head(features), temperature=temperature, generator=generator)
            codes.append(code)
        return torch.stack(codes, 1)

    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Saves the prior as an artifact, in full precision, and returns the artifact's digest."""
        return save_artifact(
            path,
            kind="prior",
            class_name=type(self).__name__,
            config=asdict(self.config),
            tensors=self.state_dict(),
            provenance=provenance,
        )

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores a prior from a loaded artifact, and sets the prior to evaluation mode."""
        config = restore_config(CodePriorConfig, artifact)
        return restore_module(lambda: cls(config), artifact).eval()

    def _inputs(self, before: Tensor, place: Tensor | int, labels: Tensor | None) -> Tensor:
        """Combines previous codes, positions and classes into inputs of the sequence model.

        Args:
            before: ``(...) int64``, previous codes; K stands for the start of the sequence.
            place: positions of the codes to predict; ignored if ``config.one_hot`` is True.
            labels: ``(...) int64``, classes of the images; None if the prior has no classes.

        Returns:
            Inputs ``(..., I)``, with I features each.
        """
        config = self.config
        if config.one_hot:
            parts = [F.one_hot(before, config.codebook_size + 1)]
            parts += [] if labels is None else [F.one_hot(labels, config.num_classes)]
            return torch.cat(parts, -1).to(torch.get_default_dtype())
        inputs: Tensor = self.embed(before) + self.place[place]
        return inputs if self.label is None else inputs + self.label(labels)


def _check_range(name: str, numbers: Tensor, count: int) -> None:
    """Raises ``ValueError`` unless all numbers are in 0 … ``count`` − 1.

    Tensors on a GPU are not checked, because reading their values would mean waiting for the GPU.
    """
    if numbers.device.type != "cpu" or not numbers.numel():
        return
    least, most = int(numbers.min()), int(numbers.max())
    if least < 0 or most >= count:
        raise ValueError(
            f"{name}: expected values from 0 to {count - 1}, got values from {least} to {most}"
        )
