"""Autoregressive priors over the codes of a picture."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.nn.sampling import draw_codes
from wmrl.nn.sampling import dropout as drop
from wmrl.nn.sequence_models import CoreName, check_heads, make_core
from wmrl.storage.artifact import Artifact, restore_config, restore_module, save_artifact


@dataclass(frozen=True, kw_only=True)
class CodePriorConfig:
    """Sizes of a :class:`CodePrior`.

    Attributes:
        tokens: T, codes of a picture, in raster order.
        codes: K.
        classes: of pictures, whose prior is conditioned on them; 0 for none.
        core: ``"lstm"`` or ``"transformer"``.
        size: features of the core, and of what codes and places are embedded in.
        layers: of the core.
        dropout: share of the core's features that is dropped in training.
        one_hot: as the earlier experiment did: the core sees the codes as they are, without their
            places, and K units with a ReLU stand between its features and the logits.
    """

    tokens: int = 49
    codes: int = 512
    classes: int = 0
    core: CoreName = "transformer"
    size: int = 128
    layers: int = 3
    dropout: float = 0.1
    one_hot: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens", "codes", "size", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.classes < 0:
            raise ValueError(f"classes: expected at least 0, got {self.classes}")
        if self.core not in ("lstm", "transformer"):
            raise ValueError(f"core: expected 'lstm' or 'transformer', got {self.core!r}")
        if self.core == "transformer":
            check_heads(self.size)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected in [0, 1), got {self.dropout}")

    def check(self, codes: Tensor, labels: Tensor | None = None) -> None:
        """Raises ``ValueError`` unless codes ``(B, T)`` and labels ``(B,)`` fit.

        Their values are looked at on a CPU only: elsewhere that would wait for the device.
        """
        if codes.ndim != 2 or codes.shape[1] != self.tokens:
            raise ValueError(f"codes: expected shape (B, {self.tokens}), got {tuple(codes.shape)}")
        _check_range("codes", codes, self.codes)
        self.check_labels(labels, len(codes))

    def check_labels(self, labels: Tensor | None, count: int) -> None:
        """Raises ``ValueError`` unless labels ``(B,)``, or their absence, fit B pictures."""
        classes = self.classes
        if (labels is None) == (classes > 0):
            expected = f"({count},) of {classes} classes" if classes else "None"
            raise ValueError(f"labels: expected {expected}, got {labels}")
        if labels is None:
            return
        if labels.shape != (count,):
            raise ValueError(f"labels: expected shape ({count},), got {tuple(labels.shape)}")
        _check_range("labels", labels, classes)


class CodePrior(nn.Module):
    """p(codes) = Π p(code | those before it, class), the second stage of a VQ-VAE.

    Van den Oord et al. 2017 (https://arxiv.org/abs/1711.00937), section 3.2, with a causal core
    in place of the PixelCNN. Each step sees the code before it, its own place, and the class.

    Args:
        config: sizes.
        generator: source of the initial weights; a fixed seed's if None.
    """

    def __init__(
        self, config: CodePriorConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        size = config.size
        inputs = config.codes + 1 + config.classes if config.one_hot else size
        with seeded_weights(generator):
            if not config.one_hot:
                self.embed = nn.Embedding(config.codes + 1, size)  # and what precedes the first
                self.place = nn.Parameter(0.02 * torch.randn(config.tokens, size))
                self.label = nn.Embedding(config.classes, size) if config.classes else None
            self.core = make_core(
                config.core, inputs, size=size, layers=config.layers, context=config.tokens
            )
            between = [nn.Linear(size, config.codes), nn.ReLU()] if config.one_hot else []
            width = config.codes if config.one_hot else size
            self.head = nn.Sequential(*between, nn.Linear(width, config.codes))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.core.device

    def log_likelihood(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        *,
        dropout: torch.Generator | None = None,
    ) -> Tensor:
        """Log-probability of each code ``(B, T) int64`` given those before it: ``(B, T)`` in nats.

        Args:
            codes: in raster order.
            labels: ``(B,) int64``, where the prior is conditioned on classes.
            dropout: source of dropout masks; None for no dropout.

        Raises:
            ValueError: shapes do not fit, labels are missing or not expected, or (where asking
                does not wait for a device) codes or labels are out of range.
        """
        self.config.check(codes, labels)
        before = F.pad(codes[:, :-1], (1, 0), value=self.config.codes)
        label = None if labels is None else labels[:, None].expand_as(codes)
        inputs = self._inputs(before, torch.arange(codes.shape[1], device=self.device), label)
        features, _ = self.core(inputs, self.core.initial_state(len(codes)))
        if dropout is not None:
            features = drop(features, rate=self.config.dropout, generator=dropout)
        logits = self.head(features)
        return -F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(
            codes
        )

    @torch.no_grad()
    def sample(
        self,
        count: int,
        *,
        labels: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator,
    ) -> Tensor:
        """Draws pictures' codes ``(N, T) int64``, one after the other.

        Args:
            count: N.
            labels: ``(N,) int64``, where the prior is conditioned on classes.
            temperature: τ > 0 that logits are divided by.
            generator: source of all randomness, on the prior's device.
        """
        self.config.check_labels(labels, count)
        code = torch.full((count,), self.config.codes, device=self.device)
        state, codes = self.core.initial_state(count), []
        for place in range(self.config.tokens):
            features, state = self.core.step(self._inputs(code, place, labels), state)
            code = draw_codes(self.head(features), temperature=temperature, generator=generator)
            codes.append(code)
        return torch.stack(codes, 1)

    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Writes an artifact, in full precision, and returns its digest."""
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
        """Restores from an artifact that was read."""
        config = restore_config(CodePriorConfig, artifact)
        return restore_module(lambda: cls(config), artifact).eval()

    def _inputs(self, before: Tensor, place: Tensor | int, labels: Tensor | None) -> Tensor:
        """What the core sees ``(..., I)``: the codes before ``(...)``, places and classes."""
        config = self.config
        if config.one_hot:
            parts = [F.one_hot(before, config.codes + 1)]
            parts += [] if labels is None else [F.one_hot(labels, config.classes)]
            return torch.cat(parts, -1).to(torch.get_default_dtype())
        seen: Tensor = self.embed(before) + self.place[place]
        return seen if self.label is None else seen + self.label(labels)


def _check_range(name: str, numbers: Tensor, count: int) -> None:
    if numbers.device.type != "cpu" or not numbers.numel():
        return
    least, most = int(numbers.min()), int(numbers.max())
    if least < 0 or most >= count:
        raise ValueError(f"{name}: expected 0 to {count - 1}, got {least} to {most}")
