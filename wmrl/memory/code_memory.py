"""Memory with discrete latents, which predicts the codes of the next frame."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.core.validation import check_choice, check_float, check_int, check_shape
from wmrl.memory.base import MemoryState, Transition
from wmrl.memory.discrete import DiscreteMemory
from wmrl.memory.sequences import SequenceBatch, segments, select_states
from wmrl.memory.trainable import TrainableMemory, TrainableMemoryConfig
from wmrl.nn.clustering import nearest
from wmrl.nn.losses import masked_mean
from wmrl.nn.sampling import draw_codes, draw_endings
from wmrl.nn.sampling import dropout as drop
from wmrl.nn.sequence_models import SequenceModelName, check_heads, make_sequence_model
from wmrl.vision.base import Vision
from wmrl.vision.vqvae import VQVAE

# A state holds the inputs of as many agent steps as the context.
_MAX_LAYERS, _MAX_CONTEXT = 1000, 2**16
_MAX_KERNEL, _MAX_HISTORY = 255, 64

Decoding = Literal["parallel", "sequential"]


@dataclass(frozen=True, kw_only=True)
class CodeMemoryConfig(TrainableMemoryConfig):
    """Configuration of a :class:`CodeMemory`.

    Inherited attributes configure the loss, and identify the task and the vision model.

    Attributes:
        grid: height and width of the grid of a frame's codes. T is their product.
        codebook_size: K, the number of codes in the codebook.
        code_dim: D, the dimension of a code's vector. A latent has ``Z = T · D`` dimensions.
        sequence_model: ``"lstm"`` or ``"transformer"``.
        hidden_dim: H, the width of the sequence model.
        num_layers: number of layers of the sequence model.
        context: number of agent steps that a Transformer attends to; ignored by an LSTM.
        token_dim: E, the number of features of each grid position. The codes of the next frame are
            predicted from these features.
        kernel_size: height and width, in grid positions, of the convolution over the current codes;
            two odd numbers. It should cover how far objects move in one agent step.
        history: number of successive frames whose codes the convolution sees: the current frame,
            and the frames before it. With two or more, it sees how objects move. Frames before the
            start of an episode, or of a sequence, are zeros.
        modulation: True to scale the features of the convolution by factors that depend on the
            output of the sequence model (feature-wise linear modulation, Perez et al. 2018,
            https://arxiv.org/abs/1709.07871). The prediction of where objects move to can then
            depend on the action.
        num_refinements: number of residual convolutional blocks, which exchange information between
            grid positions before the codes are predicted.
        loss_share: fraction of a batch's frames on which the negative log-likelihood is computed,
            in (0, 1]. A small fraction saves time, because classification among K codes costs more
            than all layers before it. A small fraction suffices, because the frames of a sequence
            are similar.
        decoding: ``"parallel"`` to predict the codes of a frame independently of each other;
            ``"sequential"`` to predict each code given the codes before it: row by row, or column
            by column if the grid is wider than high, so that neighbors are close in this order.
    """

    grid: tuple[int, int] = (4, 4)
    codebook_size: int = 512
    code_dim: int = 16
    sequence_model: SequenceModelName = "lstm"
    hidden_dim: int = 256
    num_layers: int = 1
    context: int = 32
    token_dim: int = 128
    kernel_size: tuple[int, int] = (3, 3)
    history: int = 1
    modulation: bool = False
    num_refinements: int = 1
    loss_share: float = 0.25
    decoding: Decoding = "parallel"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grid", "kernel_size"):
            sides = tuple(getattr(self, name))
            object.__setattr__(self, name, sides)
            for side in sides:
                check_int(name, side, at_least=1)
        if not all(side % 2 for side in self.kernel_size):
            raise ValueError(
                f"kernel_size: expected two odd numbers, so that the convolution is centered, got "
                f"{self.kernel_size}"
            )
        for side in self.kernel_size:
            check_int("kernel_size", side, at_least=1, at_most=_MAX_KERNEL)
        for name in ("codebook_size", "code_dim", "hidden_dim"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("num_layers", self.num_layers, at_least=1, at_most=_MAX_LAYERS)
        check_int("context", self.context, at_least=1, at_most=_MAX_CONTEXT)
        check_int("token_dim", self.token_dim, at_least=1)
        check_int("history", self.history, at_least=1, at_most=_MAX_HISTORY)
        check_int("num_refinements", self.num_refinements, at_least=0, at_most=_MAX_LAYERS)
        check_float("loss_share", self.loss_share, above=0, at_most=1)
        check_choice("sequence_model", self.sequence_model, get_args(SequenceModelName))
        check_choice("decoding", self.decoding, get_args(Decoding))
        if self.sequence_model == "transformer":
            check_heads(self.hidden_dim, name="hidden_dim")

    @property
    def num_tokens(self) -> int:
        """T, the number of codes of a frame."""
        return self.grid[0] * self.grid[1]

    @property
    def latent_dim(self) -> int:
        """Z, the number of latent dimensions."""
        return self.num_tokens * self.code_dim


class CodePrediction(NamedTuple):
    """Prediction of the next codes, reward and termination.

    The leading axes ``(...)`` are those of the memory's inputs.

    Attributes:
        places: ``(..., T, E) float32``, E features of each of the T grid positions. The codes of
            the next frame are predicted from these features.
        reward: ``(...) float32``, expected reward in the task's units.
        termination: ``(...) float32``, log-odds of termination.
    """

    places: Tensor
    reward: Tensor
    termination: Tensor


class CodeMemory(DiscreteMemory[CodePrediction], TrainableMemory[CodePrediction]):
    """Memory that predicts the VQ-VAE codes of the next frame, the reward and the termination.

    A latent is the concatenation of the vectors of a frame's codes. At each step, the latent and
    the action are the input of a sequence model. The next code at each grid position is predicted
    from the output of the sequence model and from a convolution over the current codes. The
    convolution helps because most objects move only a little in one step.

    The features for a controller are the sequence model's output at the *previous* step. Before the
    first step, the features are zeros.

    Args:
        config: architecture and loss.
        generator: source of the initial weights; a generator with a fixed seed if None.

    Attributes:
        codebook: buffer ``(K, D) float32``, vectors of the VQ-VAE's codes. The vectors are zeros
            until :meth:`set_codebook` is called.

    Example:
        >>> import torch
        >>> from wmrl.memory import CodeMemory, CodeMemoryConfig
        >>> config = CodeMemoryConfig(grid=(2, 2), codebook_size=8, code_dim=3, hidden_dim=16)
        >>> memory = CodeMemory(config)
        >>> memory.set_codebook(torch.eye(8)[:, :3])
        >>> memory.codes_of(memory.latents_of(torch.tensor([[0, 1, 2, 0]])))
        tensor([[0, 1, 2, 0]])
        >>> latent, state = torch.zeros(5, 12), memory.initial_state(5)
        >>> prediction, state = memory.step(latent, torch.zeros(5, 2), state)
        >>> memory.sample(prediction, generator=torch.Generator().manual_seed(0)).latent.shape
        torch.Size([5, 12])
    """

    config: CodeMemoryConfig
    config_class: ClassVar[type] = CodeMemoryConfig
    # Smaller batches and a higher learning rate than the general defaults work better here.
    training_defaults: ClassVar[Mapping[str, Any]] = {"batch_size": 16, "learning_rate": 3e-3}
    codebook: Tensor

    def __init__(
        self, config: CodeMemoryConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        hidden, token = config.hidden_dim, config.token_dim
        with seeded_weights(generator):
            self.sequence_model = make_sequence_model(
                config.sequence_model,
                config.latent_dim + config.action_dim,
                hidden_dim=hidden,
                num_layers=config.num_layers,
                context=config.context,
            )
            self.places = nn.Linear(hidden, config.num_tokens * token)
            height, width = config.kernel_size
            self.around = nn.Conv2d(
                config.history * config.code_dim,
                token,
                config.kernel_size,
                padding=(height // 2, width // 2),
            )
            self.heads = nn.Linear(hidden, 2)  # reward and termination
            self.refine = nn.Sequential(
                *[_ResidualBlock(config.grid, token) for _ in range(config.num_refinements)]
            )
            self.classify = nn.Sequential(
                nn.LayerNorm(token), nn.GELU(), nn.Linear(token, config.codebook_size)
            )
            if config.decoding == "sequential":
                # The additional embedding K is the input before the first code.
                self.embed = nn.Embedding(config.codebook_size + 1, token)
                self.within = nn.GRU(2 * token, token, batch_first=True)
            if config.modulation:
                self.gain = nn.Linear(hidden, token)
        self.register_buffer("codebook", torch.zeros(config.codebook_size, config.code_dim))
        self.register_buffer("start_codes", torch.zeros(0, 1, config.num_tokens, dtype=torch.int16))
        self.register_buffer("start_actions", torch.zeros(0, 0, config.action_dim))

    @property
    def codebook_size(self) -> int:
        """K, the number of codes in the codebook."""
        return self.config.codebook_size

    @property
    def feature_dim(self) -> int:
        """H, the number of features that the memory provides for a controller."""
        return self.config.hidden_dim

    @classmethod
    def fit_config(cls, config: CodeMemoryConfig, vision: Vision) -> CodeMemoryConfig:
        """Returns a copy of a configuration, adapted to the codes of a VQ-VAE.

        The copy has the grid, the codebook size and the code dimension of the VQ-VAE.

        Args:
            config: configuration of the memory.
            vision: vision model on which the memory will be trained.

        Raises:
            ValueError: the vision model is not a VQ-VAE.
        """
        if not isinstance(vision, VQVAE):
            raise ValueError(
                f"vision: expected a VQ-VAE for a memory with discrete latents, got a "
                f"{type(vision).__name__}; train a VQ-VAE with 'wmrl train-vision --kind vqvae', "
                "or train an MDN-RNN on this vision model"
            )
        return replace(
            config,
            grid=vision.config.grid,
            codebook_size=vision.codebook_size,
            code_dim=vision.quantizer.code_dim,
        )

    def bind_vision(self, vision: Vision) -> None:
        """Copies the codebook of a VQ-VAE into this memory."""
        assert isinstance(vision, VQVAE), "vision: expected a VQ-VAE, which fit_config checks"
        self.set_codebook(vision.quantizer.codebook().detach().cpu())

    def set_codebook(self, codebook: Tensor) -> None:
        """Copies the codebook of a VQ-VAE into this memory.

        Args:
            codebook: ``(K, D) float32``, vectors of the codes. K is ``codebook_size`` and D is
                ``code_dim`` in the memory's configuration.

        Raises:
            ValueError: the codebook has another shape.
        """
        check_shape("codebook", codebook, tuple(self.codebook.shape))
        self.codebook.copy_(codebook)

    def codes_of(self, latents: Tensor) -> Tensor:
        """Finds the nearest code of each vector in latents ``(..., Z)``.

        A latent consists of T vectors, so that the result has the shape ``(..., T) int64``.
        """
        vectors = latents.reshape(-1, self.config.code_dim)
        return nearest(vectors, self.codebook).view(*latents.shape[:-1], self.config.num_tokens)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Converts codes ``(..., T)`` to latents ``(..., Z) float32``, with T codes per latent."""
        return self.codebook[codes.long()].flatten(-2)

    def initial_state(self, batch_size: int) -> MemoryState:
        """Returns the state before the first step, as one tuple.

        It consists of features ``(B, H)`` and ``history - 1`` earlier latents ``(B, Z)``, all
        zeros, and of the sequence model's initial state.
        """
        config = self.config
        features = torch.zeros(batch_size, config.hidden_dim, device=self.device)
        past = [
            torch.zeros(batch_size, config.latent_dim, device=self.device)
            for _ in range(config.history - 1)
        ]
        return (features, *past, *self.sequence_model.initial_state(batch_size))

    def features(self, state: MemoryState) -> Tensor:
        """Returns the last output of the sequence model, ``(B, H) float32``."""
        return state[0]

    def forward(
        self,
        latents: Tensor,
        actions: Tensor,
        *,
        first: Tensor | None = None,
        state: MemoryState | None = None,
        dropout: torch.Generator | None = None,
    ) -> tuple[CodePrediction, MemoryState]:
        """Predicts the next latent, reward and termination at each step of a batch of sequences.

        :meth:`wmrl.memory.base.Memory.forward` describes the arguments and the results.
        """
        self.check_sequence(latents, actions)
        fresh = self.initial_state(len(latents))
        state = fresh if state is None else state
        inputs = torch.cat((latents, actions), -1)
        frames = self._frames(latents, self._past(state), first)
        past = [frame[:, -1] for frame in frames[:-1]]
        parts = []
        for start, stop in segments(first, latents.shape[1]):
            if first is not None:
                state = select_states(first[:, start], fresh, state)
            features, inner = self.sequence_model(inputs[:, start:stop], self._inner(state))
            parts.append(features)
            state = (features[:, -1], *past, *inner)
        return self._predict(torch.cat(parts, 1), frames, dropout), state

    def step(
        self,
        latent: Tensor,
        action: Tensor,
        state: MemoryState,
        *,
        dropout: torch.Generator | None = None,
    ) -> tuple[CodePrediction, MemoryState]:
        """Predicts the next latent, reward and termination from the current latent and action.

        :meth:`wmrl.memory.base.Memory.step` describes the arguments and the results.
        """
        features, inner = self.sequence_model.step(
            torch.cat((latent, action), -1), self._inner(state)
        )
        frames = (latent, *self._past(state))
        return self._predict(features, frames, dropout), (features, *frames[:-1], *inner)

    def sample(
        self,
        prediction: CodePrediction,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Transition:
        """Draws the next latent and termination; the reward is the predicted mean."""
        codes = self.sample_codes(prediction.places, temperature=temperature, generator=generator)
        ended = draw_endings(prediction.termination, generator=generator)
        return Transition(self.latents_of(codes), prediction.reward, ended)

    def sample_codes(
        self, places: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws the codes of B frames at the T grid positions, ``(B, T) int64``.

        Args:
            places: ``(B, T, E)``, features of the positions, as in :class:`CodePrediction`.
            temperature: divisor of the logits, above 0.
            generator: source of all randomness; PyTorch's global generator if None.
        """
        if self.config.decoding == "parallel":
            logits = self.classify(self.refine(places))
            return draw_codes(logits, temperature=temperature, generator=generator)
        return self._draw_sequentially(self.refine(places), temperature, generator)

    def log_likelihood(self, prediction: CodePrediction, latents: Tensor) -> Tensor:
        """Returns log-probabilities ``(..., T)`` in nats of the T codes of latents ``(..., Z)``."""
        return self._log_likelihood(prediction.places, latents)

    def training_error(
        self, prediction: CodePrediction, batch: SequenceBatch, generator: torch.Generator
    ) -> Tensor:
        """Returns the mean negative log-likelihood ``()`` in nats per code.

        The mean is estimated from a random sample of the batch's frames. The sample contains the
        fraction ``config.loss_share`` of the frames.
        """
        mask = batch.mask.flatten()
        count = math.ceil(self.config.loss_share * len(mask))
        chosen = torch.randperm(len(mask), generator=generator, device=mask.device)[:count]
        places = prediction.places.flatten(0, 1)[chosen]
        log_likelihood = self._log_likelihood(places, batch.latents[:, 1:].flatten(0, 1)[chosen])
        return masked_mean(-log_likelihood.mean(-1), mask[chosen])

    def _log_likelihood(self, places: Tensor, latents: Tensor) -> Tensor:
        codes = self.codes_of(latents)
        refined = self.refine(places.flatten(0, -3))
        if self.config.decoding == "parallel":
            logits = self.classify(refined)
        else:
            logits = self._teacher_forced(refined, codes.flatten(0, -2))
        return -F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(
            codes
        )

    def _past(self, state: MemoryState) -> MemoryState:
        """Returns the ``history - 1`` earlier latents of a state, the newest first."""
        return state[1 : self.config.history]

    def _inner(self, state: MemoryState) -> MemoryState:
        """Returns the sequence model's part of a state."""
        return state[self.config.history :]

    def _frames(
        self, latents: Tensor, past: MemoryState, first: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Returns the latents of each step, of the step before it, and so on.

        Args:
            latents: ``(B, T, Z)``, latents of T steps.
            past: ``history - 1`` latents ``(B, Z)`` before these steps, the newest first.
            first: ``(B, T) bool``, True where an episode starts, or None. Latents before the start
                are replaced by zeros.

        Returns:
            ``history`` tensors ``(B, T, Z)``.
        """
        frames = [latents]
        for latent in past:
            before = torch.cat((latent[:, None], frames[-1][:, :-1]), 1)
            frames.append(before if first is None else before.masked_fill(first[..., None], 0.0))
        return tuple(frames)

    def _predict(
        self, h: Tensor, frames: Sequence[Tensor], dropout: torch.Generator | None
    ) -> CodePrediction:
        """Predicts the next step.

        Args:
            h: ``(..., H)``, outputs of the sequence model.
            frames: latents ``(..., Z)`` of the current frame and of those before it, the newest
                first.
            dropout: source of dropout masks, or None.
        """
        config = self.config
        reward, termination = self.heads(h).unbind(-1)  # before dropout
        if dropout is not None:
            h = drop(h, rate=config.dropout, generator=dropout)
        leading = h.shape[:-1]
        maps = [frame.reshape(-1, *config.grid, config.code_dim) for frame in frames]
        codes = torch.cat(maps, -1).permute(0, 3, 1, 2)
        around = self.around(codes).permute(0, 2, 3, 1).reshape(*leading, config.num_tokens, -1)
        if config.modulation:
            around = around * (1 + self.gain(h)[..., None, :])
        places = self.places(h).view(*leading, config.num_tokens, config.token_dim) + around
        return CodePrediction(places, reward * (1.0 / config.reward_factor), termination)

    def _teacher_forced(self, places: Tensor, codes: Tensor) -> Tensor:
        """Returns the logits ``(B, T, K)`` of the K codes at T positions, given the true codes.

        The logits at a position depend on the true codes at all previous positions, and on the
        features of all previous positions and of the position itself.
        """
        places, codes = self._in_order(places), self._in_order(codes)
        before = F.pad(codes[:, :-1], (1, 0), value=self.config.codebook_size)
        hidden, _ = self.within(torch.cat((places, self.embed(before)), -1))
        logits: Tensor = self.classify(hidden + places)
        return self._in_rows(logits)

    def _draw_sequentially(
        self, places: Tensor, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        """Draws codes ``(B, T) int64`` one after another, each given the codes before it."""
        before = torch.full((len(places),), self.config.codebook_size, device=places.device)
        hidden, codes = None, []
        for place in self._in_order(places).unbind(1):
            inputs = torch.cat((place, self.embed(before)), -1)[:, None]
            out, hidden = self.within(inputs, hidden)
            logits = self.classify(out[:, 0] + place)
            before = draw_codes(logits, temperature=temperature, generator=generator)
            codes.append(before)
        return self._in_rows(torch.stack(codes, 1))

    def _in_order(self, values: Tensor) -> Tensor:
        """Reorders values ``(B, T, ...)`` of grid positions from row by row to decoding order."""
        height, width = self.config.grid
        return values if width <= height else _transposed(values, height, width)

    def _in_rows(self, values: Tensor) -> Tensor:
        """Reorders values ``(B, T, ...)`` from decoding order; the inverse of :meth:`_in_order`."""
        height, width = self.config.grid
        return values if width <= height else _transposed(values, width, height)


def _transposed(values: Tensor, rows: int, columns: int) -> Tensor:
    """Reorders values ``(B, T, ...)`` of a grid from row by row to column by column."""
    grid = values.reshape(len(values), rows, columns, *values.shape[2:])
    return grid.transpose(1, 2).flatten(1, 2)


class _ResidualBlock(nn.Module):
    """Residual block x + f(x), where f applies a layer norm, a GELU and a 3×3 convolution."""

    def __init__(self, grid: tuple[int, int], token_dim: int) -> None:
        super().__init__()
        self._grid = grid
        self.norm = nn.LayerNorm(token_dim)
        self.mix = nn.Conv2d(token_dim, token_dim, 3, 1, 1)

    def forward(self, places: Tensor) -> Tensor:
        """Maps features ``(B, T, E)`` of grid positions to updated features ``(B, T, E)``."""
        count, tokens, dim = places.shape
        image = F.gelu(self.norm(places)).view(count, *self._grid, dim).permute(0, 3, 1, 2)
        mixed: Tensor = self.mix(image).permute(0, 2, 3, 1).reshape(count, tokens, dim)
        return places + mixed
