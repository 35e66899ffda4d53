"""Training of VQ-VAEs on poses, and metrics of how much their codes align along few directions.

In an earlier experiment, codes learned from elite poses aligned along one or two directions. Two
sets of settings are compared: those of that experiment and those of this project. Each set is used
unchanged and with small changes.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.presets import SearchPreset
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.core.seeding import numpy_generator
from wmrl.encodings.trainer import EncodingTrainingConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.nn.codebook_metrics import alignment, code_counts, effective_rank
from wmrl.scripts.reproduce.dde.experiment import run_search
from wmrl.scripts.reproduce.reuse.encodings import TRAINING, reuse_config, train_encoding

PRESET = SearchPreset(
    problem=ArmProblem(
        arm=Arm(num_joints=20),
        archive=ArchiveConfig(shape="grid", dims=(45, 45), qd_score_offset=-np.pi / 2),
    ),
    evaluations=30_000,
)
"""Search for elites with the arm, grid and budget of the earlier experiment. The objective is −std
of the angles instead of −variance; both rank poses in the same order."""

EARLIER = VectorVQVAEConfig(
    input_dim=20,
    num_tokens=3,
    codebook_size=32,
    code_dim=3,
    quantizer="gradient",
    hidden_dims=(512,) * 6,
    rezero=True,
    warmup_steps=0,
)
"""Configuration of the earlier experiment's VQ-VAE. The encoder and the decoder each have five
ReZero layers of width 512."""

EARLIER_TRAINING = EncodingTrainingConfig(
    epochs=250,
    batch_size=32,
    learning_rate=1e-2,
    decay=0.3,
    decay_every=200,
    weight_penalty=0.0,
)
"""Configuration with which the earlier experiment trained its last model."""

Data = Literal["elites", "random"]
"""Training data: elites of a search, or the same number of random poses."""


@dataclass(frozen=True, kw_only=True)
class CodebookVariant:
    """Settings with which a VQ-VAE is trained for the comparison of codebooks.

    Attributes:
        title: title in tables.
        config: configuration of the VQ-VAE.
        training: configuration of the training.
        data: poses to train on, ``"elites"`` or ``"random"``.
    """

    title: str
    config: VectorVQVAEConfig
    training: EncodingTrainingConfig
    data: Data = "elites"


def _earlier(title: str, *, data: Data = "elites", **changes: Any) -> CodebookVariant:
    config = replace(EARLIER, **changes)
    return CodebookVariant(title=title, config=config, training=EARLIER_TRAINING, data=data)


def _ours(title: str, *, data: Data = "elites", **changes: Any) -> CodebookVariant:
    config = reuse_config("vqvae", EARLIER.input_dim)
    assert isinstance(config, VectorVQVAEConfig)
    config = replace(config, **changes)
    return CodebookVariant(title=title, config=config, training=TRAINING, data=data)


VARIANTS: dict[str, CodebookVariant] = {
    "earlier": _earlier("as earlier"),
    "earlier-dense": _earlier("without ReZero", rezero=False),
    "earlier-warmup": _earlier("with a warm-up", warmup_steps=2000),
    "earlier-ema": _earlier("codes as moving averages, k-means initialization", quantizer="ema"),
    "earlier-fsq": _earlier(
        "finite scalar quantization, 4 · 3 · 3 codes", quantizer="fsq", levels=(4, 3, 3)
    ),
    "earlier-random": _earlier("from random poses", data="random"),
    "ours": _ours("ours"),
    "ours-cold": _ours("without the warm-up", warmup_steps=0),
    "ours-gradient": _ours(
        "without the warm-up, codes by gradients", warmup_steps=0, quantizer="gradient"
    ),
    "ours-random": _ours("from random poses", data="random"),
}
"""Variants by name. Each has the settings of the earlier experiment or of this project, unchanged
or with one or two changes."""


def find_poses(path: Path, *, seed: int, evaluations: int | None = None) -> dict[str, np.ndarray]:
    """Returns elite poses and the same number of random poses.

    The elites are found by MAP-Elites with line mutation.

    Args:
        path: folder of the search. If it contains the finished search, the elites are read from it.
        seed: root seed.
        evaluations: budget of evaluations; the budget of :data:`PRESET` if None.

    Returns:
        A dictionary with ``elites`` and ``random``, each ``(N, 20) float32`` in [−1, 1].
    """
    budget = PRESET.evaluations if evaluations is None else evaluations
    _, elites = run_search(PRESET, "line", path, evaluations=budget, seed=seed)
    drawn = numpy_generator(seed, "codebook", "random-arms")
    random = drawn.uniform(-1.0, 1.0, elites.solutions.shape).astype(np.float32)
    return {"elites": elites.solutions, "random": random}


def train_codebook(
    variant: CodebookVariant, poses: dict[str, np.ndarray], path: Path, *, seed: int
) -> tuple[VectorVQVAE, dict[str, Any]]:
    """Trains a VQ-VAE on poses, or loads the trained VQ-VAE from the folder.

    Args:
        variant: settings of the VQ-VAE.
        poses: result of :func:`find_poses`.
        path: folder of the VQ-VAE. If it contains the trained VQ-VAE, nothing is trained.
        seed: root seed.

    Returns:
        The VQ-VAE and its metrics. The metrics are those of
        :func:`~wmrl.scripts.reproduce.reuse.encodings.evaluate_encoding` on held-out poses, and
        three more. Each of these three is about the codes that occur in the encoded poses.

        - ``used``: number of these codes.
        - ``raw``: result of :func:`spread` for these codes.
        - ``centered``: result of :func:`spread` for these codes after their mean is subtracted.
    """
    vectors = poses[variant.data]
    encoding, metrics = train_encoding(
        variant.config, vectors, path, seed=seed, training=variant.training
    )
    assert isinstance(encoding, VectorVQVAE)
    codes = used_codes(encoding, vectors)
    return encoding, {
        **metrics,
        "used": len(codes),
        "raw": spread(codes),
        "centered": spread(codes - codes.mean(0)),
    }


@torch.no_grad()
def used_codes(encoding: VectorVQVAE, vectors: np.ndarray) -> torch.Tensor:
    """Returns the code vectors that an encoding uses for given vectors.

    The other codes are left out because they are still near their initial values.

    Args:
        encoding: trained VQ-VAE.
        vectors: vectors to encode, ``(N, X) float32``.

    Returns:
        Vectors of the U codes in use, ``(U, D) float32``.
    """
    counts = code_counts(encoding.codes(torch.from_numpy(vectors)), encoding.codebook_size)
    return encoding.quantizer.codebook()[counts > 0]


def spread(codes: torch.Tensor) -> dict[str, float] | None:
    """Computes the effective rank and the alignment of U code vectors, ``(U, D)``.

    Returns:
        A dictionary with the metrics of :func:`~wmrl.nn.codebook_metrics.alignment`, and with
        ``rank``, the result of :func:`~wmrl.nn.codebook_metrics.effective_rank`. None if there are
        fewer than two codes.
    """
    if len(codes) < 2:
        return None
    return {"rank": effective_rank(codes), **alignment(codes)}
