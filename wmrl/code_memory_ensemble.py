"""Several memories in symbols that dream as one."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from wmrl.code_memory import CodeMemory, CodeMemoryConfig, CodeStarts
from wmrl.memory import Memory, Transition
from wmrl.memory_ensemble import EnsemblePrediction, MemoryEnsemble, MemoryEnsembleConfig
from wmrl.sampling import draw_endings


@dataclass(frozen=True, kw_only=True)
class CodeMemoryEnsembleConfig(MemoryEnsembleConfig):
    """As :class:`~wmrl.memory_ensemble.MemoryEnsembleConfig`, of memories in symbols.

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
    """M memories in symbols; see :class:`~wmrl.memory_ensemble.MemoryEnsemble`."""

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
