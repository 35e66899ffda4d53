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
    "VAE, stacks": lambda: VAE(VAEConfig(base_channels=2, latent_dim=4, frame_stack=3)),
    "VAE, stacks, mirrored": lambda: VAE(
        VAEConfig(base_channels=2, latent_dim=4, frame_stack=4, frame_size=(40, 48), channels=1)
    ),
    "VQVAE, ema": lambda: _quantized("ema"),
    "VQVAE, gradient": lambda: _quantized("gradient"),
    "VQVAE, fsq": lambda: _quantized("fsq"),
    "VQVAE, stacks": lambda: _quantized("ema", frame_stack=3),
}


def _quantized(quantizer: Any, **options: Any) -> VQVAE:
    config = VQVAEConfig(
        base_channels=4,
        residual_channels=2,
        quantizer=quantizer,
        codebook_size=6,
        code_dim=3,
        levels=(3, 4),
        **options,
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
    shape = (3, *vision.input_shape)
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
    assert decoded.shape == (3, *vision.frame_shape)
    height, width, channels = vision.frame_shape
    assert vision.input_shape == (height, width, channels * vision.frame_stack)
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
    assert vision.decode_numpy(latents).shape == (3, *vision.frame_shape)


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
        (lambda frames: frames[:, :5], r"frames: expected shape \(B, {}, {}, {}\), got"),
        (lambda frames: frames[0], r"frames: expected shape \(B, {}, {}, {}\), got"),
        (lambda frames: frames[..., 1:], r"frames: expected shape \(B, {}, {}, {}\), got"),
        (lambda frames: frames.float(), "frames: expected dtype uint8, got torch.float32"),
    ],
)
def test_other_frames_are_refused(
    vision: Vision, frames: torch.Tensor, change: Callable[..., torch.Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message.format(*vision.input_shape)):
        vision.encode(change(frames))


@pytest.mark.parametrize("config", [VAEConfig(base_channels=4), VQVAEConfig(base_channels=4)])
@torch.no_grad()
def test_the_newest_frame_comes_last_and_is_the_target(config: Any) -> None:
    """A model whose first layer ignores older frames is a model of the newest frame."""
    cls = {VAEConfig: VAE, VQVAEConfig: VQVAE}[type(config)]
    single, stacked = cls(config), cls(replace(config, frame_stack=3))
    weights = single.state_dict()
    first = torch.zeros_like(stacked.state_dict()["encoder.0.weight"])
    first[:, 6:] = weights["encoder.0.weight"]
    stacked.load_state_dict(weights | {"encoder.0.weight": first})
    generator = torch.Generator().manual_seed(0)
    stacks = torch.randint(0, 256, (5, 64, 64, 9), dtype=torch.uint8, generator=generator)
    newest = stacks[..., 6:].contiguous()
    torch.testing.assert_close(stacked.encode(stacks), single.encode(newest))
    losses = [
        model.loss(frames, torch.Generator().manual_seed(1))
        for model, frames in ((single, newest), (stacked, stacks))
    ]
    torch.testing.assert_close(losses[1], losses[0])


@pytest.mark.parametrize(
    ("name", "dim", "latent"),
    [
        ("car-racing-vae", 32, [0.264636, 0.076819, -0.965162, 3.144991]),
        ("car-racing-vqvae", 256, [-0.642090, 2.427734, 1.729492, -1.575195]),
    ],
)
def test_golden_latents_of_single_frames(name: str, dim: int, latent: list[float]) -> None:
    vision = load_vision(name, device="cpu")
    assert (vision.frame_stack, vision.input_shape) == (1, (64, 64, 3))
    rows, columns, colors = np.ogrid[:64, :64, :3]
    frame = ((4 * rows + 2 * columns + 60 * colors) % 256).astype(np.uint8)
    found = vision.encode_numpy(frame[None])[0]
    assert found.shape == (dim,)
    np.testing.assert_allclose(found[:4], latent, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("vision", [VAE(VAEConfig()), VQVAE(VQVAEConfig())])
def test_golden_initial_weights_of_single_frames(vision: Any) -> None:
    found = vision.encoder[0].weight[0, 0, 0].detach()
    expected = torch.tensor([-0.00108063, 0.07742896, -0.11879633, -0.10622365])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


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
    stacked = cls.fit_config(config, (96, 80, 1), 4)
    assert stacked == replace(fitted, frame_stack=4)
    assert cls.fit_config(stacked, (96, 80, 1), 4) == stacked
    for change in ({"frame_size": (96, 96)}, {"channels": 1}, {"frame_stack": 2}):
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
