"""Several memories in symbols that dream as one."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from wmrl.code_memory import CodeMemory, CodeMemoryConfig, CodeStarts
from wmrl.memory import Memory, Transition
from wmrl.memory_ensemble import EnsemblePrediction, MemoryEnsemble, MemoryEnsembleConfig


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

    def codes_of(self, latents: Tensor) -> Tensor:
        """Nearest codes ``(..., T) int64`` of latents ``(..., Z)``."""
        return self._first().codes_of(latents)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Latents ``(..., Z) float32`` of codes ``(..., T)``."""
        return self._first().latents_of(codes)

    def sample(
        self,
        prediction: EnsemblePrediction,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Transition:
        """Draws the next codes of each row from a member chosen at random."""
        device = prediction.reward.device
        rows = torch.arange(len(prediction.reward), device=device)
        member = torch.randint(self.config.members, rows.shape, generator=generator, device=device)
        drawn = [
            own.sample(each, temperature=temperature, generator=generator).latent
            for own, each in zip(self._members(), prediction.members, strict=True)
        ]
        odds = torch.sigmoid(prediction.termination)
        ended = torch.rand(odds.shape, generator=generator, device=device) < odds
        return Transition(torch.stack(drawn)[member, rows], prediction.reward, ended)

    def _take_starts(self, member: Memory[Any]) -> None:
        assert isinstance(member, CodeMemory), "of() has checked it"
        self.register_buffer("start_codes", member.start_codes)
        self.register_buffer("start_actions", member.start_actions)

    def _first(self) -> CodeMemory:
        first: CodeMemory = self._members()[0]  # type: ignore[assignment]  # members are of a class
        return first
