"""Presets and default settings of searches for elite poses of planar arms."""

from dataclasses import dataclass
from typing import Literal

from wmrl.agents.quality_diversity.dde_config import EncodingConfig
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAEConfig

EncodingKind = Literal["vae", "vqvae", "fsq"]
"""Kinds of encodings that DDE can learn: VAE, VQ-VAE, or finite scalar quantization (FSQ)."""


@dataclass(frozen=True, kw_only=True)
class SearchPreset:
    """Problem, budget and settings of a search for elite poses of a planar arm.

    Attributes:
        problem: problem to solve; it contains the arm and the configuration of the archive.
        evaluations: budget of the search, as a number of evaluated poses.
        initial_coverage: share of the archive's cells to fill with random poses at the start.
        latent_dim: latent dimension Z of a VAE; it has no effect on other encodings.
    """

    problem: ArmProblem
    evaluations: int = 1_000_000
    initial_coverage: float = 0.05
    latent_dim: int = 32

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("evaluations", "latent_dim"):
            check_int(name, getattr(self, name), at_least=1)
        check_float("initial_coverage", self.initial_coverage, above=0, at_most=0.5)


def default_initial_coverage(num_joints: int) -> float:
    """Returns the default share of an archive's cells to fill with random poses at the start.

    The share is lower for arms with more than 500 joints, because their random poses all end near
    the base. With 1000 joints, 100,000 random poses fill less than 5 % of the cells.
    """
    return 0.05 if num_joints <= 500 else 0.002


def encoding_config(kind: EncodingKind, preset: SearchPreset) -> EncodingConfig:
    """Returns the configuration of an encoding for the poses of a preset's arm.

    Args:
        kind: kind of the encoding.
        preset: preset with the arm, whose number of joints is the input dimension of the encoding.
            If ``kind`` is ``"vae"``, the preset also determines the dimension of the latents.
    """
    input_dim = preset.problem.solution_dim
    if kind == "vqvae":
        return VectorVQVAEConfig(
            input_dim=input_dim, num_tokens=8, codebook_size=64, code_dim=8, hidden_dims=(64,)
        )
    if kind == "fsq":
        return VectorVQVAEConfig(
            input_dim=input_dim, quantizer="fsq", num_tokens=4, warmup_steps=0, hidden_dims=(64,)
        )
    return VectorVAEConfig(input_dim=input_dim, latent_dim=preset.latent_dim)
