import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from wmrl.data.split import split_episodes
from wmrl.data.store import RolloutStore
from wmrl.nn.losses import gaussian_kl
from wmrl.vision.evaluation import (
    comparison_image,
    pick_frames,
    vision_report,
    vision_warnings,
)
from wmrl.vision.vae import VAE, VAEConfig

MakeRollouts = Callable[..., RolloutStore]


@pytest.fixture
def vision() -> VAE:
    return VAE(VAEConfig(base_channels=4, latent_dim=6)).eval()


def test_frames_are_spread_over_all_episodes(make_rollouts: MakeRollouts) -> None:
    store = make_rollouts((24, 9, 17))  # 25 + 10 + 18 = 53 frames
    episodes = split_episodes([store], held_out=0.0).train
    every = np.concatenate([store.frames(index) for index in store.indices])
    assert np.array_equal(pick_frames(episodes, count=1000), every)
    assert np.array_equal(pick_frames(episodes, count=3), every[[0, 26, 52]])
    with pytest.raises(ValueError, match="episodes: expected at least one"):
        pick_frames([], count=3)


@torch.inference_mode()
def test_metrics_are_those_of_the_formulas(vision: VAE) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (150, 64, 64, 3), dtype=np.uint8)
    report = vision_report(vision, frames)
    pixels = torch.from_numpy(frames)
    mean, std = vision.posterior(pixels)
    error = ((vision.decode(mean).double() - pixels.double()) / 255).square().sum((1, 2, 3))
    assert report["squared_error"] == pytest.approx(error.mean().item(), rel=1e-5)
    kl = gaussian_kl(mean, 2 * std.log()).sum(1).mean().item()
    assert report["kl"] == pytest.approx(kl, rel=1e-4)
    assert (report["frames"], report["latent_dim"]) == (150, 6)
    values = frames.astype(np.float64) / 255
    mean_image = np.square(values - values.mean(0)).sum((1, 2, 3)).mean()
    assert report["mean_image_error"] == pytest.approx(mean_image, rel=1e-9)


def test_stacks_are_spread_over_all_episodes(make_rollouts: MakeRollouts) -> None:
    store = make_rollouts((24, 9, 17), frame_stack=4)
    episodes = split_episodes([store], held_out=0.0).train
    every = np.concatenate([store.stacks(index) for index in store.indices])
    assert every.shape == (53, 64, 64, 12)
    assert np.array_equal(pick_frames(episodes, count=1000), every)
    assert np.array_equal(pick_frames(episodes, count=7), every[[0, 8, 17, 26, 34, 43, 52]])


@torch.inference_mode()
def test_reconstructions_are_those_of_the_newest_frames() -> None:
    vision = VAE(VAEConfig(base_channels=4, latent_dim=6, frame_stack=2)).eval()
    stacks = np.random.default_rng(0).integers(0, 256, (130, 64, 64, 6), dtype=np.uint8)
    newest = stacks[..., 3:]
    report = vision_report(vision, stacks)
    decoded = vision.decode_numpy(vision.encode_numpy(stacks))
    error = np.square((decoded.astype(np.float64) - newest) / 255).sum((1, 2, 3)).mean()
    assert report["squared_error"] == pytest.approx(error, rel=1e-5)
    values = newest.astype(np.float64) / 255
    mean_image = np.square(values - values.mean(0)).sum((1, 2, 3)).mean()
    assert report["mean_image_error"] == pytest.approx(mean_image, rel=1e-9)
    image = comparison_image(vision, stacks[:3], scale=1)
    assert np.array_equal(image[:64], np.concatenate(list(newest[:3]), axis=1))
    assert np.array_equal(image[64:], np.concatenate(list(decoded[:3]), axis=1))


def _white_block(count: int) -> np.ndarray:
    """Frames of a white block of 4 × 4 pixels, at random places on black."""
    frames = np.zeros((count, 64, 64, 3), np.uint8)
    for frame, (x, y) in zip(
        frames, np.random.default_rng(0).integers(0, 60, (count, 2)), strict=True
    ):
        frame[y : y + 4, x : x + 4] = 255
    return frames


def test_all_black_frames_have_learned_nothing_of_a_white_block(
    vision: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = _white_block(100)
    monkeypatch.setattr(
        vision, "decode", lambda z: torch.zeros((len(z), 64, 64, 3), dtype=torch.uint8)
    )
    report = vision_report(vision, frames)
    assert report["squared_error"] == pytest.approx(48.0)
    (warning,) = vision_warnings(report)
    assert "better than the mean image, got a squared error of 48" in warning


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"squared_error": 40.0, "mean_image_error": 48.0}, []),
        ({"squared_error": 0.0, "mean_image_error": 0.0}, []),  # all frames are the same
        ({"squared_error": 1.0, "mean_image_error": 48.0, "perplexity": 1.2}, ["collapsed"]),
        ({"squared_error": 1.0, "mean_image_error": 48.0, "perplexity": 90.0}, []),
        ({"squared_error": 50.0, "mean_image_error": 48.0}, ["learned nothing .* --kind vqvae$"]),
        (
            {"squared_error": 50.0, "mean_image_error": 48.0, "perplexity": 90.0},
            ["learned nothing .* record more varied episodes$"],  # it is a VQ-VAE already
        ),
    ],
)
def test_warnings_tell_apart_what_was_learned(metrics: dict[str, float], words: list[str]) -> None:
    found = vision_warnings(metrics)
    assert len(found) == len(words)
    assert all(re.search(word, warning) for word, warning in zip(words, found, strict=True))


def test_a_dimension_that_never_moves_is_not_active(vision: VAE) -> None:
    grays = np.arange(0, 250, 10, dtype=np.uint8)
    frames = np.broadcast_to(grays[:, None, None, None], (25, 64, 64, 3)).copy()
    with torch.no_grad():
        vision.posterior_head.weight[:6] *= 1000
        vision.posterior_head.weight[[1, 4]] = 0.0
    assert vision_report(vision, frames)["active_dimensions"] == 4


def test_the_image_has_originals_above_reconstructions(vision: VAE) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    image = comparison_image(vision, frames, scale=2)
    assert image.shape == (256, 384, 3)
    assert np.array_equal(image[:128:2, 128:256:2], frames[1])
    decoded = vision.decode_numpy(vision.encode_numpy(frames))
    assert np.array_equal(image[129::2, 257::2], decoded[2])
