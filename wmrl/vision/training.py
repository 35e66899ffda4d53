"""Training of vision models on the frames of rollout stores."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmrl.core.device import resolve_device
from wmrl.core.seeding import torch_generator
from wmrl.data.frame_sampler import FrameSampler
from wmrl.data.split import DataSplit, split_episodes
from wmrl.data.store import RolloutStore
from wmrl.storage.artifact import load_artifact
from wmrl.storage.files import write_image, write_json
from wmrl.storage.finished import finished_artifact
from wmrl.storage.restoring import load_weights
from wmrl.storage.run import Run
from wmrl.training.callbacks import Callback, check_callbacks
from wmrl.training.learning_warning import warn_of_learning
from wmrl.training.loggers import log_images
from wmrl.training.trainer import TRAINING_LIMITS, Trainer, TrainingConfig
from wmrl.vision.base import VISIONS, Vision
from wmrl.vision.codebook_plot import code_use, draw_codebook
from wmrl.vision.evaluation import (
    comparison_image,
    pick_frames,
    vision_report,
    vision_warnings,
)
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAE

_REPORT_FRAMES = 2000
_SHOWN_FRAMES = 12


def train_vision(
    stores: Sequence[RolloutStore],
    path: str | Path,
    *,
    config: Any = None,
    training: TrainingConfig | None = None,
    init: str | Path | None = None,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> Vision:
    """Trains a vision model on the frames of one or several stores.

    The folder ``path`` holds a run (:class:`~wmrl.storage.run.Run`). Calling the function again
    with the same arguments resumes an interrupted run, or loads the result of a finished run. If
    ``training`` sets no time limit, the results of a resumed run are bit-identical to those of an
    uninterrupted run. A finished run contains ``artifact/``, ``metrics.csv``, ``report.json`` with
    held-out metrics, and ``reconstructions.png`` with held-out frames and their reconstructions.
    For a VQ-VAE, the run also contains ``codebook.png``.

    Args:
        stores: rollout stores of one task.
        path: folder of the run.
        config: configuration of a VAE, a VQ-VAE or a registered vision model; the defaults of
            the VAE if None. Default values of ``frame_size``, ``channels`` and ``frame_stack`` are
            replaced by the values of the stores; see
            :meth:`~wmrl.vision.base.Vision.fit_config`.
        training: settings of the training run; the defaults if None.
        init: name or path of an artifact whose weights are the initial weights; None for random
            initial weights. A VQ-VAE that starts from an artifact skips its ``warmup_steps``, the
            steps without quantization.
        device: device to train on; ``"auto"`` for a GPU if there is one.
        callbacks: callbacks of the training, see :class:`~wmrl.training.callbacks.Callback`; called
            in addition to those that write ``metrics.csv`` and TensorBoard events.
        progress: True to show a progress bar.

    Returns:
        The trained vision model, as saved in the artifact.

    Raises:
        ValueError: the stores are empty or belong to different tasks, their frames have another
            shape or another ``frame_stack`` than the model, or there are too few frames or steps to
            learn a codebook.
        RunError: the folder is in use, or holds a run with other arguments.
        ArtifactError: ``init`` cannot be loaded, or its weights do not fit the configured model.

    Warns:
        LearningWarning: the reconstructions are no better than the mean image, or the codebook
            collapsed. ``report.json`` contains the same text under the key ``"warnings"``.
    """
    path, resolved = Path(path), resolve_device(device)
    callbacks = check_callbacks(callbacks)
    config, training = config or VAEConfig(), training or TrainingConfig()
    cls = VISIONS.for_config(config)
    split = split_episodes(stores, held_out=training.held_out)
    metadata = stores[0].metadata
    config = cls.fit_config(config, metadata.frame_shape, metadata.frame_stack)
    vision = cls(config, generator=torch_generator(training.seed, "vision weights"))
    vision.check_store(stores[0])
    least_steps = 0
    if init is None:
        frames = sum(episode.summary.length + 1 for episode in split.train)
        least_steps = vision.plan_training(frames=frames, steps=training.steps)
    provenance = {
        "command": "train-vision",
        "task": metadata.task,
        "data": [store.content_hash() for store in stores],
        "vision": asdict(config),
        "training": asdict(training),
        "init": None if init is None else load_artifact(init, kind="vision").digest,
    }
    with Run(path, config=provenance, limits=TRAINING_LIMITS) as run:
        if (done := finished_artifact(path, kind="vision")) is not None:
            return cls.from_artifact(done).to(resolved)
        if init is not None:
            load_weights(vision, load_artifact(init, kind="vision"))
        vision.to(resolved)

        def save(path: Path, *, provenance: Mapping[str, Any]) -> str | None:
            usable = init is not None or vision.is_usable(trainer.step)
            return vision.save_copy(path, provenance=provenance) if usable else None

        trainer = Trainer(
            vision,
            run,
            training,
            label="vision",
            progress=progress,
            least_steps=least_steps,
            callbacks=callbacks,
            save=save,
        )
        # Given initial weights include a codebook, which a warm-up would discard.
        _train(vision, trainer, split, training, warm_up=init is None)
        return _finish(vision, path, split, {**provenance, "steps": trainer.step})


def _train(
    vision: Vision,
    trainer: Trainer,
    split: DataSplit,
    training: TrainingConfig,
    *,
    warm_up: bool,
) -> None:
    sampler = FrameSampler(split.train, batch_size=training.batch_size, seed=training.seed)

    def frames_of(step: int) -> Tensor:
        return torch.from_numpy(sampler.batch(step)).to(vision.device, non_blocking=True)

    def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        frames = frames_of(step)
        start = torch_generator(training.seed, "vision start", step, device=vision.device)
        if warm_up:
            vision.prepare(step, lambda: map(frames_of, itertools.count(step)), start)
        noise = torch_generator(training.seed, "vision noise", step, device=vision.device)
        # bfloat16 pays off on GPUs; on a CPU with AVX-512 it gained too little for its noise.
        device = vision.device.type
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            return vision.loss(frames, noise)

    try:
        trainer.train(loss_at)
    finally:
        sampler.close()


def _finish(vision: Vision, path: Path, split: DataSplit, provenance: Mapping[str, Any]) -> Vision:
    """Saves the trained model as an artifact, evaluates it, and writes images and a report.

    The images show reconstructions and, for a VQ-VAE, the codebook. The report is written last,
    because a run with a report counts as finished.

    Returns:
        The model, in evaluation mode.
    """
    vision.eval()
    digest = vision.save(path / "artifact", provenance=provenance)
    episodes = split.held_out or split.train
    frames = pick_frames(episodes, count=_REPORT_FRAMES)
    metrics = vision_report(vision, frames)
    shown = pick_frames(episodes, count=_SHOWN_FRAMES)
    images = {"reconstructions": comparison_image(vision, shown)}
    if isinstance(vision, VQVAE):
        images["codebook"] = draw_codebook(code_use(vision, frames))
    for name, image in images.items():
        write_image(path / f"{name}.png", image)
    log_images(path, images, step=provenance["steps"])
    write_json(
        path / "report.json",
        {
            "digest": digest,
            "episodes": {"train": len(split.train), "held_out": len(split.held_out)},
            "held_out": metrics,
            "warnings": vision_warnings(metrics),
            "steps": provenance["steps"],
        },
    )
    warn_of_learning(vision_warnings(metrics), stacklevel=4)
    return vision
