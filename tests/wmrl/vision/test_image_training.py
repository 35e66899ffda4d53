"""Training a VQ-VAE on images, and priors over its codes: runs, resuming, metrics."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wmrl.data.array_sampler import ArraySampler
from wmrl.data.images import ImageSet
from wmrl.priors.code_prior import CodePrior, CodePriorConfig
from wmrl.priors.training import PriorTrainingConfig, nats_per_image, train_prior
from wmrl.storage.artifact import load_artifact
from wmrl.storage.run import RunError
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.image_training import decode_codes, encode_images, train_on_images
from wmrl.vision.vqvae import VQVAE, VQVAEConfig

CONFIG = VQVAEConfig(
    frame_size=(8, 8),
    channels=1,
    base_channels=4,
    residual_channels=4,
    num_downsamplings=2,
    codebook_size=8,
    code_dim=4,
    warmup_steps=4,
)
TRAINING = TrainingConfig(steps=12, batch_size=16, log_every=2, checkpoint_every=4)


def images(count: int, seed: int) -> ImageSet:
    """Squares, whose class is the corner that they lie in."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(4, size=count)
    pixels = generator.integers(0, 40, (count, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += 200
    return ImageSet(pixels, labels)


def train(path: Path, training: TrainingConfig = TRAINING, config: VQVAEConfig = CONFIG) -> VQVAE:
    return train_on_images(
        images(64, 0), images(32, 1), path, config=config, training=training, progress=False
    )


def test_a_run_leaves_an_artifact_and_a_report(tmp_path: Path) -> None:
    vision = train(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["frames"] == 32
    assert {"squared_error", "utilization", "codebook_rank"} <= set(report)
    written = (tmp_path / "report.json").stat().st_mtime_ns
    again = train(tmp_path)
    assert again.digest == vision.digest == load_artifact(tmp_path / "artifact").digest
    assert (tmp_path / "report.json").stat().st_mtime_ns == written
    with pytest.raises(RunError, match=r"training\.steps"):
        train(tmp_path, replace(TRAINING, steps=11))


@pytest.mark.parametrize("killed", [6, 11])  # in the warm-up; after the codebook's start
@pytest.mark.parametrize("quantizer", ["ema", "gradient", "fsq"])
def test_killed_it_resumes_to_the_same_bits(
    quantizer: Any, killed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, quantizer=quantizer, levels=(3, 3), warmup_steps=6)
    whole = train(tmp_path / "whole", config=config)
    loss, calls = VQVAE.loss, [0]

    def dying(self: VQVAE, *given: torch.Tensor):  # type: ignore[no-untyped-def]
        calls[0] += 1
        if calls[0] == killed:
            raise KeyboardInterrupt
        return loss(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(VQVAE, "loss", dying)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", config=config)
    monkeypatch.undo()
    assert train(tmp_path / "killed", config=config).digest == whole.digest


def test_a_warmup_leaves_time_for_the_codebook(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps: expected more than the 4 steps of the warm-up"):
        train(tmp_path / "short", replace(TRAINING, steps=4))
    assert not (tmp_path / "short").exists()
    hurried = replace(TRAINING, max_seconds=1e-6, log_every=2)
    train(tmp_path / "hurried", hurried)
    assert (
        load_artifact(tmp_path / "hurried" / "artifact").provenance["steps"] == 8
    )  # twice the warm-up, whatever the time


def test_it_learns_what_it_sees(tmp_path: Path) -> None:
    vision = train(
        tmp_path,
        replace(TRAINING, steps=300, learning_rate=3e-3, log_every=100, checkpoint_every=300),
    )
    held_out = images(32, 1).images
    codes = encode_images(vision, held_out)
    assert codes.shape == (32, 4)
    decoded = decode_codes(vision, codes)
    assert decoded.shape == held_out.shape
    error = np.square(decoded.numpy() - held_out / 255.0).mean()
    assert error < 0.25 * (held_out / 255.0).var()


def test_every_epoch_shows_each_image_once() -> None:
    numbers = np.arange(10)
    sampler = ArraySampler(numbers, batch_size=3, seed=0)
    assert sampler.steps_per_epoch == 3
    epochs = [
        np.concatenate([sampler.batch(3 * e + i).numpy() for i in range(3)]) for e in range(2)
    ]
    assert all(len(set(epoch.tolist())) == 9 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    assert np.array_equal(ArraySampler(numbers, batch_size=3, seed=0).batch(4), sampler.batch(4))
    with pytest.raises(ValueError, match=r"images: expected at least 11 \(one batch\), got 10"):
        ArraySampler(numbers, batch_size=11, seed=0)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"images: expected shape \(N, 16, 16, 1\), as in config, got \(64, 8"
    ):
        train_on_images(
            images(64, 0),
            images(32, 1),
            tmp_path,
            config=replace(CONFIG, frame_size=(16, 16)),
            training=TRAINING,
        )
    with pytest.raises(
        ValueError, match="codebook_size: expected at most 256, the number of encoder outputs"
    ):
        train_on_images(
            images(64, 0),
            images(32, 1),
            tmp_path,
            config=replace(CONFIG, codebook_size=257),
            training=TRAINING,
        )
    with pytest.raises(ValueError, match=r"config: expected frame_stack 1 for images, .* got 3;"):
        train(tmp_path, config=replace(CONFIG, frame_stack=3))
    with pytest.raises(ValueError, match=r"images: expected at least 100 \(one batch\), got 64"):
        train(tmp_path, replace(TRAINING, batch_size=100))
    assert not any(tmp_path.iterdir())


PRIOR = CodePriorConfig(
    num_tokens=3, codebook_size=4, hidden_dim=16, num_layers=1, dropout=0.1, num_classes=2
)
PRIOR_TRAINING = PriorTrainingConfig(steps=12, batch_size=8, log_every=2, checkpoint_every=4)


def language(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes that count up or down from anywhere, by their class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=generator)
    first = torch.randint(4, (count, 1), generator=generator)
    return (first + (2 * labels[:, None] - 1) * torch.arange(3)) % 4, labels


def learn(path: Path, training: PriorTrainingConfig = PRIOR_TRAINING) -> CodePrior:
    codes, labels = language(64, 0)
    return train_prior(codes, path, config=PRIOR, training=training, labels=labels, progress=False)


def test_a_prior_s_run_is_kept_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learn(tmp_path / "whole").state_dict()
    likelihood, calls = CodePrior.log_likelihood, [0]

    def dying(self: CodePrior, *given: torch.Tensor, **more: torch.Generator) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 7:
            raise KeyboardInterrupt
        return likelihood(self, *given, **more)

    monkeypatch.setattr(CodePrior, "log_likelihood", dying)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "killed")
    monkeypatch.undo()
    resumed, kept = learn(tmp_path / "killed"), learn(tmp_path / "whole")
    for prior in (resumed, kept):
        assert all(torch.equal(value, whole[name]) for name, value in prior.state_dict().items())


def test_a_prior_learns_its_language(tmp_path: Path) -> None:
    prior = learn(
        tmp_path,
        replace(PRIOR_TRAINING, steps=400, learning_rate=5e-3, log_every=100, checkpoint_every=400),
    )
    codes, labels = language(50, 1)
    nats = nats_per_image(prior, codes, labels, batch_size=20)
    assert nats.shape == (50,)
    assert nats.mean() < np.log(4) + 0.15  # two of three codes are certain


def test_codes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    codes, labels = language(64, 0)
    with pytest.raises(ValueError, match=r"codes: expected shape \(B, 3\), got \(64, 2\)"):
        train_prior(codes[:, :2], tmp_path, config=PRIOR, labels=labels)
    with pytest.raises(ValueError, match="expected values from 0 to 3, got values from 1 to 4"):
        train_prior(codes + 1, tmp_path, config=PRIOR, labels=labels)
    with pytest.raises(ValueError, match="labels: expected one of 2 classes for each of 64 images"):
        train_prior(codes, tmp_path, config=PRIOR)
    with pytest.raises(ValueError, match="codes: expected at least one image, got none"):
        nats_per_image(CodePrior(PRIOR), codes[:0], labels[:0])
    with pytest.raises(ValueError, match="codes: expected at least 64 images"):
        train_prior(codes[:10], tmp_path, config=PRIOR, labels=labels[:10])
    assert not any(tmp_path.iterdir())


def test_a_finished_run_can_be_extended(tmp_path: Path) -> None:
    """Also in the middle of a row of metrics, and at a constant learning rate to the same bits."""
    constant = replace(TRAINING, log_every=5, checkpoint_every=10, steps=12)
    constant = replace(constant, final_learning_rate=constant.learning_rate)
    train(tmp_path / "parts", constant)
    parts = train(tmp_path / "parts", replace(constant, steps=19))
    whole = train(tmp_path / "whole", replace(constant, steps=19))
    assert parts.digest == whole.digest
    for name in ("metrics.csv", "report.json", "artifact/SHA256SUMS"):
        files = [tmp_path / run / name for run in ("parts", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes(), name
    train(tmp_path / "decaying", TRAINING)
    longer = replace(TRAINING, steps=TRAINING.steps + 7)
    with pytest.warns(UserWarning, match=r"learning rate decays.*so that the result differs"):
        train(tmp_path / "decaying", longer)
    assert load_artifact(tmp_path / "decaying/artifact").provenance["steps"] == longer.steps


@pytest.mark.parametrize("name", ["report.json", "artifact/config.json", "config.json"])
def test_what_is_damaged_is_written_again(tmp_path: Path, name: str) -> None:
    train(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="written again from"):
        train(tmp_path)
    assert (tmp_path / name).read_bytes() == whole
