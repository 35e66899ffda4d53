"""Training and evaluation of VQ-VAEs of images, and of priors over their codes.

There are two stages, as in van den Oord et al. 2017 (https://arxiv.org/abs/1711.00937): first a
VQ-VAE is trained on images, then a prior is trained on the codes of the images. All metrics are
computed on held-out images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int
from wmrl.data.images import ImageSet
from wmrl.nn.codebook_metrics import code_counts, effective_rank
from wmrl.priors.baselines import Bigram, Unigram, bits_per_dimension
from wmrl.priors.code_prior import CodePrior, CodePriorConfig
from wmrl.priors.training import PriorTrainingConfig, nats_per_image, train_prior
from wmrl.scripts.reproduce.vqvae.likelihood import DiscretizedLogistic
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.evaluation import vision_report
from wmrl.vision.image_training import decode_codes, encode_images, train_on_images
from wmrl.vision.vqvae import VQVAE, VQVAEConfig


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Configuration of an :class:`Experiment`.

    Attributes:
        codebook_size: number of codes of each codebook.
        code_dim: dimension of the code vectors of learned codebooks.
        epochs: number of epochs of each VQ-VAE; incomplete batches are dropped.
        warmup: for variants with a warm-up, the share of the training steps in the warm-up.
        batch_size: number of images per batch, for the VQ-VAEs and for the prior ``"lstm"``.
        prior_images: maximum number of images whose codes the priors are trained on.
        prior_epochs: number of epochs of each trained prior, except the prior ``"lstm"``.
        lstm_epochs: number of epochs of the prior ``"lstm"``, the LSTM of an earlier experiment.
    """

    codebook_size: int = 512
    code_dim: int = 64
    epochs: int = 10
    warmup: float = 0.3
    batch_size: int = 256
    prior_images: int = 5_000
    prior_epochs: int = 20
    lstm_epochs: int = 20

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("codebook_size", "code_dim"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("epochs", "batch_size", "prior_images", "prior_epochs", "lstm_epochs"):
            check_int(name, getattr(self, name), at_least=1)
        check_float("warmup", self.warmup, above=0, below=1)


@dataclass(frozen=True)
class Variant:
    """Variant of the VQ-VAE. The variants differ in how their codebooks are learned.

    Attributes:
        title: name in tables.
        options: keyword arguments of :class:`~wmrl.vision.vqvae.VQVAEConfig`.
        warmup: True to train the VQ-VAE first as an autoencoder without a codebook.
    """

    title: str
    options: Mapping[str, Any] = field(default_factory=dict)
    warmup: bool = False


VARIANTS = {
    "baseline": Variant(
        "as it was: codebook by gradients, ReLU output, uniform start",
        {"quantizer": "gradient", "relu_output": True},
    ),
    "ema": Variant("moving averages, k-means start, expiry", {"quantizer": "ema"}),
    "ema-warmup": Variant(
        "the same after a warm-up as an autoencoder", {"quantizer": "ema"}, warmup=True
    ),
    "fsq": Variant("finite scalar quantization, 8 × 8 × 8", {"quantizer": "fsq"}),
}
"""Variants of the VQ-VAE to compare, by name. The first is that of an earlier experiment."""

BASELINE, OURS = "baseline", "ema-warmup"
"""Names of the two variants whose codes are used to train priors."""


class Experiment:
    """Models of the experiment for one image set and one seed.

    Each model is trained in its own folder when it is first needed, and read from there later.

    Args:
        images: training images.
        held_out: images to evaluate on.
        path: folder of the training runs. Finished runs are not repeated.
        config: configuration of the experiment.
        seed: root seed.
        device: device to train on.
        progress: True to show progress bars.
    """

    def __init__(
        self,
        images: ImageSet,
        held_out: ImageSet,
        path: Path,
        config: ExperimentConfig,
        *,
        seed: int,
        device: str = "auto",
        progress: bool = True,
    ) -> None:
        self.images, self.held_out, self.path, self.config = images, held_out, path, config
        self.seed = seed
        self._options: dict[str, Any] = {"device": device, "progress": progress}

    def vision(self, name: str) -> VQVAE:
        """Returns the VQ-VAE of a variant; trains it first if it is missing.

        Args:
            name: name of the variant, a key of :data:`VARIANTS`.
        """
        config, variant = self.config, VARIANTS[name]
        height, width, channels = self.images.images.shape[1:]
        steps = config.epochs * (len(self.images) // config.batch_size)
        model = VQVAEConfig(
            frame_size=(height, width),
            channels=channels,
            base_channels=32,
            num_downsamplings=2,
            codebook_size=config.codebook_size,
            code_dim=config.code_dim,
            warmup_steps=round(config.warmup * steps) if variant.warmup else 0,
        )
        training = TrainingConfig(
            steps=steps,
            batch_size=config.batch_size,
            final_learning_rate=1e-3,  # constant, as in the earlier experiment
            log_every=10,
            checkpoint_every=100,
            seed=self.seed,
        )
        return train_on_images(
            self.images,
            self.held_out,
            self.path / name,
            config=replace(model, **variant.options),
            training=training,
            **self._options,
        )

    def vision_metrics(self, name: str) -> dict[str, float]:
        """Computes metrics of a variant's VQ-VAE on held-out images.

        Args:
            name: name of the variant, a key of :data:`VARIANTS`.

        Returns:
            The metrics of :func:`~wmrl.vision.evaluation.vision_report`, and ``used_rank``, the
            effective rank of the codes that occur in held-out images.
        """
        vision = self.vision(name)
        metrics = vision_report(vision, self.held_out.images)
        used = code_counts(encode_images(vision, self.held_out.images), vision.codebook_size) > 0
        codebook = vision.quantizer.codebook().detach().cpu()
        return {**metrics, "used_rank": effective_rank(codebook[used])}

    def prior_metrics(self, name: str) -> dict[str, dict[str, float]]:
        """Evaluates the priors p(z) over a variant's codes on held-out images.

        Args:
            name: name of the variant, a key of :data:`VARIANTS`.

        Returns:
            A dictionary of metrics for each prior, keyed by the prior's name:

            - ``nats``: mean of −log p(z) over the images, where z are the codes of an image x.
            - ``bits_per_dimension``: mean of −log p(x|z) − log p(z), in bits per pixel value. The
              likelihood p(x|z) is a
              :class:`~wmrl.scripts.reproduce.vqvae.likelihood.DiscretizedLogistic`.
        """
        vision = self.vision(name)
        count = min(self.config.prior_images, len(self.images))
        train_codes = encode_images(vision, self.images.images[:count])
        held_out_codes = encode_images(vision, self.held_out.images)
        pixels = self._pixel_nats(vision, train_codes, held_out_codes)
        numbers = self.held_out.images[0].size
        return {
            prior: {
                "nats": float(nats.mean()),
                "bits_per_dimension": bits_per_dimension(float((nats + pixels).mean()), numbers),
            }
            for prior, nats in self._prior_nats(name, train_codes, held_out_codes).items()
        }

    def prior(self, name: str, prior: str, train_codes: Tensor) -> CodePrior:
        """Returns a prior over a variant's codes; trains it first if it is missing.

        Args:
            name: name of the variant, a key of :data:`VARIANTS`.
            prior: name of the prior, a key of :data:`PRIORS`.
            train_codes: codes of the first N training images, ``(N, T) int64``.
        """
        config, labels = self.config, torch.from_numpy(self.images.labels[: len(train_codes)])
        model, training = prior_recipe(
            prior,
            config,
            images=len(train_codes),
            num_tokens=train_codes.shape[1],
            num_classes=int(labels.max()) + 1,
        )
        return train_prior(
            train_codes,
            self.path / f"{name}-{prior}",
            config=model,
            training=replace(training, seed=self.seed),
            labels=labels if model.num_classes else None,
            **self._options,
        )

    def _prior_nats(
        self, name: str, train_codes: Tensor, held_out_codes: Tensor
    ) -> dict[str, Tensor]:
        """Computes −log p(z) of the codes z of held-out images, for each prior.

        Returns:
            Values of −log p(z) for N held-out images, ``(N,)`` in nats, keyed by the prior's name.
        """
        codebook_size = self.config.codebook_size
        before, held_out_before = (
            F.pad(part[:, :-1], (1, 0), value=codebook_size)
            for part in (train_codes, held_out_codes)
        )
        # Pairs of codes are pooled over positions, because a single position has too few.
        bigram = Bigram(before, train_codes, codebook_size, pooled=True)
        nats = {
            "unigram": -Unigram(train_codes, codebook_size).log_likelihood(held_out_codes).sum(1),
            "bigram": -bigram.log_likelihood(held_out_before, held_out_codes).sum(1),
        }
        labels = torch.from_numpy(self.held_out.labels)
        for prior in PRIORS:
            trained = self.prior(name, prior, train_codes)
            nats[prior] = nats_per_image(
                trained, held_out_codes, labels if trained.config.num_classes else None
            ).double()
        return nats

    def _pixel_nats(self, vision: VQVAE, train_codes: Tensor, held_out_codes: Tensor) -> Tensor:
        """Computes −log p(x|z) of each held-out image x with codes z, ``(N,)`` in nats."""
        images, held_out = (torch.from_numpy(part.images) for part in (self.images, self.held_out))
        likelihood = DiscretizedLogistic(
            images[: len(train_codes)], decode_codes(vision, train_codes)
        )
        parts = zip(torch.split(held_out, 500), torch.split(held_out_codes, 500), strict=True)
        return torch.cat(
            [-likelihood.log_likelihood(x, decode_codes(vision, z)) for x, z in parts]
        ).double()


PRIORS = {
    "lstm": "LSTM as it was: one-hot codes, two layers of 256",
    "lstm-mended": "LSTM with positions, trained as the Transformers",
    "transformer": "Transformer",
    "transformer-classes": "class-conditional Transformer",
}
"""Titles of the trained priors in tables, by name."""


def prior_recipe(
    prior: str, config: ExperimentConfig, *, images: int, num_tokens: int, num_classes: int
) -> tuple[CodePriorConfig, PriorTrainingConfig]:
    """Returns the configurations of a prior's model and training.

    Args:
        prior: name of the prior, a key of :data:`PRIORS`.
        config: configuration of the experiment.
        images: number of training images.
        num_tokens: T, number of codes per image.
        num_classes: number of image classes, for a class-conditional prior.
    """
    model: dict[str, Any] = {"num_tokens": num_tokens, "codebook_size": config.codebook_size}
    if prior == "lstm":
        batch, epochs, final = config.batch_size, config.lstm_epochs, 1e-3
        model |= {
            "sequence_model": "lstm",
            "hidden_dim": 256,
            "num_layers": 2,
            "dropout": 0.0,
            "one_hot": True,
        }
    else:
        batch, epochs, final = 64, config.prior_epochs, 1e-5
        sequence_model = "lstm" if prior == "lstm-mended" else "transformer"
        model |= {"sequence_model": sequence_model, "hidden_dim": 128, "num_layers": 2}
        model |= {"dropout": 0.2}
        model |= {"num_classes": num_classes if prior == "transformer-classes" else 0}
    batch = min(batch, images)
    training = PriorTrainingConfig(
        steps=epochs * (images // batch),
        batch_size=batch,
        final_learning_rate=final,
        log_every=10,
        checkpoint_every=100,
    )
    return CodePriorConfig(**model), training
