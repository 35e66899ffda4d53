"""Training a vision from rollout stores."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmrl.core.device import resolve_device
from wmrl.core.seeding import torch_generator
from wmrl.data.frame_sampler import FrameFeed
from wmrl.data.split import DataSplit, split_episodes
from wmrl.data.store import RolloutStore
from wmrl.storage.artifact import load_artifact, load_weights
from wmrl.storage.files import write_picture, write_report
from wmrl.storage.run import Run
from wmrl.training.metrics import log_pictures
from wmrl.training.trainer import Trainer, TrainingConfig
from wmrl.vision.base import Vision
from wmrl.vision.codebook_plot import code_use, draw_codebook
from wmrl.vision.evaluation import comparison_picture, pick_frames, vision_report
from wmrl.vision.vae import VAE, VAEConfig
from wmrl.vision.vqvae import VQVAE, VQVAEConfig

_REPORT_FRAMES = 2000
_PICTURE_FRAMES = 12


def train_vision(
    stores: Sequence[RolloutStore],
    path: str | Path,
    *,
    config: VAEConfig | VQVAEConfig | None = None,
    training: TrainingConfig | None = None,
    init: str | Path | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> Vision:
    """Trains a VAE or a VQ-VAE on the frames of one or several stores.

    The folder ``path`` is a run: killed at any moment, the same call resumes it to the same bits
    (see :class:`~wmrl.training.trainer.TrainingConfig` for the time limit); called again when all
    is done, it opens the result. It ends up with ``artifact/``, ``report.json`` of held-out
    figures, ``reconstructions.png`` of held-out frames above what the vision makes of them, of a
    VQ-VAE ``codebook.png``, and ``metrics.csv``.

    Args:
        stores: rollouts of one task.
        path: folder of the run.
        config: sizes and loss of either; a VAE's defaults if None.
        training: how long and how fast.
        init: artifact (name or path) whose weights, and codebook, to start from instead of random
            ones; there is no warm-up then.
        device: where to train.
        progress: show a progress bar.

    Returns:
        The vision as its artifact holds it.

    Raises:
        ValueError: the stores are empty or of different tasks, their frames do not fit, or are
            fewer than a codebook needs.
        RunError: the folder is in use, or belongs to another run.
        ArtifactError: ``init`` can't be opened, or is of another configuration's shapes.
    """
    path, resolved = Path(path), resolve_device(device)
    config, training = config or VAEConfig(), training or TrainingConfig()
    kind: type[Vision] = VAE if isinstance(config, VAEConfig) else VQVAE
    split = split_episodes(stores, held_out=training.held_out)
    _check_frames(stores[0], config)
    least_steps = 0
    if isinstance(config, VQVAEConfig) and init is None:
        frames = sum(episode.summary.length + 1 for episode in split.train)
        vectors = frames * config.grid[0] * config.grid[1]
        config.check_training(vectors=vectors, steps=training.steps)
        least_steps = config.least_steps
    provenance = {
        "command": "train-vision",
        "task": stores[0].metadata.task,
        "data": [store.content_hash() for store in stores],
        "vision": asdict(config),
        "training": asdict(training),
        "init": None if init is None else load_artifact(init, kind="vision").digest,
    }
    with Run(path, config=provenance) as run:
        if (path / "report.json").exists():
            return kind.from_artifact(load_artifact(path / "artifact")).to(resolved)
        vision = kind(config, generator=torch_generator(training.seed, "vision weights"))
        if init is not None:
            load_weights(vision, load_artifact(init, kind="vision"))
        vision.to(resolved)
        trainer = Trainer(
            vision, run, training, label="vision", progress=progress, least_steps=least_steps
        )
        _train(vision, trainer, split, training, afresh=init is None)
        return _finish(vision, path, split, {**provenance, "steps": trainer.step})


def _train(
    vision: Vision,
    trainer: Trainer,
    split: DataSplit,
    training: TrainingConfig,
    *,
    afresh: bool,
) -> None:
    feed = FrameFeed(split.train, batch_size=training.batch_size, seed=training.seed)

    def frames_of(step: int) -> Tensor:
        return torch.from_numpy(feed.batch(step)).to(vision.device, non_blocking=True)

    def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        frames = frames_of(step)
        start = torch_generator(training.seed, "vision start", step, device=vision.device)
        if afresh:  # what is given has a codebook, which a warm-up would throw away
            vision.prepare(step, lambda: map(frames_of, itertools.count(step)), start)
        noise = torch_generator(training.seed, "vision noise", step, device=vision.device)
        # bfloat16 pays on GPUs; on a CPU with AVX-512 it gained too little to be worth its noise.
        kind = vision.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            return vision.loss(frames, noise)

    try:
        trainer.train(loss_at)
    finally:
        feed.close()


def _finish(vision: Vision, path: Path, split: DataSplit, provenance: Mapping[str, Any]) -> Vision:
    """Saves the artifact, judges what was saved, and writes the report last."""
    vision.eval()
    digest = vision.save(path / "artifact", provenance=provenance)
    judged = split.held_out or split.train
    frames = pick_frames(judged, count=_REPORT_FRAMES)
    figures = vision_report(vision, frames)
    shown = pick_frames(judged, count=_PICTURE_FRAMES)
    pictures = {"reconstructions": comparison_picture(vision, shown)}
    if isinstance(vision, VQVAE):
        pictures["codebook"] = draw_codebook(code_use(vision, frames))
    for name, picture in pictures.items():
        write_picture(path / f"{name}.png", picture)
    log_pictures(path, pictures, step=provenance["steps"])
    write_report(
        path / "report.json",
        {
            "digest": digest,
            "episodes": {"train": len(split.train), "held_out": len(split.held_out)},
            "held_out": figures,
            "steps": provenance["steps"],
        },
    )
    return vision


def _check_frames(store: RolloutStore, config: VAEConfig | VQVAEConfig) -> None:
    channels = 3 if isinstance(config, VAEConfig) else config.channels
    expected, got = (*config.frame_size, channels), store.metadata.frame_shape
    if got != expected:
        raise ValueError(f"stores: expected frames of shape {expected}, got {got} in {store.path}")
