"""A memory with discrete latents: which codes the next frame will have."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.memory.base import (
    Memory,
    MemoryState,
    P,
    TrainableMemory,
    TrainableMemoryConfig,
    Transition,
)
from wmrl.memory.sequences import SequenceBatch, pick_rows, segments
from wmrl.nn.losses import masked_mean
from wmrl.nn.quantizers import nearest
from wmrl.nn.sampling import draw_codes, draw_endings
from wmrl.nn.sampling import dropout as drop
from wmrl.nn.sequence_models import SequenceModelName, check_heads, make_sequence_model
from wmrl.storage.artifact import Artifact


@dataclass(frozen=True, kw_only=True)
class CodeMemoryConfig(TrainableMemoryConfig):
    """Sizes, loss and origin of a :class:`CodeMemory`.

    Attributes:
        grid: rows and columns of a frame's codes; T of them in all.
        codebook_size: K.
        code_dim: D of a code's vector; a latent is ``Z = T · D`` numbers.
        sequence_model: ``"lstm"`` or ``"transformer"``.
        hidden_dim: H.
        num_layers: of the core.
        context: a Transformer's: how many agent steps it knows of.
        token_dim: E, numbers that stand for a place of the next frame before it is decided.
        num_refinements: residual blocks in which the places of the next frame learn of each other's
            surroundings and of the action's meaning for them.
        loss_share: share of a batch's frames whose codes the loss asks for: their K-fold choice
            costs more than all that leads to it, and frames of one sequence are much alike.
        decoding: ``"parallel"``, all codes of a frame at once and independent given the past, or
            ``"sequential"``, each knowing those before it in raster order.
    """

    grid: tuple[int, int] = (4, 4)
    codebook_size: int = 512
    code_dim: int = 16
    sequence_model: SequenceModelName = "lstm"
    hidden_dim: int = 256
    num_layers: int = 1
    context: int = 32
    token_dim: int = 128
    num_refinements: int = 1
    loss_share: float = 0.25
    decoding: Literal["parallel", "sequential"] = "parallel"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "grid", tuple(self.grid))
        if len(self.grid) != 2 or min(self.grid) < 1:
            raise ValueError(f"grid: expected two numbers of at least 1, got {self.grid}")
        sizes = ("codebook_size", "code_dim", "hidden_dim", "num_layers", "context", "token_dim")
        if self.num_refinements < 0:
            raise ValueError(f"num_refinements: expected at least 0, got {self.num_refinements}")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.loss_share <= 1:
            raise ValueError(f"loss_share: expected in (0, 1], got {self.loss_share}")
        if self.sequence_model == "transformer":
            check_heads(self.hidden_dim, name="hidden_dim")
        for name, known in (
            ("sequence_model", ("lstm", "transformer")),
            ("decoding", ("parallel", "sequential")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {known}, got {getattr(self, name)!r}")

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.grid[0] * self.grid[1]

    @property
    def latent_dim(self) -> int:
        """Z."""
        return self.num_tokens * self.code_dim


class CodePrediction(NamedTuple):
    """What is expected of the next step; leading axes as in the call that made it.

    Attributes:
        places: ``(..., T, E)``, what is known of each place of the next frame.
        reward: ``(...)`` in the task's units.
        termination: ``(...)`` log-odds of the episode's end.
    """

    places: Tensor
    reward: Tensor
    termination: Tensor


class CodeStartStates(Memory[P]):
    """A memory that keeps the sequences in which dreams start as codes.

    Attributes:
        start_codes: buffer ``(S, T', T)``, int16 where K allows it, else int32.
    """

    start_codes: Tensor

    @property
    @abstractmethod
    def codebook_size(self) -> int:
        """K."""

    @abstractmethod
    def codes_of(self, latents: Tensor) -> Tensor:
        """Nearest codes ``(..., T) int64`` of latents ``(..., Z)``."""

    @abstractmethod
    def latents_of(self, codes: Tensor) -> Tensor:
        """Latents ``(..., Z) float32`` of codes ``(..., T)``."""

    @property
    def num_start_states(self) -> int:
        """S, the number of kept starts."""
        return len(self.start_codes)

    def start_latents(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Latents ``(B, T', Z)`` of starts; nothing about them is random."""
        return self.latents_of(self.start_codes[rows])

    def with_start_states_of(self, artifact: Artifact) -> Self:
        """Itself, with the starts that an artifact holds, if it does."""
        codes, actions = (artifact.tensors.get(f"start_{name}") for name in ("codes", "actions"))
        if codes is not None and actions is not None:
            count, steps, tokens = codes.shape
            if actions.shape != (count, steps - 1, self.action_dim) or (
                tokens != self.start_codes.shape[2]
            ):
                raise ValueError(
                    f"starts: codes {tuple(codes.shape)} and actions {tuple(actions.shape)} do not "
                    "fit together, or not this memory"
                )
            if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
                raise ValueError(f"starts: expected codes of 0 to {self.codebook_size - 1}")
            self.register_buffer("start_codes", codes)
            self.register_buffer("start_actions", actions)
        return self

    def _register_start_states(self, mean: Tensor, std: Tensor, actions: Tensor) -> None:
        kind = torch.int16 if self.codebook_size <= 2**15 else torch.int32
        self.register_buffer("start_codes", self.codes_of(mean).to(kind))
        self.register_buffer("start_actions", actions)


class CodeMemory(CodeStartStates[CodePrediction], TrainableMemory[CodePrediction]):
    """An autoregressive prior over the codes of a VQ-VAE, with actions, a reward and an ending.

    A core runs over [vectors of the frame's codes, action]. What a place of the next frame will
    be is predicted from the core's features and from the codes around that place now, by a 3×3
    convolution: most of what moves moves little. Latents outside are the codes' vectors, so that
    it fits wherever a memory does; its own predictions and samples are codes.

    The features that a controller sees are the core's output *before* the step, zeros at first.

    Args:
        config: sizes and loss.
        generator: source of the initial weights; a fixed seed's if None.

    Attributes:
        codebook: buffer ``(K, D)``, the vision's codes; see :meth:`set_codebook`.
    """

    config: CodeMemoryConfig
    config_class: ClassVar[type] = CodeMemoryConfig
    codebook: Tensor

    def __init__(
        self, config: CodeMemoryConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        size, token = config.hidden_dim, config.token_dim
        with seeded_weights(generator):
            self.sequence_model = make_sequence_model(
                config.sequence_model,
                config.latent_dim + config.action_dim,
                hidden_dim=size,
                num_layers=config.num_layers,
                context=config.context,
            )
            self.places = nn.Linear(size, config.num_tokens * token)
            self.around = nn.Conv2d(config.code_dim, token, 3, 1, 1)
            self.heads = nn.Linear(size, 2)  # reward and termination
            self.refine = nn.Sequential(
                *[_Mix(config.grid, token) for _ in range(config.num_refinements)]
            )
            self.classify = nn.Sequential(
                nn.LayerNorm(token), nn.GELU(), nn.Linear(token, config.codebook_size)
            )
            if config.decoding == "sequential":
                self.embed = nn.Embedding(
                    config.codebook_size + 1, token
                )  # and what precedes the first
                self.within = nn.GRU(2 * token, token, batch_first=True)
        self.register_buffer("codebook", torch.zeros(config.codebook_size, config.code_dim))
        self.register_buffer("start_codes", torch.zeros(0, 1, config.num_tokens, dtype=torch.int16))
        self.register_buffer("start_actions", torch.zeros(0, 0, config.action_dim))

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.config.codebook_size

    @property
    def feature_dim(self) -> int:
        """H."""
        return self.config.hidden_dim

    def set_codebook(self, codebook: Tensor) -> None:
        """Takes over the vectors ``(K, D)`` of the vision's codes.

        Raises:
            ValueError: they are of another shape.
        """
        if codebook.shape != self.codebook.shape:
            raise ValueError(
                f"codebook: expected shape {tuple(self.codebook.shape)}, got "
                f"{tuple(codebook.shape)}"
            )
        self.codebook.copy_(codebook)

    def codes_of(self, latents: Tensor) -> Tensor:
        """Nearest codes ``(..., T) int64`` of latents ``(..., Z)``."""
        vectors = latents.reshape(-1, self.config.code_dim)
        return nearest(vectors, self.codebook).view(*latents.shape[:-1], self.config.num_tokens)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Latents ``(..., Z) float32`` of codes ``(..., T)``."""
        return self.codebook[codes.long()].flatten(-2)

    def initial_state(self, batch_size: int) -> MemoryState:
        """Features, zeros ``(B, H)``, and the core's first state."""
        features = torch.zeros(batch_size, self.config.hidden_dim, device=self.device)
        return (features, *self.sequence_model.initial_state(batch_size))

    def features(self, state: MemoryState) -> Tensor:
        """The core's last output, ``(B, H)``."""
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
        """Runs over a sequence; see :meth:`wmrl.memory.base.Memory.forward`."""
        self.check_sequence(latents, actions)
        fresh = self.initial_state(len(latents))
        state = fresh if state is None else state
        inputs = torch.cat((latents, actions), -1)
        parts = []
        for start, stop in segments(first, latents.shape[1]):
            if first is not None:
                state = pick_rows(first[:, start], fresh, state)
            features, sequence_model = self.sequence_model(inputs[:, start:stop], state[1:])
            parts.append(features)
            state = (features[:, -1], *sequence_model)
        return self._predict(torch.cat(parts, 1), latents, dropout), state

    def step(
        self,
        latent: Tensor,
        action: Tensor,
        state: MemoryState,
        *,
        dropout: torch.Generator | None = None,
    ) -> tuple[CodePrediction, MemoryState]:
        """One step; see :meth:`wmrl.memory.base.Memory.step`."""
        features, sequence_model = self.sequence_model.step(
            torch.cat((latent, action), -1), state[1:]
        )
        return self._predict(features, latent, dropout), (features, *sequence_model)

    def sample(
        self,
        prediction: CodePrediction,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Transition:
        """Draws the next codes and whether the episode ends; the reward is the expected one."""
        codes = self.draw(prediction.places, temperature=temperature, generator=generator)
        ended = draw_endings(prediction.termination, generator=generator)
        return Transition(self.latents_of(codes), prediction.reward, ended)

    def draw(
        self, places: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws codes ``(B, T) int64`` for what is known of their places, ``(B, T, E)``."""
        if self.config.decoding == "parallel":
            logits = self.classify(self.refine(places))
            return draw_codes(logits, temperature=temperature, generator=generator)
        return self._draw_in_order(self.refine(places), temperature, generator)

    def log_likelihood(self, prediction: CodePrediction, latents: Tensor) -> Tensor:
        """Log-probability of the next frames' codes ``(..., T)``, of latents ``(..., Z)``."""
        return self._log_likelihood(prediction.places, latents)

    def training_error(
        self, prediction: CodePrediction, batch: SequenceBatch, generator: torch.Generator
    ) -> Tensor:
        """Negative log-likelihood of a ``loss_share`` of the frames, drawn anew each time."""
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
            logits = self._teach(refined, codes.flatten(0, -2))
        return -F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(
            codes
        )

    def _predict(
        self, h: Tensor, latents: Tensor, dropout: torch.Generator | None
    ) -> CodePrediction:
        config = self.config
        judged = self.heads(h)
        if dropout is not None:
            h = drop(h, rate=config.dropout, generator=dropout)
        leading = h.shape[:-1]
        now = latents.reshape(-1, *config.grid, config.code_dim).permute(0, 3, 1, 2)
        around = self.around(now).permute(0, 2, 3, 1).reshape(*leading, config.num_tokens, -1)
        places = self.places(h).view(*leading, config.num_tokens, config.token_dim) + around
        reward, termination = judged.unbind(-1)
        return CodePrediction(places, reward * (1.0 / config.reward_scale), termination)

    def _teach(self, places: Tensor, codes: Tensor) -> Tensor:
        """Logits ``(B, T, K)`` of each code, given the true ones ``(B, T)`` before it."""
        before = F.pad(codes[:, :-1], (1, 0), value=self.config.codebook_size)
        hidden, _ = self.within(torch.cat((places, self.embed(before)), -1))
        logits: Tensor = self.classify(hidden + places)
        return logits

    def _draw_in_order(
        self, places: Tensor, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        before = torch.full((len(places),), self.config.codebook_size, device=places.device)
        hidden, codes = None, []
        for place in places.unbind(1):
            inputs = torch.cat((place, self.embed(before)), -1)[:, None]
            out, hidden = self.within(inputs, hidden)
            logits = self.classify(out[:, 0] + place)
            before = draw_codes(logits, temperature=temperature, generator=generator)
            codes.append(before)
        return torch.stack(codes, 1)


class _Mix(nn.Module):
    """x + f(x) over places ``(B, T, E)``, f: normalize, GELU, 3×3 convolution over the grid."""

    def __init__(self, grid: tuple[int, int], size: int) -> None:
        super().__init__()
        self._grid = grid
        self.norm = nn.LayerNorm(size)
        self.mix = nn.Conv2d(size, size, 3, 1, 1)

    def forward(self, places: Tensor) -> Tensor:
        count, tokens, size = places.shape
        picture = F.gelu(self.norm(places)).view(count, *self._grid, size).permute(0, 3, 1, 2)
        mixed: Tensor = self.mix(picture).permute(0, 2, 3, 1).reshape(count, tokens, size)
        return places + mixed
