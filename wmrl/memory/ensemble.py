"""Several memories that dream as one, and distrust what they do not agree on."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from wmrl.core.config import build_config
from wmrl.memory.base import Memory, MemoryState, Transition
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig, CodeStarts
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig, MixturePrediction
from wmrl.nn.sampling import draw_endings

_MOST_MEMBERS = 100


@dataclass(frozen=True, kw_only=True)
class MemoryEnsembleConfig:
    """Members and caution of a :class:`MemoryEnsemble`.

    Attributes:
        members: M, how many.
        pessimism: standard deviations over members that are taken off the mean reward.
        noise_floor: floor under every Gaussian's σ in the dream; 0 to leave the members' own.
        member: configuration that all members share, fields of
            :class:`~wmrl.memory.mdn_rnn.MDNRNNConfig` (of a subclass, of its members').
    """

    member_config_class: ClassVar[type] = MDNRNNConfig

    members: int = 2
    pessimism: float = 1.0
    noise_floor: float = 0.0
    member: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.members <= _MOST_MEMBERS:
            raise ValueError(f"members: expected 1 to {_MOST_MEMBERS}, got {self.members}")
        for name in ("pessimism", "noise_floor"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        object.__setattr__(self, "member", asdict(self.member_config))  # defaults filled in

    @property
    def member_config(self) -> Any:
        """The configuration that all members share, of :attr:`member_config_class`."""
        return build_config(self.member_config_class, self.member)

    @property
    def latent_size(self) -> int:
        """Z."""
        return int(self.member_config.latent_size)

    @property
    def action_size(self) -> int:
        """A."""
        return int(self.member_config.action_size)

    @property
    def task(self) -> str:
        """Name of the task that the members were trained on."""
        return str(self.member_config.task)

    @property
    def frame_skip(self) -> int:
        """Base frames that one step lasts."""
        return int(self.member_config.frame_skip)

    @property
    def vision_digest(self) -> str | None:
        """Digest of the vision that the members were trained on."""
        digest: str | None = self.member_config.vision_digest
        return digest


class EnsemblePrediction(NamedTuple):
    """What the members expect.

    Attributes:
        members: each member's prediction.
        reward: ``(...)`` mean over members less ``pessimism`` standard deviations.
        termination: ``(...)`` log-odds of the member that fears the end most.
    """

    members: tuple[Any, ...]
    reward: Tensor
    termination: Tensor


class MemoryEnsemble(Memory[EnsemblePrediction]):
    """M memories of one vision: any of them dreams the next latent, all of them judge it.

    A controller that exploits one memory's mistake meets another one at the next step, and loses
    reward where the members disagree, that is where their training data ends (compare PETS, Chua
    et al. 2018, https://arxiv.org/abs/1805.12114, and MOPO, Yu et al. 2020,
    https://arxiv.org/abs/2005.13239). The features are the first member's.

    Args:
        config: members and caution.
        generator: source of the members' initial weights; fixed seeds' if None.
    """

    config: MemoryEnsembleConfig
    config_class: ClassVar[type] = MemoryEnsembleConfig
    member_class: ClassVar[type[Memory[Any]]] = MDNRNN

    def __init__(
        self, config: MemoryEnsembleConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        generator = generator or torch.Generator().manual_seed(0)
        shared = config.member_config
        self.members = nn.ModuleList(
            type(self).member_class(shared, generator=generator) for _ in range(config.members)
        )
        none = torch.zeros(0, 1, config.latent_size)
        self._register_starts(none, none.clone(), torch.zeros(0, 0, config.action_size))

    @classmethod
    def of(
        cls, members: Sequence[Memory[Any]], *, pessimism: float = 1.0, noise_floor: float = 0.0
    ) -> Self:
        """An ensemble of copies of trained memories, with the first one's starts.

        Raises:
            ValueError: there are none, or their configurations differ.
        """
        if not members:
            raise ValueError("members: expected at least one memory, got none")
        kinds = {type(member) for member in members}
        if kinds != {cls.member_class}:
            found = sorted(kind.__name__ for kind in kinds)
            raise ValueError(f"members: expected {cls.member_class.__name__}, got {found}")
        configs = [member.config for member in members]
        if any(config != configs[0] for config in configs):
            raise ValueError(
                f"members: expected memories of one configuration and one vision, got {configs}"
            )
        config = cls.config_class(
            members=len(members),
            pessimism=pessimism,
            noise_floor=noise_floor,
            member=asdict(configs[0]),
        )
        ensemble = cls(config).to(members[0].device)
        for own, given in zip(ensemble.members, members, strict=True):
            kept = {k: v for k, v in given.state_dict().items() if not k.startswith("start_")}
            own.load_state_dict(kept, strict=False)  # all but the starts, which are kept once
        ensemble._take_starts(members[0])
        return ensemble.train(members[0].training)

    @property
    def feature_size(self) -> int:
        """H of one member."""
        return self._members()[0].feature_size

    def initial_state(self, batch_size: int) -> MemoryState:
        """``(h, c)`` of each member in turn, zeros ``(B, H)``."""
        return tuple(
            part for member in self._members() for part in member.initial_state(batch_size)
        )

    def features(self, state: MemoryState) -> Tensor:
        """The first member's h, ``(B, H)``."""
        return state[0]

    def forward(
        self,
        latents: Tensor,
        actions: Tensor,
        *,
        first: Tensor | None = None,
        state: MemoryState | None = None,
        dropout: torch.Generator | None = None,
    ) -> tuple[EnsemblePrediction, MemoryState]:
        """Runs over a sequence; see :meth:`wmrl.memory.base.Memory.forward`."""
        states = self._split(self.initial_state(len(latents)) if state is None else state)
        return self._merge(
            member(latents, actions, first=first, state=own, dropout=dropout)
            for member, own in zip(self._members(), states, strict=True)
        )

    def step(
        self,
        latent: Tensor,
        action: Tensor,
        state: MemoryState,
        *,
        dropout: torch.Generator | None = None,
    ) -> tuple[EnsemblePrediction, MemoryState]:
        """One step; see :meth:`wmrl.memory.base.Memory.step`."""
        return self._merge(
            member.step(latent, action, own, dropout=dropout)
            for member, own in zip(self._members(), self._split(state), strict=True)
        )

    def sample(
        self,
        prediction: EnsemblePrediction,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Transition:
        """Draws the next latent of each row from a member chosen at random."""
        rows = len(prediction.reward)
        device = prediction.reward.device
        member = torch.randint(self.config.members, (rows,), generator=generator, device=device)
        row = torch.arange(rows, device=device)
        logits, means, log_stds = (
            torch.stack(parts)[member, row]
            for parts in list(zip(*prediction.members, strict=True))[:3]
        )
        chosen = MixturePrediction(
            logits, means, log_stds, prediction.reward, prediction.termination
        )
        return self._members()[0].sample(chosen, temperature=temperature, generator=generator)

    def log_likelihood(self, prediction: EnsemblePrediction, latents: Tensor) -> Tensor:
        """Log-density of the next latents, of which any member is the author: ``(..., 1)``."""
        pairs = zip(self._members(), prediction.members, strict=True)
        each = torch.stack([member.log_likelihood(p, latents).sum(-1) for member, p in pairs])
        return (torch.logsumexp(each, 0) - math.log(len(each))).unsqueeze(-1)

    def _take_starts(self, member: Memory[Any]) -> None:
        self.set_starts(member.start_mean, member.start_std, member.start_actions)

    def _members(self) -> list[Memory[Any]]:
        return list(self.members)  # type: ignore[arg-type]  # a ModuleList forgets its type

    def _split(self, state: MemoryState) -> list[MemoryState]:
        size = len(state) // self.config.members
        return [state[i : i + size] for i in range(0, len(state), size)]

    def _soften(self, prediction: Any) -> Any:
        if self.config.noise_floor == 0:
            return prediction
        floor = math.log(self.config.noise_floor)
        return prediction._replace(log_stds=prediction.log_stds.clamp(min=floor))

    def _merge(self, results: Any) -> tuple[EnsemblePrediction, MemoryState]:
        predictions, states = zip(*results, strict=True)
        rewards = torch.stack([p.reward for p in predictions])
        spread = rewards.std(0, correction=0)
        merged = EnsemblePrediction(
            members=tuple(map(self._soften, predictions)),
            reward=rewards.mean(0) - self.config.pessimism * spread,
            termination=torch.stack([p.termination for p in predictions]).amax(0),
        )
        return merged, tuple(part for state in states for part in state)


@dataclass(frozen=True, kw_only=True)
class CodeMemoryEnsembleConfig(MemoryEnsembleConfig):
    """As :class:`~wmrl.memory.ensemble.MemoryEnsembleConfig`, of memories in symbols.

    There are no Gaussians that ``noise_floor`` could widen; the temperature is what does so here.
    """

    member_config_class: ClassVar[type] = CodeMemoryConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_floor:
            raise ValueError(
                f"noise_floor: expected 0 with memories in symbols, got {self.noise_floor}; raise "
                "the dream's temperature instead"
            )


class CodeMemoryEnsemble(CodeStarts[EnsemblePrediction], MemoryEnsemble):
    """M memories in symbols; see :class:`~wmrl.memory.ensemble.MemoryEnsemble`."""

    config_class: ClassVar[type] = CodeMemoryEnsembleConfig
    member_class: ClassVar[type[Memory[Any]]] = CodeMemory

    @property
    def code_count(self) -> int:
        """K."""
        return self._codes()[0].code_count

    def codes_of(self, latents: Tensor) -> Tensor:
        """Nearest codes ``(..., T) int64`` of latents ``(..., Z)``."""
        return self._codes()[0].codes_of(latents)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Latents ``(..., Z) float32`` of codes ``(..., T)``."""
        return self._codes()[0].latents_of(codes)

    def sample(
        self,
        prediction: EnsemblePrediction,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Transition:
        """Draws the next codes of each row from a member chosen at random.

        The rows are dealt out in equal hands, so that each member draws its own rows only, and
        how many they are is known without waiting for the device. What no row fills is a blank.
        """
        count, members = len(prediction.reward), self.config.members
        device = prediction.reward.device
        hand = -(-count // members)
        dealt = torch.randperm(members * hand, generator=generator, device=device)
        hands = dealt.clamp(max=count - 1).view(members, hand)
        drawn = torch.cat(
            [
                own.draw(each.places[rows], temperature=temperature, generator=generator)
                for own, each, rows in zip(self._codes(), prediction.members, hands, strict=True)
            ]
        )
        codes = torch.empty_like(drawn).index_copy_(0, dealt, drawn)[:count]
        ended = draw_endings(prediction.termination, generator=generator)
        return Transition(self.latents_of(codes), prediction.reward, ended)

    def _take_starts(self, member: Memory[Any]) -> None:
        assert isinstance(member, CodeMemory), "of() has checked it"
        self.register_buffer("start_codes", member.start_codes)
        self.register_buffer("start_actions", member.start_actions)

    def _codes(self) -> list[CodeMemory]:
        return self._members()  # type: ignore[return-value]  # members are of this class
