"""Training and evaluation of autoregressive priors over the codes of images."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmrl.core.device import resolve_device
from wmrl.core.hashing import array_digest
from wmrl.core.seeding import torch_generator
from wmrl.data.array_sampler import ArraySampler
from wmrl.priors.code_prior import CodePrior, CodePriorConfig
from wmrl.storage.files import write_json
from wmrl.storage.finished import finished_artifact
from wmrl.storage.run import Run
from wmrl.training.callbacks import Callback, check_callbacks
from wmrl.training.trainer import TRAINING_LIMITS, Trainer, TrainingConfig


@dataclass(frozen=True, kw_only=True)
class PriorTrainingConfig(TrainingConfig):
    """A :class:`~wmrl.training.trainer.TrainingConfig` with defaults for priors."""

    steps: int = 1000
    batch_size: int = 64
    gradient_clip: float | None = 1.0


def train_prior(
    codes: Tensor,
    path: str | Path,
    *,
    config: CodePriorConfig,
    training: PriorTrainingConfig | None = None,
    labels: Tensor | None = None,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> CodePrior:
    """Trains a prior on the codes of images.

    The folder ``path`` holds a run (:class:`~wmrl.storage.run.Run`). Calling the function again
    with the same arguments resumes an interrupted run, or loads the result of a finished run. A
    finished run contains ``artifact/``, ``metrics.csv`` and ``report.json``.

    Args:
        codes: ``(N, T) int64``, codes of N images in raster order.
        path: folder of the run.
        config: configuration of the prior; ``num_tokens`` and ``codebook_size`` must be those of
            the codes.
        training: settings of the training run; the defaults if None.
        labels: ``(N,) int64``, classes of the images; None if the prior has no classes.
        device: device to train on; ``"auto"`` for a GPU if there is one.
        callbacks: callbacks of the training, see :class:`~wmrl.training.callbacks.Callback`; called
            in addition to those that write ``metrics.csv`` and TensorBoard events.
        progress: True to show a progress bar.

    Returns:
        The trained prior, as saved in the artifact.

    Raises:
        ValueError: codes or labels do not fit the configuration, or there are fewer images than
            ``training.batch_size``.
        RunError: the folder is in use, or holds a run with other arguments.
    """
    path, resolved = Path(path), resolve_device(device)
    callbacks = check_callbacks(callbacks)
    training = training or PriorTrainingConfig()
    config.check(codes, labels)
    if len(codes) < training.batch_size:
        raise ValueError(
            f"codes: expected at least {training.batch_size} images (one batch), got {len(codes)}; "
            "give more images or lower batch_size"
        )
    codes, labels = codes.cpu(), None if labels is None else labels.cpu()
    sampler = ArraySampler(codes.numpy(), batch_size=training.batch_size, seed=training.seed)
    provenance: dict[str, Any] = {
        "command": "train_prior",
        "data": [array_digest(part.numpy()) for part in (codes, labels) if part is not None],
        "prior": asdict(config),
        "training": asdict(training),
    }
    with Run(path, config=provenance, limits=TRAINING_LIMITS) as run:
        if (done := finished_artifact(path, kind="prior")) is not None:
            return CodePrior.from_artifact(done).to(resolved)
        prior = CodePrior(config, generator=torch_generator(training.seed, "prior weights"))
        prior.to(resolved).train()
        trainer = Trainer(
            prior,
            run,
            training,
            label=path.name,
            progress=progress,
            callbacks=callbacks,
            save=prior.save,
        )

        def loss_at(step: int) -> tuple[Tensor, dict[str, Tensor]]:
            rows = torch.from_numpy(sampler.rows(step))
            label = None if labels is None else labels[rows].to(resolved)
            generator = torch_generator(training.seed, "prior dropout", step, device=resolved)
            given = codes[rows].to(resolved)
            loss = -prior.log_likelihood(given, label, dropout=generator).sum(1).mean()
            return loss, {}

        trainer.train(loss_at)
        prior.eval()
        digest = prior.save(path / "artifact", provenance={**provenance, "steps": trainer.step})
        write_json(path / "report.json", {"digest": digest, "steps": trainer.step})
        return prior


@torch.inference_mode()
def nats_per_image(
    prior: CodePrior, codes: Tensor, labels: Tensor | None = None, *, batch_size: int = 250
) -> Tensor:
    """Computes the negative log-likelihood of the codes of each image, in nats.

    Args:
        prior: prior to evaluate, on any device.
        codes: ``(N, T) int64``, codes of N images in raster order.
        labels: ``(N,) int64``, classes of the images; None if the prior has no classes.
        batch_size: number of images per batch of the evaluation.

    Returns:
        Negative log-likelihoods ``(N,)`` in nats, in CPU memory.

    Raises:
        ValueError: there are no images.
    """
    if len(codes) == 0:
        raise ValueError("codes: expected at least one image, got none; give images to evaluate")
    device = prior.device
    parts = []
    for start in range(0, len(codes), batch_size):
        rows = slice(start, start + batch_size)
        label = None if labels is None else labels[rows].to(device)
        parts.append(-prior.log_likelihood(codes[rows].to(device), label).sum(1).cpu())
    return torch.cat(parts)
