"""A memory in symbols: which codes the next frame will have."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.memory.base import (
    LearningMemory,
    LearningMemoryConfig,
    Memory,
    MemoryState,
    P,
    Transition,
)
from wmrl.memory.sequences import SequenceBatch, pick_rows, segments
from wmrl.nn.losses import masked_mean
from wmrl.nn.quantizers import nearest
from wmrl.nn.sampling import draw_codes, draw_endings
from wmrl.nn.sampling import dropout as drop
from wmrl.nn.sequence_models import CoreName, check_heads, make_core
from wmrl.storage.artifact import Artifact


@dataclass(frozen=True, kw_only=True)
class CodeMemoryConfig(LearningMemoryConfig):
    """Sizes, loss and origin of a :class:`CodeMemory`.

    Attributes:
        grid: rows and columns of a frame's codes; T of them in all.
        codes: K.
        code_size: D of a code's vector; a latent is ``Z = T · D`` numbers.
        core: ``"lstm"`` or ``"transformer"``.
        hidden_size: H.
        layers: of the core.
        context: a Transformer's: how many decisions it knows of.
        token_size: E, numbers that stand for a place of the next frame before it is decided.
        refinements: residual blocks in which the places of the next frame learn of each other's
            surroundings and of the action's meaning for them.
        loss_share: share of a batch's frames whose codes the loss asks for: their K-fold choice
            costs more than all that leads to it, and frames of one sequence are much alike.
        decoding: ``"parallel"``, all codes of a frame at once and independent given the past, or
            ``"sequential"``, each knowing those before it in raster order.
    """

    grid: tuple[int, int] = (4, 4)
    codes: int = 512
    code_size: int = 16
    core: CoreName = "lstm"
    hidden_size: int = 256
    layers: int = 1
    context: int = 32
    token_size: int = 128
    refinements: int = 1
    loss_share: float = 0.25
    decoding: Literal["parallel", "sequential"] = "parallel"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "grid", tuple(self.grid))
        if len(self.grid) != 2 or min(self.grid) < 1:
            raise ValueError(f"grid: expected two numbers of at least 1, got {self.grid}")
        sizes = ("codes", "code_size", "hidden_size", "layers", "context", "token_size")
        if self.refinements < 0:
            raise ValueError(f"refinements: expected at least 0, got {self.refinements}")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.loss_share <= 1:
            raise ValueError(f"loss_share: expected in (0, 1], got {self.loss_share}")
        if self.core == "transformer":
            check_heads(self.hidden_size, name="hidden_size")
        for name, known in (
            ("core", ("lstm", "transformer")),
            ("decoding", ("parallel", "sequential")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {known}, got {getattr(self, name)!r}")

    @property
    def tokens(self) -> int:
        """T."""
        return self.grid[0] * self.grid[1]

    @property
    def latent_size(self) -> int:
        """Z."""
        return self.tokens * self.code_size


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


class CodeStarts(Memory[P]):
    """A memory that keeps the sequences in which dreams start as codes.

    Attributes:
        start_codes: buffer ``(S, T', T)``, int16 where K allows it, else int32.
    """

    start_codes: Tensor

    @property
    @abstractmethod
    def code_count(self) -> int:
        """K."""

    @abstractmethod
    def codes_of(self, latents: Tensor) -> Tensor:
        """Nearest codes ``(..., T) int64`` of latents ``(..., Z)``."""

    @abstractmethod
    def latents_of(self, codes: Tensor) -> Tensor:
        """Latents ``(..., Z) float32`` of codes ``(..., T)``."""

    @property
    def start_count(self) -> int:
        """S, the number of kept starts."""
        return len(self.start_codes)

    def start_latents(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Latents ``(B, T', Z)`` of starts; nothing about them is random."""
        return self.latents_of(self.start_codes[rows])

    def with_starts_of(self, artifact: Artifact) -> Self:
        """Itself, with the starts that an artifact holds, if it does."""
        codes, actions = (artifact.tensors.get(f"start_{name}") for name in ("codes", "actions"))
        if codes is not None and actions is not None:
            count, steps, tokens = codes.shape
            if actions.shape != (count, steps - 1, self.action_size) or (
                tokens != self.start_codes.shape[2]
            ):
                raise ValueError(
                    f"starts: codes {tuple(codes.shape)} and actions {tuple(actions.shape)} do not "
                    "fit together, or not this memory"
                )
            if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.code_count:
                raise ValueError(f"starts: expected codes of 0 to {self.code_count - 1}")
            self.register_buffer("start_codes", codes)
            self.register_buffer("start_actions", actions)
        return self

    def _register_starts(self, mean: Tensor, std: Tensor, actions: Tensor) -> None:
        kind = torch.int16 if self.code_count <= 2**15 else torch.int32
        self.register_buffer("start_codes", self.codes_of(mean).to(kind))
        self.register_buffer("start_actions", actions)


class CodeMemory(CodeStarts[CodePrediction], LearningMemory[CodePrediction]):
    """An autoregressive prior over the codes of a VQ-VAE, with actions, a reward and an ending.

    A core runs over [vectors of the frame's codes, action]. What a place of the next frame will
    be is foretold from the core's features and from the codes around that place now, by a 3×3
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
        size, token = config.hidden_size, config.token_size
        with seeded_weights(generator):
            self.core = make_core(
                config.core,
                config.latent_size + config.action_size,
                size=size,
                layers=config.layers,
                context=config.context,
            )
            self.places = nn.Linear(size, config.tokens * token)
            self.around = nn.Conv2d(config.code_size, token, 3, 1, 1)
            self.heads = nn.Linear(size, 2)  # reward and termination
            self.refine = nn.Sequential(
                *[_Mix(config.grid, token) for _ in range(config.refinements)]
            )
            self.classify = nn.Sequential(
                nn.LayerNorm(token), nn.GELU(), nn.Linear(token, config.codes)
            )
            if config.decoding == "sequential":
                self.embed = nn.Embedding(config.codes + 1, token)  # and what precedes the first
                self.within = nn.GRU(2 * token, token, batch_first=True)
        self.register_buffer("codebook", torch.zeros(config.codes, config.code_size))
        self.register_buffer("start_codes", torch.zeros(0, 1, config.tokens, dtype=torch.int16))
        self.register_buffer("start_actions", torch.zeros(0, 0, config.action_size))

    @property
    def code_count(self) -> int:
        """K."""
        return self.config.codes

    @property
    def feature_size(self) -> int:
        """H."""
        return self.config.hidden_size

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
        vectors = latents.reshape(-1, self.config.code_size)
        return nearest(vectors, self.codebook).view(*latents.shape[:-1], self.config.tokens)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Latents ``(..., Z) float32`` of codes ``(..., T)``."""
        return self.codebook[codes.long()].flatten(-2)

    def initial_state(self, batch_size: int) -> MemoryState:
        """Features, zeros ``(B, H)``, and the core's first state."""
        features = torch.zeros(batch_size, self.config.hidden_size, device=self.device)
        return (features, *self.core.initial_state(batch_size))

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
            features, core = self.core(inputs[:, start:stop], state[1:])
            parts.append(features)
            state = (features[:, -1], *core)
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
        features, core = self.core.step(torch.cat((latent, action), -1), state[1:])
        return self._predict(features, latent, dropout), (features, *core)

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
        now = latents.reshape(-1, *config.grid, config.code_size).permute(0, 3, 1, 2)
        around = self.around(now).permute(0, 2, 3, 1).reshape(*leading, config.tokens, -1)
        places = self.places(h).view(*leading, config.tokens, config.token_size) + around
        reward, termination = judged.unbind(-1)
        return CodePrediction(places, reward * (1.0 / config.reward_scale), termination)

    def _teach(self, places: Tensor, codes: Tensor) -> Tensor:
        """Logits ``(B, T, K)`` of each code, given the true ones ``(B, T)`` before it."""
        before = F.pad(codes[:, :-1], (1, 0), value=self.config.codes)
        hidden, _ = self.within(torch.cat((places, self.embed(before)), -1))
        logits: Tensor = self.classify(hidden + places)
        return logits

    def _draw_in_order(
        self, places: Tensor, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        before = torch.full((len(places),), self.config.codes, device=places.device)
        hidden, codes = None, []
        for place in places.unbind(1):
            inputs = torch.cat((place, self.embed(before)), -1)[:, None]
            out, hidden = self.within(inputs, hidden)
            logits = self.classify(out[:, 0] + place)
            before = draw_codes(logits, temperature=temperature, generator=generator)
            codes.append(before)
        return torch.stack(codes, 1)


class _Mix(nn.Module):
    """x + f(x) over places ``(B, T, E)``, f: normalise, GELU, 3×3 convolution over the grid."""

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
