"""The VQ-VAE on images, and its priors: what is compared, and how it is judged.

Van den Oord et al. 2017 (https://arxiv.org/abs/1711.00937) in two stages: a codebook for images,
then a distribution over the codes. Everything is judged on images that nothing learned from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wmrl.data.images import ImageSet
from wmrl.nn.codebook_metrics import code_counts, effective_rank
from wmrl.priors.baselines import Bigram, Unigram, bits_per_dimension
from wmrl.priors.code_prior import CodePrior, CodePriorConfig
from wmrl.priors.training import PriorTrainingConfig, nats_per_image, train_prior
from wmrl.scripts.reproduce.vqvae.likelihood import DiscretisedLogistic
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.evaluation import vision_report
from wmrl.vision.image_training import decode_codes, encode_images, train_on_images
from wmrl.vision.vqvae import VQVAE, VQVAEConfig


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """How much of everything.

    Attributes:
        codes: K, of each codebook.
        code_size: D, of a learned codebook.
        epochs: passes over the images, of each vision; the last batch of each is dropped.
        warmup: share of the steps without a codebook, where there is a warm-up.
        batch_size: images in a batch of a vision.
        prior_images: images whose codes the priors learn from, at most.
        prior_epochs: passes over them.
        lstm_epochs: passes of the earlier experiment's LSTM.
    """

    codes: int = 512
    code_size: int = 64
    epochs: int = 10
    warmup: float = 0.3
    batch_size: int = 256
    prior_images: int = 5_000
    prior_epochs: int = 20
    lstm_epochs: int = 20

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "prior_images", "prior_epochs", "lstm_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.warmup < 1:
            raise ValueError(f"warmup: expected in (0, 1), got {self.warmup}")


@dataclass(frozen=True)
class Variant:
    """One way to make a codebook.

    Attributes:
        title: its name in tables.
        options: of its :class:`~wmrl.vision.vqvae.VQVAEConfig`.
        warmup: whether it begins as an autoencoder.
    """

    title: str
    options: Mapping[str, Any] = field(default_factory=dict)
    warmup: bool = False


VARIANTS = {
    "baseline": Variant(
        "as it was: codebook by gradients, ReLU output, uniform start",
        {"quantiser": "gradient", "relu_output": True},
    ),
    "ema": Variant("moving averages, k-means start, expiry", {"quantiser": "ema"}),
    "ema-warmup": Variant(
        "the same after a warm-up as an autoencoder", {"quantiser": "ema"}, warmup=True
    ),
    "fsq": Variant("finite scalar quantisation, 8 × 8 × 8", {"quantiser": "fsq"}),
}
"""Codebooks that are compared, the earlier experiment's first."""

BASELINE, OURS = "baseline", "ema-warmup"
"""The two codebooks that priors are learned over."""


class Experiment:
    """All models of one set of images and one seed, each trained once into a folder of its own.

    Args:
        images: to learn from.
        held_out: to judge by.
        path: folder of the runs; what is in it already is not trained again.
        config: how much of everything.
        seed: root of all randomness.
        device: where to train.
        progress: show progress bars.
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
        """The VQ-VAE of a variant, trained."""
        config, variant = self.config, VARIANTS[name]
        height, width, channels = self.images.images.shape[1:]
        steps = config.epochs * (len(self.images) // config.batch_size)
        model = VQVAEConfig(
            frame_size=(height, width),
            channels=channels,
            width=32,
            downsamplings=2,
            codes=config.codes,
            code_size=config.code_size,
            warmup_steps=round(config.warmup * steps) if variant.warmup else 0,
        )
        training = TrainingConfig(
            steps=steps,
            batch_size=config.batch_size,
            final_learning_rate=1e-3,  # as it was: constant
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

    def vision_figures(self, name: str) -> dict[str, float]:
        """Held-out figures of a variant.

        Returns:
            Those of :func:`~wmrl.vision.evaluation.vision_report`, and ``used_rank``, the effective
            rank of the codes that occur in held-out images.
        """
        vision = self.vision(name)
        figures = vision_report(vision, self.held_out.images)
        used = code_counts(encode_images(vision, self.held_out.images), vision.code_count) > 0
        codebook = vision.quantiser.codebook().detach().cpu()
        return {**figures, "used_rank": effective_rank(codebook[used])}

    def prior_figures(self, name: str) -> dict[str, dict[str, float]]:
        """What priors over a variant's codes need for a held-out image.

        Returns:
            By prior: ``nats``, −log p(z), and ``bits_per_dimension``, of −log p(x|z) − log p(z)
            with a :class:`~wmrl.scripts.reproduce.vqvae.likelihood.DiscretisedLogistic`.
        """
        vision = self.vision(name)
        count = min(self.config.prior_images, len(self.images))
        known = encode_images(vision, self.images.images[:count])
        judged = encode_images(vision, self.held_out.images)
        pixels = self._pixel_nats(vision, known, judged)
        numbers = self.held_out.images[0].size
        return {
            prior: {
                "nats": float(nats.mean()),
                "bits_per_dimension": bits_per_dimension(float((nats + pixels).mean()), numbers),
            }
            for prior, nats in self._prior_nats(name, known, judged).items()
        }

    def prior(self, name: str, prior: str, known: Tensor) -> CodePrior:
        """A prior over a variant's codes ``known: (N, T)``, trained: see :data:`PRIORS`."""
        config, labels = self.config, torch.from_numpy(self.images.labels[: len(known)])
        model, training = prior_recipe(
            prior, config, images=len(known), tokens=known.shape[1], classes=int(labels.max()) + 1
        )
        return train_prior(
            known,
            self.path / f"{name}-{prior}",
            config=model,
            training=replace(training, seed=self.seed),
            labels=labels if model.classes else None,
            **self._options,
        )

    def _prior_nats(self, name: str, known: Tensor, judged: Tensor) -> dict[str, Tensor]:
        """Nats ``(N,)`` of each held-out image."""
        codes = self.config.codes
        before, asked = (F.pad(part[:, :-1], (1, 0), value=codes) for part in (known, judged))
        # Pairs are pooled over places: one place alone sees too few.
        bigram = Bigram(before, known, codes, pooled=True)
        nats = {
            "unigram": -Unigram(known, codes).log_likelihood(judged).sum(1),
            "bigram": -bigram.log_likelihood(asked, judged).sum(1),
        }
        labels = torch.from_numpy(self.held_out.labels)
        for prior in PRIORS:
            trained = self.prior(name, prior, known)
            nats[prior] = nats_per_image(
                trained, judged, labels if trained.config.classes else None
            ).double()
        return nats

    def _pixel_nats(self, vision: VQVAE, known: Tensor, judged: Tensor) -> Tensor:
        """−log p(x|z) ``(N,)`` of held-out images in nats."""
        images, held_out = (torch.from_numpy(part.images) for part in (self.images, self.held_out))
        likelihood = DiscretisedLogistic(images[: len(known)], decode_codes(vision, known))
        parts = zip(torch.split(held_out, 500), torch.split(judged, 500), strict=True)
        return torch.cat(
            [-likelihood.log_likelihood(x, decode_codes(vision, z)) for x, z in parts]
        ).double()


PRIORS = {
    "lstm": "LSTM as it was: one-hot codes, two layers of 256",
    "lstm-mended": "LSTM that knows its place, trained as the Transformers",
    "transformer": "Transformer",
    "transformer-classes": "Transformer that is told the class",
}
"""Priors that are trained, and their titles."""


def prior_recipe(
    prior: str, config: ExperimentConfig, *, images: int, tokens: int, classes: int
) -> tuple[CodePriorConfig, PriorTrainingConfig]:
    """Sizes and training of one of :data:`PRIORS`."""
    model: dict[str, Any] = {"tokens": tokens, "codes": config.codes}
    if prior == "lstm":
        batch, epochs, final = config.batch_size, config.lstm_epochs, 1e-3
        model |= {"core": "lstm", "size": 256, "layers": 2, "dropout": 0.0, "one_hot": True}
    else:
        batch, epochs, final = 64, config.prior_epochs, 1e-5
        core = "lstm" if prior == "lstm-mended" else "transformer"
        model |= {"core": core, "size": 128, "layers": 2, "dropout": 0.2}
        model |= {"classes": classes if prior == "transformer-classes" else 0}
    batch = min(batch, images)
    training = PriorTrainingConfig(
        steps=epochs * (images // batch),
        batch_size=batch,
        final_learning_rate=final,
        log_every=10,
        checkpoint_every=100,
    )
    return CodePriorConfig(**model), training
