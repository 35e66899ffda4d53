"""Training of encodings on poses, such as the elites of a finished search."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wmrl.agents.quality_diversity.dde_config import EncodingConfig, make_encoding
from wmrl.core.hashing import array_digest
from wmrl.core.seeding import torch_generator
from wmrl.encodings.base import Encoding, load_encoding
from wmrl.encodings.trainer import EncodingTrainer, EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.scripts.reproduce.cached_result import CachedResult

# A latent is active if the variance of its mean over vectors exceeds this value (Burda et al. 2015,
# https://arxiv.org/abs/1509.00519).
_ACTIVE = 0.01

TRAINING = EncodingTrainingConfig(epochs=1000, weight_penalty=0.0)
"""Settings for training on the elites of a finished search. They have many more epochs than the
settings for training during a search, and no weight penalty. During a search, the penalty removes
the noise of mutations from emitted solutions. After a search, the decoder should reproduce the
elites as they are."""


def reuse_config(kind: str, input_dim: int) -> EncodingConfig:
    """Returns the configuration of an encoding that is trained on elites and then reused.

    The KL weight of the VAE is 10⁻⁴ instead of the published 0.1. This weight is twice the variance
    of the noise that the VAE assumes. The joint angles of an elite are nearly equal. The squared
    error of a reconstruction, summed over the angles, is therefore only a few hundredths. With the
    published weight, the noise would hide the differences between elites, and no latents would be
    active.

    The commitment weight of the VQ-VAE is lower than for images, because the errors are small.

    Args:
        kind: ``"vae"`` or ``"vqvae"``.
        input_dim: X, dimension of a vector.

    Raises:
        ValueError: the kind is neither ``"vae"`` nor ``"vqvae"``.
    """
    if kind == "vae":
        return VectorVAEConfig(
            input_dim=input_dim, latent_dim=32, hidden_dims=(128,), kl_weight=1e-4
        )
    if kind == "vqvae":
        return VectorVQVAEConfig(
            input_dim=input_dim,
            num_tokens=8,
            codebook_size=64,
            code_dim=8,
            hidden_dims=(128,),
            commitment=0.01,
        )
    raise ValueError(f"kind: expected 'vae' or 'vqvae', got {kind!r}")


def train_encoding(
    config: EncodingConfig,
    vectors: np.ndarray,
    path: Path,
    *,
    seed: int,
    training: EncodingTrainingConfig = TRAINING,
    progress: bool = True,
) -> tuple[Encoding, dict[str, float]]:
    """Trains an encoding of poses, or loads the trained encoding from the folder.

    Args:
        config: configuration of the encoding.
        vectors: N poses of an arm with X links of equal length, ``(N, X) float32``. A random tenth
            of the poses is held out.
        path: folder of the encoding. If it contains the trained encoding, nothing is trained.
        seed: root seed.
        training: configuration of the training.
        progress: True to show a progress bar.

    Returns:
        The encoding, and the metrics of :func:`evaluate_encoding` on the held-out poses.

    Raises:
        ValueError: the folder contains an encoding with other settings, or there are fewer than 20
            poses.
    """
    given = torch.from_numpy(np.asarray(vectors, np.float32))
    key = {
        "config": asdict(config),
        "training": asdict(training),
        "seed": seed,
        "vectors": array_digest(given.numpy()),
    }
    cached = CachedResult(path / "report.json", key, name="encoding")
    if cached.value is not None:
        return load_encoding(path / "artifact", device="cpu"), cached.value["held_out"]
    if len(given) < 20:
        raise ValueError(f"vectors: expected at least 20 poses, got {len(given)}")
    order = torch.randperm(len(given), generator=torch_generator(seed, "reuse", "held-out"))
    held_out, poses = given[order[: len(given) // 10]], given[order[len(given) // 10 :]]
    weights = torch_generator(seed, "reuse", "encoding-weights")
    trainer = EncodingTrainer(make_encoding(config, generator=weights), training, seed=seed)
    trainer.fit(poses, progress=progress)
    trainer.encoding.save(path / "artifact", provenance=key)
    metrics = evaluate_encoding(trainer.encoding, held_out)
    cached.store({"held_out": metrics})
    return trainer.encoding, metrics


@torch.no_grad()
def evaluate_encoding(encoding: Encoding, vectors: Tensor) -> dict[str, float]:
    """Evaluates how well an encoding reconstructs poses.

    Args:
        encoding: encoding to evaluate.
        vectors: poses, ``(N, X) float32``.

    Returns:
        A dictionary of metrics:

        - ``squared_error``: squared error, summed over the angles of a pose and averaged over the
          poses.
        - ``explained``: share of the poses' variance that the reconstructions explain.
        - ``moved``: median distance between the end point of a pose and that of its reconstruction,
          for an arm of length 1.
        - ``std`` and ``std_reconstructed``: mean std of the angles in radians, before and after the
          reconstruction.
        - ``active``: for a VAE, number of active latents. A latent is active if the variance of its
          posterior mean over the poses exceeds 0.01.
        - For a VQ-VAE, also metrics of how it uses the codebook.
    """
    reconstructed = encoding.reconstruct(vectors).clamp(-1.0, 1.0)
    error = float((reconstructed - vectors).square().sum(1).mean())
    arm = Arm(num_joints=encoding.input_dim)
    before, after = arm.evaluate(vectors.numpy()), arm.evaluate(reconstructed.numpy())
    metrics = {
        "squared_error": error,
        "explained": 1.0 - error / float(vectors.var(0, correction=0).sum()),
        "moved": float(np.median(np.linalg.norm(after.end_points - before.end_points, axis=1))),
        "std": -float(before.fitness.mean()),
        "std_reconstructed": -float(after.fitness.mean()),
    }
    if isinstance(encoding, VectorVQVAE):
        return metrics | encoding.metrics([vectors])
    assert isinstance(encoding, VectorVAE)
    return metrics | {"active": float((encoding.encode(vectors).var(0) > _ACTIVE).sum())}
