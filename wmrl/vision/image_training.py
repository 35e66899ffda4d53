"""Training of VQ-VAEs on image sets, and conversion between images and codes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmrl.core.device import resolve_device
from wmrl.core.hashing import array_digest
from wmrl.core.seeding import torch_generator
from wmrl.data.array_sampler import ArraySampler
from wmrl.data.images import ImageSet
from wmrl.storage.files import write_json
from wmrl.storage.finished import finished_artifact
from wmrl.storage.run import Run
from wmrl.training.callbacks import Callback, check_callbacks
from wmrl.training.learning_warning import warn_of_learning
from wmrl.training.trainer import TRAINING_LIMITS, Trainer, TrainingConfig
from wmrl.vision.evaluation import vision_report, vision_warnings
from wmrl.vision.vqvae import VQVAE, VQVAEConfig


def train_on_images(
    images: ImageSet,
    held_out: ImageSet,
    path: str | Path,
    *,
    config: VQVAEConfig,
    training: TrainingConfig,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> VQVAE:
    """Trains a VQ-VAE on images.

    The folder ``path`` holds a run (:class:`~wmrl.storage.run.Run`). Calling the function again
    with the same arguments resumes an interrupted run, or loads the result of a finished run. A
    finished run contains ``artifact/``, ``metrics.csv`` and ``report.json``. The report contains
    the metrics of :func:`~wmrl.vision.evaluation.vision_report` on the held-out images.

    Args:
        images: training images.
        held_out: images to evaluate the trained VQ-VAE on.
        path: folder of the run.
        config: configuration of the VQ-VAE; ``frame_size`` and ``channels`` must be those of the
            images, and ``frame_stack`` must be 1.
        training: settings of the training run; its attribute ``held_out`` is ignored.
        device: device to train on; ``"auto"`` for a GPU if there is one.
        callbacks: callbacks of the training, see :class:`~wmrl.training.callbacks.Callback`; called
            in addition to those that write ``metrics.csv`` and TensorBoard events.
        progress: True to show a progress bar.

    Returns:
        The trained VQ-VAE, as saved in the artifact.

    Raises:
        ValueError: the images do not have the configured shape, the configuration stacks frames,
            there are fewer training images than a batch contains, or there are too few images or
            steps to learn a codebook.
        RunError: the folder is in use, or holds a run with other arguments.

    Warns:
        LearningWarning: the reconstructions are no better than the mean image, or the codebook
            collapsed. ``report.json`` contains the same text under the key ``"warnings"``.
    """
    path, resolved = Path(path), resolve_device(device)
    callbacks = check_callbacks(callbacks)
    if config.frame_stack != 1:
        raise ValueError(
            f"config: expected frame_stack 1 for images, which have no order, got "
            f"{config.frame_stack}; leave frame_stack out"
        )
    expected = (*config.frame_size, config.channels)
    for name, given in (("images", images), ("held_out", held_out)):
        if given.images.shape[1:] != expected:
            raise ValueError(
                f"{name}: expected shape (N, {', '.join(map(str, expected))}), as in config, got "
                f"{given.images.shape}; change frame_size and channels of config, or the images"
            )
    vectors = len(images) * config.grid[0] * config.grid[1]
    config.check_training(vectors=vectors, steps=training.steps)
    sampler = ArraySampler(images.images, batch_size=training.batch_size, seed=training.seed)
    provenance: dict[str, Any] = {
        "command": "train_on_images",
        "data": [array_digest(images.images), array_digest(held_out.images)],
        "vision": asdict(config),
        "training": asdict(training),
    }
    with Run(path, config=provenance, limits=TRAINING_LIMITS) as run:
        if (done := finished_artifact(path, kind="vision")) is not None:
            return VQVAE.from_artifact(done).to(resolved)
        vision = VQVAE(config, generator=torch_generator(training.seed, "vision weights"))
        vision.to(resolved)

        def save(path: Path, *, provenance: Mapping[str, Any]) -> str | None:
            usable = vision.is_usable(trainer.step)
            return vision.save_copy(path, provenance=provenance) if usable else None

        trainer = Trainer(
            vision,
            run,
            training,
            label=path.name,
            progress=progress,
            least_steps=config.least_steps,
            callbacks=callbacks,
            save=save,
        )

        def draw(step: int) -> Iterator[Tensor]:
            while True:
                yield sampler.batch(step).to(resolved)
                step += 1

        def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
            start = torch_generator(training.seed, "vision start", step, device=resolved)
            vision.prepare(step, lambda: draw(step), start)
            noise = torch_generator(training.seed, "vision noise", step, device=resolved)
            return vision.loss(sampler.batch(step).to(resolved), noise)

        trainer.train(loss_at)
        vision.eval()
        vision.save(path / "artifact", provenance={**provenance, "steps": trainer.step})
        metrics = vision_report(vision, held_out.images)
        write_json(path / "report.json", {**metrics, "warnings": vision_warnings(metrics)})
        warn_of_learning(vision_warnings(metrics))
        return vision


@torch.inference_mode()
def encode_images(vision: VQVAE, images: np.ndarray, *, batch_size: int = 500) -> Tensor:
    """Encodes images to codes, in batches.

    Args:
        vision: VQ-VAE, on any device.
        images: ``(N, H, W, C) uint8``, where ``(H, W, C)`` is the VQ-VAE's ``frame_shape``.
        batch_size: number of images that are encoded in one batch.

    Returns:
        Codes ``(N, T) int64`` in CPU memory, the T codes of each image in raster order.
    """
    parts = [
        vision.codes(torch.from_numpy(images[start : start + batch_size]).to(vision.device)).cpu()
        for start in range(0, len(images), batch_size)
    ]
    return torch.cat(parts)


@torch.inference_mode()
def decode_codes(vision: VQVAE, codes: Tensor, *, batch_size: int = 500) -> Tensor:
    """Decodes codes to images, in batches.

    Args:
        vision: VQ-VAE, on any device.
        codes: ``(N, T) int64``, the T codes of each image in raster order.
        batch_size: number of images that are decoded in one batch.

    Returns:
        Pixel values ``(N, H, W, C) float32`` in CPU memory, as computed by
        :meth:`~wmrl.vision.vqvae.VQVAE.mean`. 0 is black and 1 is full intensity. Values outside
        [0, 1] are not clipped.
    """
    parts = [
        vision.mean(vision.latents_of(part.to(vision.device))).cpu()
        for part in torch.split(codes, batch_size)
    ]
    return torch.cat(parts)
