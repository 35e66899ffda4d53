"""Settings that suit a problem: its first fill, and the model that learns its elites."""

from dataclasses import dataclass
from typing import Any, Literal

from wmrl.agents.quality_diversity.dde import EncodingConfig
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAEConfig


@dataclass(frozen=True, kw_only=True)
class SearchPreset:
    """What is searched, and with how much.

    Attributes:
        problem: an arm.
        evaluations: the full budget.
        initial_coverage: share of the cells that random arms fill at the start.
        latent_dim: Z of the VAEs.
    """

    problem: ArmProblem
    evaluations: int = 1_000_000
    initial_coverage: float = 0.05
    latent_dim: int = 32


def default_initial_coverage(num_joints: int) -> float:
    """Share of the cells that random arms fill at the start.

    Those of many joints all end near the base: with 1000, 100,000 of them fill less than 0.05.
    """
    return 0.05 if num_joints <= 500 else 0.002


EncodingKind = Literal["vae", "vqvae", "fsq"]
"""Models that learn what elites have in common."""


def encoding_config(kind: EncodingKind, task: SearchPreset) -> EncodingConfig:
    """The configuration of an encoding that suits a task."""
    size = task.problem.solution_dim
    if kind == "vqvae":
        sizes: dict[str, Any] = {"tokens": 8, "codes": 64, "code_dim": 8, "hidden_dims": (64,)}
        return VectorVQVAEConfig(input_dim=size, **sizes)
    if kind == "fsq":
        return VectorVQVAEConfig(
            input_dim=size, quantizer="fsq", num_tokens=4, warmup_steps=0, hidden_dims=(64,)
        )
    return VectorVAEConfig(input_dim=size, latent_dim=task.latent_dim)
