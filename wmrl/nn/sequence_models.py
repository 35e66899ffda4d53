"""Causal sequence models, each as one network for whole sequences and for single steps.

Memories and priors are made of them: an LSTM, and a Transformer that keeps its keys and values.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CoreState = tuple[Tensor, ...]
"""Tensors whose first axis is the batch, so that rows can be picked or reset."""

HEADS = 4
"""Attention heads of a Transformer, if not said otherwise."""

CoreName = Literal["lstm", "transformer"]


class Core(nn.Module, ABC):
    """From inputs ``(B, T, I)`` to features ``(B, T, H)``; features of step t know inputs ≤ t.

    Attributes:
        feature_size: H.
    """

    feature_size: int

    @abstractmethod
    def initial_state(self, batch_size: int) -> CoreState:
        """The state before the first input."""

    @abstractmethod
    def forward(self, inputs: Tensor, state: CoreState) -> tuple[Tensor, CoreState]:
        """Features ``(B, T, H)`` of inputs ``(B, T, I)`` that follow a state, and the next one."""

    @abstractmethod
    def step(self, inputs: Tensor, state: CoreState) -> tuple[Tensor, CoreState]:
        """Features ``(B, H)`` of one input ``(B, I)``, and the next state."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def make_core(
    name: CoreName, inputs: int, *, size: int, layers: int, context: int, heads: int = HEADS
) -> Core:
    """A core by its name; weights are drawn from torch's global generator.

    Args:
        name: ``"lstm"`` or ``"transformer"``.
        inputs: I.
        size: H.
        layers: how many.
        context: a Transformer's: how many inputs a step knows of, its own included.
        heads: a Transformer's.
    """
    if name == "lstm":
        return LSTMCore(inputs, size, layers)
    if name == "transformer":
        return TransformerCore(inputs, size, layers=layers, heads=heads, context=context)
    raise ValueError(f"core: expected 'lstm' or 'transformer', got {name!r}")


def check_heads(size: int, heads: int = HEADS, *, name: str = "size") -> None:
    """Raises ``ValueError`` unless features can be shared out evenly to a Transformer's heads."""
    if size % heads:
        raise ValueError(f"{name}: expected a multiple of the {heads} heads, got {size}")


class LSTMCore(Core):
    """Layers of LSTM whose first state is learned.

    Args:
        inputs: I.
        size: H.
        layers: how many.
    """

    def __init__(self, inputs: int, size: int, layers: int = 1) -> None:
        super().__init__()
        self.feature_size, self._layers = size, layers
        self.lstm = nn.LSTM(inputs, size, layers, batch_first=True)
        self.first_hidden = nn.Parameter(torch.zeros(layers, size))
        self.first_cell = nn.Parameter(torch.zeros(layers, size))

    def initial_state(self, batch_size: int) -> CoreState:
        """The learned ``(h, c)``, each ``(B, layers, H)``."""
        parts = self.first_hidden, self.first_cell
        return tuple(part.expand(batch_size, -1, -1) for part in parts)

    def forward(self, inputs: Tensor, state: CoreState) -> tuple[Tensor, CoreState]:
        """See :meth:`Core.forward`."""
        before = tuple(part.transpose(0, 1).contiguous() for part in state)
        features, after = self.lstm(inputs, before)
        return features, tuple(part.transpose(0, 1) for part in after)

    def step(self, inputs: Tensor, state: CoreState) -> tuple[Tensor, CoreState]:
        """See :meth:`Core.step`."""
        features, state = self(inputs[:, None], state)
        return features[:, 0], state


class TransformerCore(Core):
    """A causal Transformer over a sliding window, with a cache of keys and values.

    Layer normalisation comes first in each block (Xiong et al. 2020,
    https://arxiv.org/abs/2002.04745). Positions are known by age alone: scores fall linearly with
    it, at a slope for each head (ALiBi, Press et al. 2021, https://arxiv.org/abs/2108.12409). So a
    row of the cache may begin at any time, and the oldest entry is written over by the newest.

    Args:
        inputs: I.
        size: H, a multiple of ``heads``.
        layers: how many blocks.
        heads: attention heads.
        context: W, how many inputs a step knows of, its own included.
    """

    slopes: Tensor

    def __init__(
        self, inputs: int, size: int, *, layers: int = 2, heads: int = HEADS, context: int = 32
    ) -> None:
        super().__init__()
        check_heads(size, heads)
        if context < 1:
            raise ValueError(f"context: expected at least 1, got {context}")
        self.feature_size, self._heads, self.context = size, heads, context
        self.project = nn.Linear(inputs, size)
        self.blocks = nn.ModuleList(_Block(size, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(size)
        slopes = torch.tensor([2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)])
        self.register_buffer("slopes", slopes, persistent=False)

    def initial_state(self, batch_size: int) -> CoreState:
        """An empty cache.

        Returns:
            Time ``(B, 1) int64``, the number of inputs so far, and for each block keys and values
            ``(B, W, H)``; the input of time t lies in row t mod W.
        """
        cache = torch.zeros(batch_size, self.context, self.feature_size, device=self.device)
        time = torch.zeros(batch_size, 1, dtype=torch.int64, device=self.device)
        return (time, *[cache] * (2 * len(self.blocks)))

    def forward(self, inputs: Tensor, state: CoreState) -> tuple[Tensor, CoreState]:
        """See :meth:`Core.forward`."""
        time, *cache = state
        length = inputs.shape[1]
        x = self.project(inputs)
        # What is attended to: the cache's rows, then the sequence's own.
        now = time + torch.arange(length, device=x.device)  # (B, T)
        past = self._times(time)  # (B, W)
        bias = self._bias(now, torch.cat((past, now), 1))
        after: list[Tensor] = []
        for index, block in enumerate(self._blocks()):
            old_keys, old_values = cache[2 * index : 2 * index + 2]
            query, keys, values = block.project(x)
            x = block.attend(
                x, query, torch.cat((old_keys, keys), 1), torch.cat((old_values, values), 1), bias
            )
            after += [self._write(old_keys, keys, time), self._write(old_values, values, time)]
        return self.norm(x), (time + length, *after)

    def step(self, inputs: Tensor, state: CoreState) -> tuple[Tensor, CoreState]:
        """See :meth:`Core.step`."""
        features, state = self(inputs[:, None], state)
        return features[:, 0], state

    def _blocks(self) -> list["_Block"]:
        return list(self.blocks)  # type: ignore[arg-type]  # a ModuleList forgets its type

    def _times(self, time: Tensor) -> Tensor:
        """When each row of the cache was written, ``(B, W)``; negative where it never was."""
        row = torch.arange(self.context, device=time.device)
        return time - 1 - (time - 1 - row) % self.context

    def _bias(self, now: Tensor, then: Tensor) -> Tensor:
        """What is added to the scores: ``(B, heads, T, S)``."""
        age = now[:, :, None] - then[:, None, :]
        seen = (age >= 0) & (age < self.context) & (then >= 0)[:, None, :]
        fall = -self.slopes[:, None, None] * age[:, None]
        return fall.masked_fill(~seen[:, None], -math.inf)

    def _write(self, cache: Tensor, new: Tensor, time: Tensor) -> Tensor:
        """The cache with the last W of the new rows ``(B, T, H)`` in their places."""
        length = new.shape[1]
        kept = min(length, self.context)
        times = time + torch.arange(length - kept, length, device=new.device)  # (B, kept)
        rows = (times % self.context)[:, :, None].expand(-1, -1, new.shape[2])
        return cache.scatter(1, rows, new[:, length - kept :])


class _Block(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.attention_norm = nn.LayerNorm(size)
        self.qkv = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.mlp = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size)
        )

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``(B, T, H)``."""
        query, keys, values = self.qkv(self.attention_norm(x)).chunk(3, -1)
        return query, keys, values

    def attend(
        self, x: Tensor, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor
    ) -> Tensor:
        def split(part: Tensor) -> Tensor:
            """``(B, heads, T, H / heads)``."""
            return part.view(*part.shape[:2], self._heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(query), split(keys), split(values), attn_mask=bias
        )
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        result: Tensor = x + self.mlp(x)
        return result
