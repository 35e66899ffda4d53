"""Causal sequence models: an LSTM, and a Transformer with a KV cache.

Each model can process a whole sequence in one call, or step by step with the same results.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.core.validation import check_choice, check_int

SequenceState = tuple[Tensor, ...]
"""State of a sequence model: tensors whose first axis is the batch.

The state of a single sequence can therefore be selected or reset.
"""

DEFAULT_NUM_HEADS = 4
"""Default number of attention heads of a Transformer."""

SequenceModelName = Literal["lstm", "transformer"]
"""Names of sequence models that :func:`make_sequence_model` accepts."""

SEQUENCE_MODELS: tuple[str, ...] = get_args(SequenceModelName)
"""Tuple of all names in :data:`SequenceModelName`."""


class SequenceModel(nn.Module, ABC):
    """Interface of causal networks that map inputs ``(B, T, I)`` to features ``(B, T, H)``.

    B is the number of sequences, T their length, and I the dimension of an input. The features of
    step t depend only on the inputs of step t and earlier steps.

    Attributes:
        feature_dim: H, the number of features.
    """

    feature_dim: int

    @abstractmethod
    def initial_state(self, batch_size: int) -> SequenceState:
        """Returns the state of ``batch_size`` sequences before their first input."""

    @abstractmethod
    def forward(self, inputs: Tensor, state: SequenceState) -> tuple[Tensor, SequenceState]:
        """Computes the features ``(B, T, H)`` of sequences, and the state after the last input.

        Args:
            inputs: ``(B, T, I)``, B sequences of T inputs.
            state: state before the first input.
        """

    @abstractmethod
    def step(self, inputs: Tensor, state: SequenceState) -> tuple[Tensor, SequenceState]:
        """Computes the features ``(B, H)`` of one step, and the state after the step.

        Args:
            inputs: ``(B, I)``, next input of each of B sequences.
            state: state before this input.
        """

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device


def make_sequence_model(
    name: SequenceModelName,
    input_dim: int,
    *,
    hidden_dim: int,
    num_layers: int,
    context: int,
    num_heads: int = DEFAULT_NUM_HEADS,
) -> SequenceModel:
    """Creates a sequence model with weights drawn from PyTorch's global generator.

    Args:
        name: ``"lstm"`` or ``"transformer"``.
        input_dim: I, dimension of an input.
        hidden_dim: H, number of features.
        num_layers: number of layers of an LSTM or blocks of a Transformer.
        context: number of inputs that each step of a Transformer attends to, including the
            current one; ignored by an LSTM.
        num_heads: number of attention heads of a Transformer; ignored by an LSTM.

    Raises:
        ValueError: the name is unknown; or, for a Transformer, ``hidden_dim`` is not a multiple of
            ``num_heads``, or ``context`` is below 1.
    """
    check_choice("name", name, SEQUENCE_MODELS)
    if name == "lstm":
        return LSTMModel(input_dim, hidden_dim, num_layers)
    return TransformerModel(
        input_dim, hidden_dim, num_layers=num_layers, num_heads=num_heads, context=context
    )


def check_heads(
    hidden_dim: int, num_heads: int = DEFAULT_NUM_HEADS, *, name: str = "hidden_dim"
) -> None:
    """Raises ``ValueError`` unless ``hidden_dim`` is a multiple of ``num_heads``.

    Args:
        hidden_dim: number of features of a Transformer.
        num_heads: number of attention heads.
        name: name of the argument ``hidden_dim``, for the error message.
    """
    if hidden_dim % num_heads:
        raise ValueError(
            f"{name}: expected a multiple of {num_heads}, the number of attention heads, got "
            f"{hidden_dim}"
        )


class LSTMModel(SequenceModel):
    """A stacked LSTM with a learned initial state.

    Args:
        input_dim: I, dimension of an input.
        hidden_dim: H, number of features.
        num_layers: number of layers.
    """

    def __init__(self, input_dim: int, hidden_dim: int, num_layers: int = 1) -> None:
        super().__init__()
        self.feature_dim = hidden_dim
        self.lstm = nn.LSTM(input_dim, hidden_dim, num_layers, batch_first=True)
        self.first_hidden = nn.Parameter(torch.zeros(num_layers, hidden_dim))
        self.first_cell = nn.Parameter(torch.zeros(num_layers, hidden_dim))

    def initial_state(self, batch_size: int) -> SequenceState:
        """Returns the learned initial hidden and cell states, each ``(B, num_layers, H)``."""
        parts = self.first_hidden, self.first_cell
        return tuple(part.expand(batch_size, -1, -1) for part in parts)

    def forward(self, inputs: Tensor, state: SequenceState) -> tuple[Tensor, SequenceState]:
        """Computes the features ``(B, T, H)`` of sequences; see :meth:`SequenceModel.forward`."""
        before = tuple(part.transpose(0, 1).contiguous() for part in state)
        features, after = self.lstm(inputs, before)
        return features, tuple(part.transpose(0, 1) for part in after)

    def step(self, inputs: Tensor, state: SequenceState) -> tuple[Tensor, SequenceState]:
        """Computes the features ``(B, H)`` of one step; see :meth:`SequenceModel.step`."""
        features, state = self(inputs[:, None], state)
        return features[:, 0], state


class TransformerModel(SequenceModel):
    """A causal Transformer over a sliding window, with a cache of keys and values.

    Attention and MLP each start with a layer normalization (pre-norm, Xiong et al. 2020,
    https://arxiv.org/abs/2002.04745). There are no position embeddings. Instead, attention scores
    decrease linearly with the age of an input, with one slope per head (ALiBi, Press et al. 2021,
    https://arxiv.org/abs/2108.12409). The sequences of a batch may therefore start at different
    times. The cache is a ring buffer, in which the keys and values of the newest input overwrite
    those of the oldest.

    Args:
        input_dim: I, dimension of an input.
        hidden_dim: H, number of features; a multiple of ``num_heads``.
        num_layers: number of blocks.
        num_heads: number of attention heads.
        context: W, the number of inputs that each step attends to, including the current one.

    Raises:
        ValueError: ``hidden_dim`` is not a multiple of ``num_heads``, or ``context`` is below 1.
    """

    slopes: Tensor

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        *,
        num_layers: int = 2,
        num_heads: int = DEFAULT_NUM_HEADS,
        context: int = 32,
    ) -> None:
        super().__init__()
        check_heads(hidden_dim, num_heads)
        check_int("context", context, at_least=1)
        self.feature_dim, self.context = hidden_dim, context
        self.project = nn.Linear(input_dim, hidden_dim)
        self.blocks = nn.ModuleList(_Block(hidden_dim, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_dim)
        slopes = torch.tensor([2.0 ** (-8.0 * (head + 1) / num_heads) for head in range(num_heads)])
        self.register_buffer("slopes", slopes, persistent=False)

    def initial_state(self, batch_size: int) -> SequenceState:
        """Returns an empty cache for B = ``batch_size`` sequences.

        Returns:
            A tuple of tensors. The first one is the time ``(B, 1) int64``, the number of inputs so
            far. Two tensors per block follow, the keys and the values, each ``(B, W, H)`` with
            W = ``context``. The keys and values of input t, counted from 0, are stored at index
            t mod W of the second axis.
        """
        cache = torch.zeros(batch_size, self.context, self.feature_dim, device=self.device)
        time = torch.zeros(batch_size, 1, dtype=torch.int64, device=self.device)
        return (time, *[cache] * (2 * len(self.blocks)))

    def forward(self, inputs: Tensor, state: SequenceState) -> tuple[Tensor, SequenceState]:
        """Computes the features ``(B, T, H)`` of sequences; see :meth:`SequenceModel.forward`."""
        time, *cache = state
        length = inputs.shape[1]
        x = self.project(inputs)
        # Keys and values are those of the cache, followed by those of the sequence itself.
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

    def step(self, inputs: Tensor, state: SequenceState) -> tuple[Tensor, SequenceState]:
        """Computes the features ``(B, H)`` of one step; see :meth:`SequenceModel.step`."""
        features, state = self(inputs[:, None], state)
        return features[:, 0], state

    def _blocks(self) -> list["_Block"]:
        return list(self.blocks)  # type: ignore[arg-type]  # ModuleList is not generic

    def _times(self, time: Tensor) -> Tensor:
        """Returns the times ``(B, W)`` of the inputs that are stored in the W slots of the cache.

        The time of an input is its index in the sequence, from 0. Empty slots have negative times.

        Args:
            time: ``(B, 1)``, number of inputs so far.
        """
        slot = torch.arange(self.context, device=time.device)
        return time - 1 - (time - 1 - slot) % self.context

    def _bias(self, now: Tensor, then: Tensor) -> Tensor:
        """Returns the bias of attention scores, ``(B, num_heads, T, S)``; −∞ for masked keys.

        Args:
            now: ``(B, T)``, time steps of T queries.
            then: ``(B, S)``, time steps of S keys; negative for the empty slots of a cache.
        """
        age = now[:, :, None] - then[:, None, :]
        visible = (age >= 0) & (age < self.context) & (then >= 0)[:, None, :]
        bias = -self.slopes[:, None, None] * age[:, None]
        return bias.masked_fill(~visible[:, None], -math.inf)

    def _write(self, cache: Tensor, new: Tensor, time: Tensor) -> Tensor:
        """Returns a copy of a cache with new entries written to it.

        The entry of time t is written to slot t mod W of the cache. If there are more than W new
        entries, only the last W of them are written.

        Args:
            cache: ``(B, W, H)``, keys or values in W slots.
            new: ``(B, T, H)``, new keys or values.
            time: ``(B, 1)``, time of the first new entry.
        """
        length = new.shape[1]
        kept = min(length, self.context)
        times = time + torch.arange(length - kept, length, device=new.device)  # (B, kept)
        slots = (times % self.context)[:, :, None].expand(-1, -1, new.shape[2])
        return cache.scatter(1, slots, new[:, length - kept :])


class _Block(nn.Module):
    """A Transformer block: pre-norm self-attention and MLP.

    Between :meth:`project` and :meth:`attend`, the caller prepends the cached keys and values.
    """

    def __init__(self, hidden_dim: int, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.attention_norm = nn.LayerNorm(hidden_dim)
        self.qkv = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.out = nn.Linear(hidden_dim, hidden_dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(hidden_dim),
            nn.Linear(hidden_dim, 4 * hidden_dim),
            nn.GELU(),
            nn.Linear(4 * hidden_dim, hidden_dim),
        )

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes queries, keys and values of the block's inputs; all are ``(B, T, H)``."""
        query, keys, values = self.qkv(self.attention_norm(x)).chunk(3, -1)
        return query, keys, values

    def attend(
        self, x: Tensor, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor
    ) -> Tensor:
        """Computes the block's outputs ``(B, T, H)`` by applying attention and MLP to ``x``.

        Args:
            x: ``(B, T, H)``, inputs of the block.
            query: ``(B, T, H)``, queries from :meth:`project`.
            keys: ``(B, S, H)``, cached keys followed by those from :meth:`project`.
            values: ``(B, S, H)``, cached values followed by those from :meth:`project`.
            bias: ``(B, num_heads, T, S)``, bias of the attention scores.
        """

        def split(part: Tensor) -> Tensor:
            """Splits ``(B, T, H)`` into heads, ``(B, num_heads, T, H / num_heads)``."""
            return part.view(*part.shape[:2], self._num_heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(query), split(keys), split(values), attn_mask=bias
        )
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        result: Tensor = x + self.mlp(x)
        return result
