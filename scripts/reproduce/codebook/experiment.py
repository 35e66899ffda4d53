"""Do a codebook's vectors align? Codebooks of poses, by what they learned from and how.

The experiment that this project goes back to saw the codes of its elites lie along one or two
directions. Here is its configuration, with one thing changed at a time, beside this project's.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.presets import EliteTask
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.core.seeding import numpy_generator
from wmrl.encodings.trainer import EncodingTrainingConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.nn.codebook_metrics import alignment, code_counts, effective_rank
from wmrl.scripts.reproduce.dde.experiment import run_search
from wmrl.scripts.reproduce.reuse.encodings import TRAINING, learn_encoding, reuse_config

TASK = EliteTask(
    problem=ArmProblem(
        arm=Arm(joints=20),
        archive=ArchiveConfig(shape="grid", dims=(45, 45), worst=-np.pi / 2),
    ),
    evaluations=30_000,
)
"""The earlier experiment's arm, grid and budget. Its fitness was minus the angles' variance, which
puts poses in the same order."""

EARLIER = VectorVQVAEConfig(
    size=20,
    tokens=3,
    codes=32,
    code_size=3,
    quantiser="gradient",
    hidden_sizes=(512,) * 6,
    rezero=True,
    warmup_steps=0,
)
"""Its VQ-VAE: five 512-wide ReZero layers each way."""

EARLIER_TRAINING = EncodingTrainingConfig(
    epochs=250,
    batch_size=32,
    learning_rate=1e-2,
    decay=0.3,
    decay_every=200,
    weight_penalty=0.0,
)
"""How its last model learned."""

Data = Literal["elites", "random"]
"""What a codebook learns from: elites of a search, or as many random arms."""


@dataclass(frozen=True, kw_only=True)
class CodebookVariant:
    """A codebook to look at.

    Attributes:
        title: in tables.
        config: the VQ-VAE.
        training: how it learns.
        data: from what.
    """

    title: str
    config: VectorVQVAEConfig
    training: EncodingTrainingConfig
    data: Data = "elites"


def _earlier(title: str, *, data: Data = "elites", **changes: Any) -> CodebookVariant:
    config = replace(EARLIER, **changes)
    return CodebookVariant(title=title, config=config, training=EARLIER_TRAINING, data=data)


def _ours(title: str, *, data: Data = "elites", **changes: Any) -> CodebookVariant:
    config = reuse_config("vqvae", EARLIER.size)
    assert isinstance(config, VectorVQVAEConfig)
    config = replace(config, **changes)
    return CodebookVariant(title=title, config=config, training=TRAINING, data=data)


VARIANTS: dict[str, CodebookVariant] = {
    "earlier": _earlier("as earlier"),
    "earlier-dense": _earlier("without ReZero", rezero=False),
    "earlier-warmup": _earlier("with a warm-up", warmup_steps=2000),
    "earlier-ema": _earlier("codes as moving averages, from k-means", quantiser="ema"),
    "earlier-fsq": _earlier(
        "finite scalar quantisation, 4 · 3 · 3 codes", quantiser="fsq", levels=(4, 3, 3)
    ),
    "earlier-random": _earlier("from random arms", data="random"),
    "ours": _ours("ours"),
    "ours-cold": _ours("without the warm-up", warmup_steps=0),
    "ours-gradient": _ours("without it, codes by gradients", warmup_steps=0, quantiser="gradient"),
    "ours-random": _ours("from random arms", data="random"),
}
"""The earlier experiment's codebook and this project's, each with a few things changed."""


def find_poses(path: Path, *, seed: int, evaluations: int | None = None) -> dict[str, np.ndarray]:
    """What codebooks learn from: ``elites`` and ``random``, each ``(N, 20) float32`` in [−1, 1].

    Elites are those of MAP-Elites with line mutation; there are as many random arms.

    Args:
        path: folder of the search, which is made once.
        seed: root of all that is random.
        evaluations: of the search; the earlier experiment's if None.
    """
    budget = TASK.evaluations if evaluations is None else evaluations
    _, elites = run_search(TASK, "line", path, evaluations=budget, seed=seed, progress=False)
    drawn = numpy_generator(seed, "codebook", "random-arms")
    random = drawn.uniform(-1.0, 1.0, elites.solutions.shape).astype(np.float32)
    return {"elites": elites.solutions, "random": random}


def learn_codebook(
    variant: CodebookVariant, poses: dict[str, np.ndarray], path: Path, *, seed: int
) -> tuple[VectorVQVAE, dict[str, Any]]:
    """A codebook, learned once into a folder of its own, and its figures.

    Args:
        variant: which.
        poses: of :func:`find_poses`.
        path: the folder.
        seed: root of all that is random.

    Returns:
        The VQ-VAE; and what :func:`~wmrl.scripts.reproduce.reuse.encodings.judge_encoding` says of
        poses held out, with ``raw`` and ``centred``: see :func:`spread`.
    """
    vectors = poses[variant.data]
    encoding, figures = learn_encoding(
        variant.config, vectors, path, seed=seed, training=variant.training
    )
    assert isinstance(encoding, VectorVQVAE)
    codes = used_codes(encoding, vectors)
    return encoding, {
        **figures,
        "used": len(codes),
        "raw": spread(codes),
        "centred": spread(codes - codes.mean(0)),
    }


@torch.no_grad()
def used_codes(encoding: VectorVQVAE, vectors: np.ndarray) -> torch.Tensor:
    """The vectors of those codes that occur, ``(U, D)``.

    Codes that nothing is near stay where they were put at the start, and say nothing.
    """
    counts = code_counts(encoding.codes(torch.from_numpy(vectors)), encoding.code_count)
    return encoding.quantiser.codebook()[counts > 0]


def spread(codes: torch.Tensor) -> dict[str, float] | None:
    """Effective ``rank`` of codes ``(U, D)`` and their alignment.

    See :func:`~wmrl.nn.codebook_metrics.effective_rank` and
    :func:`~wmrl.nn.codebook_metrics.alignment`; None of fewer than two codes.
    """
    if len(codes) < 2:
        return None
    return {"rank": effective_rank(codes), **alignment(codes)}
