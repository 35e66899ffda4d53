"""Alignment of the codes of poses, for various training data and settings.

In the experiment that preceded this project, the codes of elites aligned along one or two
directions. The settings of that experiment, also with single changes, are compared with those of
this project.
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
"""Arm, grid and budget of the earlier experiment. The fitness of that experiment, the negative
variance of the angles, ranks poses in the same order."""

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
"""VQ-VAE of the earlier experiment: five ReZero layers of width 512 in encoder and decoder."""

EARLIER_TRAINING = EncodingTrainingConfig(
    epochs=250,
    batch_size=32,
    learning_rate=1e-2,
    decay=0.3,
    decay_every=200,
    weight_penalty=0.0,
)
"""Training settings of the last model of the earlier experiment."""

Data = Literal["elites", "random"]
"""Training data: elites of a search, or the same number of random poses."""


@dataclass(frozen=True, kw_only=True)
class CodebookVariant:
    """Settings of a codebook.

    Attributes:
        title: title in tables.
        config: configuration of the VQ-VAE.
        training: configuration of the training.
        data: training data.
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
"""Codebooks of the earlier experiment and of this project, unchanged or with a single change."""


def find_poses(path: Path, *, seed: int, evaluations: int | None = None) -> dict[str, np.ndarray]:
    """Returns the training data: elites of MAP-Elites with line mutation, and random poses.

    Args:
        path: folder of the search, from which a finished search is read.
        seed: root seed.
        evaluations: budget of evaluations; that of the earlier experiment if None.

    Returns:
        ``elites`` and ``random``, each ``(N, 20) float32`` in [−1, 1].
    """
    budget = PRESET.evaluations if evaluations is None else evaluations
    _, elites = run_search(PRESET, "line", path, evaluations=budget, seed=seed, progress=False)
    drawn = numpy_generator(seed, "codebook", "random-arms")
    random = drawn.uniform(-1.0, 1.0, elites.solutions.shape).astype(np.float32)
    return {"elites": elites.solutions, "random": random}


def train_codebook(
    variant: CodebookVariant, poses: dict[str, np.ndarray], path: Path, *, seed: int
) -> tuple[VectorVQVAE, dict[str, Any]]:
    """Trains a codebook in a folder, or reads it from there.

    Args:
        variant: settings of the codebook.
        poses: result of :func:`find_poses`.
        path: path of the folder.
        seed: root seed.

    Returns:
        The VQ-VAE and its metrics: those of
        :func:`~wmrl.scripts.reproduce.reuse.encodings.evaluate_encoding` on held-out poses;
        ``used``, the number of codes in use; and ``raw`` and ``centered``, the results of
        :func:`spread` for these codes and for these codes minus their mean.
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
    """Returns the vectors of the codes in use, ``(U, D)``.

    The other codes are left out because they are still near their initial values.
    """
    counts = code_counts(encoding.codes(torch.from_numpy(vectors)), encoding.codebook_size)
    return encoding.quantizer.codebook()[counts > 0]


def spread(codes: torch.Tensor) -> dict[str, float] | None:
    """Returns the effective ``rank`` of codes ``(U, D)`` and their alignment.

    These are the results of :func:`~wmrl.nn.codebook_metrics.effective_rank` and
    :func:`~wmrl.nn.codebook_metrics.alignment`. For fewer than two codes, None is returned.
    """
    if len(codes) < 2:
        return None
    return {"rank": effective_rank(codes), **alignment(codes)}
