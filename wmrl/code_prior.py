"""Autoregressive priors over the codes of a picture."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.cores import CoreName, make_core
from wmrl.initialisation import seeded_weights
from wmrl.sampling import draw_codes


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
    """

    tokens: int = 49
    codes: int = 512
    classes: int = 0
    core: CoreName = "transformer"
    size: int = 128
    layers: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("tokens", "codes", "size", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.classes < 0:
            raise ValueError(f"classes: expected at least 0, got {self.classes}")
        if self.core not in ("lstm", "transformer"):
            raise ValueError(f"core: expected 'lstm' or 'transformer', got {self.core!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected in [0, 1), got {self.dropout}")


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
        with seeded_weights(generator):
            self.embed = nn.Embedding(config.codes + 1, size)  # and what precedes the first
            self.place = nn.Parameter(0.02 * torch.randn(config.tokens, size))
            self.label = nn.Embedding(config.classes, size) if config.classes else None
            self.core = make_core(
                config.core, size, size=size, layers=config.layers, context=config.tokens
            )
            self.dropout = nn.Dropout(config.dropout)
            self.head = nn.Linear(size, config.codes)

    def log_likelihood(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log-probability of each code ``(B, T) int64`` given those before it: ``(B, T)`` in nats.

        Args:
            codes: in raster order.
            labels: ``(B,) int64``, where the prior is conditioned on classes.

        Raises:
            ValueError: codes or labels are out of range, or labels are missing or not expected.
        """
        self._check(codes)
        before = F.pad(codes[:, :-1], (1, 0), value=self.config.codes)
        inputs = self.embed(before) + self.place + self._class(labels, len(codes))
        features, _ = self.core(inputs, self.core.initial_state(len(codes)))
        logits = self.head(self.dropout(features))
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
        device = self.place.device
        label = self._class(labels, count)
        label = label[:, 0] if isinstance(label, Tensor) else label
        code = torch.full((count,), self.config.codes, device=device)
        state, codes = self.core.initial_state(count), []
        for place in self.place:
            features, state = self.core.step(self.embed(code) + place + label, state)
            logits = self.head(self.dropout(features))
            code = draw_codes(logits, temperature=temperature, generator=generator)
            codes.append(code)
        return torch.stack(codes, 1)

    def _class(self, labels: Tensor | None, count: int) -> Tensor | float:
        classes = self.config.classes
        if (labels is None) == (classes > 0):
            expected = f"({count},) of {classes} classes" if classes else "None"
            raise ValueError(f"labels: expected {expected}, got {labels}")
        if self.label is None or labels is None:
            return 0.0
        if labels.shape != (count,) or int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise ValueError(
                f"labels: expected shape ({count},) and 0 to {classes - 1}, got shape "
                f"{tuple(labels.shape)} and {int(labels.min())} to {int(labels.max())}"
            )
        embedded: Tensor = self.label(labels)[:, None]
        return embedded

    def _check(self, codes: Tensor) -> None:
        config = self.config
        if codes.ndim != 2 or codes.shape[1] != config.tokens:
            raise ValueError(
                f"codes: expected shape (B, {config.tokens}), got {tuple(codes.shape)}"
            )
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= config.codes):
            raise ValueError(
                f"codes: expected 0 to {config.codes - 1}, got {int(codes.min())} to "
                f"{int(codes.max())}"
            )
