"""The contract of every vision model; a new one is added to VISIONS."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_models import LinearVision, LinearVisionConfig

from wmrl.storage.artifact import ArtifactError, load_artifact, save_artifact
from wmrl.vision.base import Vision, load_vision
from wmrl.vision.vae import VAE, VAEConfig
from wmrl.vision.vqvae import VQVAE, VQVAEConfig

VISIONS: dict[str, Callable[[], Vision]] = {
    "VAE": lambda: VAE(VAEConfig(base_channels=2, latent_dim=4)),
    "VQVAE, ema": lambda: _quantized("ema"),
    "VQVAE, gradient": lambda: _quantized("gradient"),
    "VQVAE, fsq": lambda: _quantized("fsq"),
}


def _quantized(quantizer: Any) -> VQVAE:
    config = VQVAEConfig(
        base_channels=4,
        residual_channels=2,
        quantizer=quantizer,
        codebook_size=6,
        code_dim=3,
        levels=(3, 4),
    )
    vision = VQVAE(config)
    if quantizer != "fsq":
        generator = torch.Generator().manual_seed(0)
        vectors = 0.1 * torch.randn(50, 3, generator=generator)
        vision.quantizer.init_codebook(vectors, generator=generator)
    return vision


@pytest.fixture(params=VISIONS)
def vision(request: pytest.FixtureRequest) -> Vision:
    return VISIONS[request.param]().eval()


@pytest.fixture
def frames(vision: Vision) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (3, *vision.frame_shape)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@torch.inference_mode()
def test_shapes_and_dtypes(vision: Vision, frames: torch.Tensor) -> None:
    latents = vision.encode(frames)
    assert latents.shape == (3, vision.latent_dim)
    assert vision.latent_space.contains(latents[0].numpy())
    mean, std = vision.posterior(frames)
    assert mean.shape == std.shape == latents.shape
    assert bool((std >= 0).all())
    decoded = vision.decode(latents)
    assert decoded.shape == frames.shape
    assert decoded.dtype == torch.uint8


@torch.inference_mode()
def test_encoding_is_without_noise_and_by_row(vision: Vision, frames: torch.Tensor) -> None:
    latents = vision.encode(frames)
    assert torch.equal(latents, vision.encode(frames))
    rows = torch.cat([vision.encode(frame[None]) for frame in frames])
    torch.testing.assert_close(latents, rows, rtol=1e-4, atol=1e-5)


def test_numpy_in_and_out(vision: Vision, frames: torch.Tensor) -> None:
    latents = vision.encode_numpy(frames.numpy())
    assert isinstance(latents, np.ndarray)
    assert vision.decode_numpy(latents).shape == tuple(frames.shape)


def test_saved_and_loaded(vision: Vision, frames: torch.Tensor, tmp_path: Path) -> None:
    digest = vision.save(tmp_path / "vision", provenance={"seed": 0}, card="# Vision")
    loaded = load_vision(tmp_path / "vision", device="cpu")
    assert loaded.digest == vision.digest == digest
    assert loaded.config == vision.config
    # Also the saved object uses the written weights, which are float16.
    with torch.inference_mode():
        assert torch.equal(loaded.encode(frames), vision.encode(frames))
    assert loaded.save(tmp_path / "again") == digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: frames[:, :5], r"frames: expected shape \(B, 64, 64, 3\), got"),
        (lambda frames: frames[0], r"frames: expected shape \(B, 64, 64, 3\), got"),
        (lambda frames: frames.float(), "frames: expected dtype uint8, got torch.float32"),
    ],
)
def test_other_frames_are_refused(
    vision: Vision, frames: torch.Tensor, change: Callable[..., torch.Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        vision.encode(change(frames))


def test_unknown_class(tmp_path: Path) -> None:
    save_artifact(tmp_path / "a", kind="vision", class_name="GAN", config={}, tensors={})
    with pytest.raises(ArtifactError, match="unknown vision class 'GAN': expected one of"):
        load_vision(tmp_path / "a")


def test_weights_of_another_size(tmp_path: Path) -> None:
    VAE(VAEConfig(base_channels=2, latent_dim=4)).save(tmp_path / "a")
    artifact = load_artifact(tmp_path / "a")
    config = artifact.config | {"latent_dim": 5}
    save_artifact(
        tmp_path / "b", kind="vision", class_name="VAE", config=config, tensors=artifact.tensors
    )
    with pytest.raises(ArtifactError, match="weights do not fit VAE"):
        load_vision(tmp_path / "b")


@pytest.mark.parametrize("config", [VAEConfig(), VQVAEConfig()])
def test_configurations_follow_the_frames(config: Any) -> None:
    cls = {VAEConfig: VAE, VQVAEConfig: VQVAE}[type(config)]
    assert cls.fit_config(config, (64, 64, 3)) == config
    fitted = cls.fit_config(config, (96, 80, 1))
    assert fitted == replace(config, frame_size=(96, 80), channels=1)
    assert cls.fit_config(fitted, (96, 80, 1)) == fitted
    for change in ({"frame_size": (96, 96)}, {"channels": 1}):
        (name,) = change
        with pytest.raises(ValueError, match=rf"^config: expected {name} .*\(80, 96, 3\), got"):
            cls.fit_config(replace(config, **change), (80, 96, 3))


def test_frames_that_no_model_can_have() -> None:
    with pytest.raises(ValueError, match=r"from 32 to 128, got \(16, 16\); let the task resize"):
        VAE.fit_config(VAEConfig(), (16, 16, 3))
    with pytest.raises(ValueError, match=r"multiples of 16 .*, got \(84, 84\).*downsamplings to 2"):
        VQVAE.fit_config(VQVAEConfig(), (84, 84, 3))


def test_configurations_without_sizes_stay() -> None:
    assert LinearVision.fit_config(LinearVisionConfig(), (96, 80, 1)) == LinearVisionConfig()
