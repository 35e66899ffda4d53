"""Ensembles of memories, which predict a lower reward where their members disagree."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from wmrl.core.config import build_config, check_fields
from wmrl.core.validation import check_float, check_int
from wmrl.memory.base import MEMORIES, Memory, MemoryState, Transition
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.discrete import DiscreteMemory
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.nn.sampling import draw_endings

_MAX_MEMBERS = 100


@dataclass(frozen=True, kw_only=True)
class MemoryEnsembleConfig:
    """Configuration of a :class:`MemoryEnsemble`.

    Attributes:
        num_members: M, the number of members.
        pessimism: penalty for disagreement between the members. The predicted reward is the mean of
            the members' rewards minus ``pessimism`` times the standard deviation of these rewards.
        noise_floor: lower bound on the σ of each predicted Gaussian. With 0, only the bound in the
            members' configuration applies.
        member: configuration that all members share, as a dictionary of the fields of
            ``member_config_class``. Fields that are left out have their default values.
        member_config_class: class of the members' configuration. Subclasses may set another
            class.
    """

    member_config_class: ClassVar[type] = MDNRNNConfig

    num_members: int = 2
    pessimism: float = 1.0
    noise_floor: float = 0.0
    member: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("num_members", self.num_members, at_least=1, at_most=_MAX_MEMBERS)
        check_float("pessimism", self.pessimism, at_least=0)
        check_float("noise_floor", self.noise_floor, at_least=0)
        object.__setattr__(self, "member", asdict(self.member_config))  # with all defaults

    @cached_property
    def member_config(self) -> Any:
        """Configuration that all members share, an instance of ``member_config_class``."""
        return build_config(self.member_config_class, self.member)

    @property
    def latent_dim(self) -> int:
        """Z, the number of latent dimensions."""
        return int(self.member_config.latent_dim)

    @property
    def action_dim(self) -> int:
        """A, the number of dimensions of an encoded action."""
        return int(self.member_config.action_dim)

    @property
    def num_options(self) -> tuple[int, ...]:
        """Number of options of each discrete choice in an action; empty for continuous actions."""
        return tuple(self.member_config.num_options)

    @property
    def task(self) -> str:
        """Name of the task on which the members were trained."""
        return str(self.member_config.task)

    @property
    def frame_skip(self) -> int:
        """Number of frames of the game per agent step."""
        return int(self.member_config.frame_skip)

    @property
    def vision_digest(self) -> str | None:
        """Digest of the vision model on which the members were trained."""
        digest: str | None = self.member_config.vision_digest
        return digest


class EnsemblePrediction(NamedTuple):
    """Predictions of all members for the next step, and their combination.

    Attributes:
        members: prediction of each member.
        reward: ``(...) float32``, mean of the members' rewards minus a multiple of the rewards'
            standard deviation. The multiple is ``pessimism`` in the ensemble's configuration.
        termination: ``(...) float32``, maximum of the members' log-odds of termination.
    """

    members: tuple[Any, ...]
    reward: Tensor
    termination: Tensor


class MemoryEnsemble(Memory[EnsemblePrediction]):
    """Ensemble of M memories that were trained on the same vision model.

    Each next latent is drawn from the prediction of a random member, as in PETS (Chua et al. 2018,
    https://arxiv.org/abs/1805.12114). A controller can therefore hardly exploit the errors of a
    single member. The predicted reward is lower where the members disagree (compare MOPO, Yu et al.
    2020, https://arxiv.org/abs/2005.13239). Members disagree mostly far from their training data.
    The features for a controller are those of the first member.

    The members are MDN-RNNs. For members of another class, derive a subclass that sets
    ``config_class`` and ``member_class``, and register it with
    :func:`~wmrl.memory.base.register_memory`.

    Args:
        config: configuration of the ensemble and of its members.
        generator: source of the members' initial weights; a generator with a fixed seed if None.
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
            type(self).member_class(shared, generator=generator) for _ in range(config.num_members)
        )
        none = torch.zeros(0, 1, config.latent_dim)
        self._register_start_states(none, none.clone(), torch.zeros(0, 0, config.action_dim))

    @classmethod
    def of(
        cls, members: Sequence[Memory[Any]], *, pessimism: float = 1.0, noise_floor: float = 0.0
    ) -> Self:
        """Creates an ensemble from copies of trained memories.

        Args:
            members: memories with the same configuration. The ensemble gets the start states of
                the first member.
            pessimism: penalty for disagreement between the members. The predicted reward is the
                mean of the members' rewards minus ``pessimism`` times the standard deviation of
                these rewards.
            noise_floor: lower bound on the σ of each predicted Gaussian; 0 for no additional bound.

        Raises:
            ValueError: there are no members, a member is not of the class ``member_class``, the
                configurations of the members differ, or an option is out of range.
        """
        if not members:
            raise ValueError("members: expected at least one memory, got none")
        classes = {type(member) for member in members}
        if classes != {cls.member_class}:
            found = sorted(each.__name__ for each in classes)
            raise ValueError(
                f"members: expected memories of class {cls.member_class.__name__}, got {found}"
            )
        configs = [asdict(member.config) for member in members]
        for name, first in configs[0].items():
            found = [config[name] for config in configs]
            if any(value != first for value in found):
                raise ValueError(
                    f"members: expected memories with the same configuration, got {name} {found}; "
                    "train all members with the same options"
                )
        config = cls.config_class(
            num_members=len(members),
            pessimism=pessimism,
            noise_floor=noise_floor,
            member=configs[0],
        )
        ensemble = cls(config).to(members[0].device)
        for own, given in zip(ensemble.members, members, strict=True):
            kept = {k: v for k, v in given.state_dict().items() if not k.startswith("start_")}
            own.load_state_dict(kept, strict=False)  # only the ensemble has start states
        ensemble._copy_start_states(members[0])
        return ensemble.train(members[0].training)

    @property
    def feature_dim(self) -> int:
        """H, the number of features that the memory provides for a controller."""
        return self._members()[0].feature_dim

    def initial_state(self, batch_size: int) -> MemoryState:
        """Returns the initial states of all members, concatenated into one tuple."""
        return tuple(
            part for member in self._members() for part in member.initial_state(batch_size)
        )

    def features(self, state: MemoryState) -> Tensor:
        """Returns the features of the first member, ``(B, H) float32``."""
        return self._members()[0].features(self._split(state)[0])

    def forward(
        self,
        latents: Tensor,
        actions: Tensor,
        *,
        first: Tensor | None = None,
        state: MemoryState | None = None,
        dropout: torch.Generator | None = None,
    ) -> tuple[EnsemblePrediction, MemoryState]:
        """Predicts the next latent, reward and termination at each step of a batch of sequences.

        :meth:`wmrl.memory.base.Memory.forward` describes the arguments and the results.
        """
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
        """Predicts the next latent, reward and termination from the current latent and action.

        :meth:`wmrl.memory.base.Memory.step` describes the arguments and the results.
        """
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
        """Draws the next latents and terminations of a batch of dreams.

        Each latent is drawn from the prediction of a random member. Each termination is drawn with
        the largest of the members' log-odds. The reward is ``prediction.reward``.
        """
        count, members = len(prediction.reward), self.config.num_members
        device = prediction.reward.device
        member = torch.randint(members, (count,), generator=generator, device=device)
        index = torch.arange(count, device=device)
        first, *_ = prediction.members
        merged = {"reward": prediction.reward, "termination": prediction.termination}
        drawn = {
            name: torch.stack([getattr(each, name) for each in prediction.members])[member, index]
            for name in first._fields
            if name not in merged
        }
        chosen = first._replace(**drawn, **merged)
        return self._members()[0].sample(chosen, temperature=temperature, generator=generator)

    def log_likelihood(self, prediction: EnsemblePrediction, latents: Tensor) -> Tensor:
        """Returns the log-likelihood ``(..., 1)`` in nats of latents ``(..., Z)``.

        The likelihood is the mean of the members' likelihoods of the whole latent.
        """
        pairs = zip(self._members(), prediction.members, strict=True)
        each = torch.stack([member.log_likelihood(p, latents).sum(-1) for member, p in pairs])
        return (torch.logsumexp(each, 0) - math.log(len(each))).unsqueeze(-1)

    def _copy_start_states(self, member: Memory[Any]) -> None:
        self.set_start_states(member.start_mean, member.start_std, member.start_actions)

    def _members(self) -> list[Memory[Any]]:
        return list(self.members)  # type: ignore[arg-type]  # ModuleList is not generic

    def _split(self, state: MemoryState) -> list[MemoryState]:
        parts = len(state) // self.config.num_members
        return [state[i : i + parts] for i in range(0, len(state), parts)]

    def _apply_noise_floor(self, prediction: Any) -> Any:
        if self.config.noise_floor == 0:
            return prediction
        floor = math.log(self.config.noise_floor)
        return prediction._replace(log_stds=prediction.log_stds.clamp(min=floor))

    def _merge(self, results: Any) -> tuple[EnsemblePrediction, MemoryState]:
        predictions, states = zip(*results, strict=True)
        rewards = torch.stack([p.reward for p in predictions])
        spread = rewards.std(0, correction=0)
        merged = EnsemblePrediction(
            members=tuple(map(self._apply_noise_floor, predictions)),
            reward=rewards.mean(0) - self.config.pessimism * spread,
            termination=torch.stack([p.termination for p in predictions]).amax(0),
        )
        return merged, tuple(part for state in states for part in state)


@dataclass(frozen=True, kw_only=True)
class CodeMemoryEnsembleConfig(MemoryEnsembleConfig):
    """Configuration of a :class:`CodeMemoryEnsemble`.

    ``noise_floor`` must be 0, because discrete latents are not predicted by Gaussians. For more
    noise in a dream, raise the temperature of the dream.
    """

    member_config_class: ClassVar[type] = CodeMemoryConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_floor:
            raise ValueError(
                f"noise_floor: expected 0 for a memory with discrete latents, got "
                f"{self.noise_floor}; for more noise in a dream, raise the dream's temperature"
            )


class CodeMemoryEnsemble(DiscreteMemory[EnsemblePrediction], MemoryEnsemble):
    """Ensemble of memories with discrete latents; see :class:`MemoryEnsemble`."""

    config_class: ClassVar[type] = CodeMemoryEnsembleConfig
    member_class: ClassVar[type[Memory[Any]]] = CodeMemory

    @property
    def codebook_size(self) -> int:
        """K, the number of codes in the codebook."""
        return self._code_members()[0].codebook_size

    def codes_of(self, latents: Tensor) -> Tensor:
        """Finds the nearest code of each vector in latents ``(..., Z)``.

        A latent consists of T vectors, so that the result has the shape ``(..., T) int64``.
        """
        return self._code_members()[0].codes_of(latents)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Converts codes ``(..., T)`` to latents ``(..., Z) float32``, with T codes per latent."""
        return self._code_members()[0].latents_of(codes)

    def sample(
        self,
        prediction: EnsemblePrediction,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Transition:
        """Draws the next latent and termination of each dream.

        The dreams are randomly divided among the members. Each member draws the codes for its
        dreams. All members draw the same number of dreams. If the dreams cannot be divided evenly,
        the last dream is drawn several times. Tensor shapes are therefore not random, and the CPU
        need not wait for random numbers from the GPU. The reward is ``prediction.reward``.
        """
        count, members = len(prediction.reward), self.config.num_members
        device = prediction.reward.device
        share = -(-count // members)
        order = torch.randperm(members * share, generator=generator, device=device)
        shares = order.clamp(max=count - 1).view(members, share)
        drawn = torch.cat(
            [
                own.sample_codes(each.places[rows], temperature=temperature, generator=generator)
                for own, each, rows in zip(
                    self._code_members(), prediction.members, shares, strict=True
                )
            ]
        )
        codes = torch.empty_like(drawn).index_copy_(0, order, drawn)[:count]
        ended = draw_endings(prediction.termination, generator=generator)
        return Transition(self.latents_of(codes), prediction.reward, ended)

    def _copy_start_states(self, member: Memory[Any]) -> None:
        assert isinstance(member, CodeMemory), "member: expected a CodeMemory, as of() checks"
        self.register_buffer("start_codes", member.start_codes)
        self.register_buffer("start_actions", member.start_actions)

    def _code_members(self) -> list[CodeMemory]:
        return self._members()  # type: ignore[return-value]  # all members are of this class


def ensemble_class(member_config: Any) -> type[MemoryEnsemble]:
    """Returns the ensemble class for members with a given configuration.

    Args:
        member_config: configuration of a member.

    Raises:
        ValueError: no ensemble class has members with this configuration.
    """
    member_class = MEMORIES.for_config(member_config)
    for cls in MEMORIES:
        if issubclass(cls, MemoryEnsemble) and cls.member_class is member_class:
            return cls
    name = member_class.__name__
    raise ValueError(
        f"config: expected the configuration of a memory class that has an ensemble class, got the "
        f"configuration of {name}, which has none; derive a class from MemoryEnsemble, set its "
        f"member_class to {name}, and register it with wmrl.memory.register_memory"
    )
