"""Settings that suit a problem: its first fill, and the model that learns its elites."""

from dataclasses import dataclass
from typing import Any, Literal

from wmrl.agents.quality_diversity.dde import EncodingConfig
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAEConfig


@dataclass(frozen=True, kw_only=True)
class EliteTask:
    """What is searched, and with how much.

    Attributes:
        problem: an arm.
        evaluations: the full budget.
        fill: share of the cells that random arms fill at the start.
        latent_size: Z of the VAEs.
    """

    problem: ArmProblem
    evaluations: int = 1_000_000
    fill: float = 0.05
    latent_size: int = 32


def usual_fill(joints: int) -> float:
    """Share of the cells that random arms fill at the start.

    Those of many joints all end near the base: with 1000, 100,000 of them fill less than 0.05.
    """
    return 0.05 if joints <= 500 else 0.002


EncodingKind = Literal["vae", "vqvae", "fsq"]
"""Models that learn what elites have in common."""


def encoding_config(kind: EncodingKind, task: EliteTask) -> EncodingConfig:
    """The configuration of an encoding that suits a task."""
    size = task.problem.size
    if kind == "vqvae":
        sizes: dict[str, Any] = {"tokens": 8, "codes": 64, "code_size": 8, "hidden_sizes": (64,)}
        return VectorVQVAEConfig(size=size, **sizes)
    if kind == "fsq":
        return VectorVQVAEConfig(
            size=size, quantiser="fsq", tokens=4, warmup_steps=0, hidden_sizes=(64,)
        )
    return VectorVAEConfig(size=size, latent_size=task.latent_size)
