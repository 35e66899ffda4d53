"""Encodings to search with again: learned once, from what a search for elites has ended with."""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmrl.agents.quality_diversity.dde import EncodingConfig, make_encoding
from wmrl.core.seeding import torch_generator
from wmrl.encodings.base import Encoding, load_encoding
from wmrl.encodings.trainer import EncodingTrainer, EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.scripts.reproduce.cached_result import KeptReport

# A latent dimension is in use if its mean varies by so much over vectors (Burda et al. 2015,
# https://arxiv.org/abs/1509.00519).
_ACTIVE = 0.01

TRAINING = EncodingTrainingConfig(epochs=1000, weight_penalty=0.0)
"""Far longer than within a search, and without the penalty that lets an ancestor's noise fade: here
the decoder is to say what the elites are, and no more children come of it."""


def reuse_config(kind: str, size: int) -> EncodingConfig:
    """The encoding of a kind, for vectors of ``size`` numbers.

    The squared error of elites that bend evenly is some hundredths, summed over a vector: against
    Data-Driven Encodings' divergence of weight 0.1 nothing is left of the latents. The weight is
    twice the variance of what counts as noise, and 10⁻⁴ is well below what elites differ by. So is
    a commitment as strong as that of images.

    Raises:
        ValueError: the kind is neither ``"vae"`` nor ``"vqvae"``.
    """
    if kind == "vae":
        return VectorVAEConfig(size=size, latent_size=32, hidden_sizes=(128,), kl_weight=1e-4)
    if kind == "vqvae":
        sizes: dict[str, Any] = {"tokens": 8, "codes": 64, "code_size": 8, "hidden_sizes": (128,)}
        return VectorVQVAEConfig(size=size, commitment=0.01, **sizes)
    raise ValueError(f"kind: expected 'vae' or 'vqvae', got {kind!r}")


def learn_encoding(
    config: EncodingConfig,
    vectors: np.ndarray,
    path: Path,
    *,
    seed: int,
    training: EncodingTrainingConfig = TRAINING,
) -> tuple[Encoding, dict[str, float]]:
    """An encoding of poses, learned once into a folder of its own.

    Args:
        config: the encoding.
        vectors: ``(N, X) float32``, poses of an arm with links of one length; a tenth, drawn by the
            seed, is held out.
        path: the folder; one that was learned there already is read.
        seed: root of all that is random.
        training: how it learns.

    Returns:
        The encoding and figures of it on the poses held out, see :func:`judge_encoding`.

    Raises:
        ValueError: the folder holds an encoding of other settings, or there are too few poses.
    """
    given = torch.from_numpy(np.asarray(vectors, np.float32))
    asked = {
        "config": asdict(config),
        "training": asdict(training),
        "seed": seed,
        "vectors": sha256(given.numpy().tobytes()).hexdigest(),
    }
    report = KeptReport(path / "report.json", asked, what="encoding")
    if report.found is not None:
        return load_encoding(path / "artifact", device="cpu"), report.found["held_out"]
    if len(given) < 20:
        raise ValueError(f"vectors: expected at least 20 to learn from, got {len(given)}")
    order = torch.randperm(len(given), generator=torch_generator(seed, "reuse", "held-out"))
    judged, learned = given[order[: len(given) // 10]], given[order[len(given) // 10 :]]
    weights = torch_generator(seed, "reuse", "encoding-weights")
    trainer = EncodingTrainer(make_encoding(config, generator=weights), training, seed=seed)
    trainer.fit(learned)
    trainer.encoding.save(path / "artifact", provenance=asked)
    figures = judge_encoding(trainer.encoding, judged)
    report.keep({"held_out": figures})
    return trainer.encoding, figures


@torch.no_grad()
def judge_encoding(encoding: Encoding, vectors: Tensor) -> dict[str, float]:
    """How well poses ``(N, X)`` are encoded.

    Returns:
        ``squared_error``, summed over a pose; ``explained``, the share of the poses' variance that
        is not in it; ``moved``, how far the ends of arms of length 1 move, at the median; ``std``
        and ``std_reconstructed`` of the angles, radians, on average; and ``active``, how many of
        the latent dimensions are in use, or what is known of a codebook.
    """
    again = encoding.reconstruct(vectors).clamp(-1.0, 1.0)
    error = float((again - vectors).square().sum(1).mean())
    arm = Arm(joints=encoding.size)
    before, after = arm.evaluate(vectors.numpy()), arm.evaluate(again.numpy())
    figures = {
        "squared_error": error,
        "explained": 1.0 - error / float(vectors.var(0, correction=0).sum()),
        "moved": float(np.median(np.linalg.norm(after.end_points - before.end_points, axis=1))),
        "std": -float(before.fitness.mean()),
        "std_reconstructed": -float(after.fitness.mean()),
    }
    if isinstance(encoding, VectorVQVAE):
        return figures | encoding.figures([vectors])
    assert isinstance(encoding, VectorVAE)
    return figures | {"active": float((encoding.encode(vectors).var(0) > _ACTIVE).sum())}
