from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from wmrl.nn.losses import gaussian_kl
from wmrl.storage.artifact import ArtifactError
from wmrl.vision.base import load_vision
from wmrl.vision.vae import VAE, VAEConfig


@pytest.fixture(scope="module")
def vae() -> VAE:
    return VAE(VAEConfig(base_channels=4, latent_dim=6))


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.randint(
        256, (5, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def _count(vae: VAE) -> int:
    return sum(parameter.numel() for parameter in vae.parameters())


def test_it_has_the_parameters_of_the_paper() -> None:
    assert _count(VAE(VAEConfig(base_channels=32, latent_dim=32))) == 4_348_547
    assert _count(VAE(VAEConfig(base_channels=32, latent_dim=64))) == 4_446_915  # DoomTakeCover


def test_shapes_and_types(vae: VAE, frames: torch.Tensor) -> None:
    mean, std = vae.posterior(frames)
    assert mean.shape == std.shape == (5, 6)
    assert bool((std > 0).all())
    assert torch.equal(vae.encode(frames), mean)
    decoded = vae.decode(mean)
    assert decoded.shape == frames.shape
    assert decoded.dtype == torch.uint8
    assert vae.latent_space == spaces.Box(-np.inf, np.inf, (6,), np.float32)
    assert vae.frame_shape == (64, 64, 3)


def test_rows_do_not_depend_on_each_other(vae: VAE, frames: torch.Tensor) -> None:
    together = vae.encode(frames)
    alone = torch.cat([vae.encode(frame[None]) for frame in frames])
    torch.testing.assert_close(together, alone)


def test_frames_are_read_as_rows_columns_and_colors(vae: VAE) -> None:
    image = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    image[0, :32, :, 0] = 255  # upper half red
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[0, 0, :32] = 1.0
    expected = vae.posterior_head(vae.encoder(pixels))[:, :6]
    torch.testing.assert_close(vae.encode(image), expected)


def test_the_loss_is_error_plus_floored_divergence(frames: torch.Tensor) -> None:
    vae = VAE(VAEConfig(base_channels=4, latent_dim=6, kl_floor=0.0))
    loss, parts = vae.loss(frames, torch.Generator().manual_seed(1))
    mean, std = vae.posterior(frames)
    noise = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    decoded = vae.decoder(vae.decoder_head(mean + std * noise).relu())
    error = (decoded - frames.permute(0, 3, 1, 2) / 255.0).square().sum((1, 2, 3)).mean()
    kl = gaussian_kl(mean, 2 * std.log()).sum(1).mean()
    torch.testing.assert_close(parts["squared_error"], error.detach())
    torch.testing.assert_close(parts["kl"], kl.detach())
    torch.testing.assert_close(loss, error + kl)
    high = VAE(VAEConfig(base_channels=4, latent_dim=6, kl_floor=100.0))
    loss, parts = high.loss(frames, torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss.detach(), parts["squared_error"] + 600.0)


def test_the_posterior_starts_narrow(frames: torch.Tensor) -> None:
    wide = VAE(VAEConfig(base_channels=4, log_variance_bias=0.0)).posterior(frames)[1]
    narrow = VAE(VAEConfig(base_channels=4, log_variance_bias=-2.0)).posterior(frames)[1]
    torch.testing.assert_close(narrow, wide * np.exp(-1.0))


def test_weights_are_a_function_of_the_generator() -> None:
    one, same, other = (
        VAE(VAEConfig(base_channels=4), generator=torch.Generator().manual_seed(seed)).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["posterior_head.weight"], other["posterior_head.weight"])


def test_it_learns() -> None:
    vae = VAE(VAEConfig(base_channels=4, latent_dim=6))
    optimizer = torch.optim.Adam(vae.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    colors = torch.randint(256, (8, 1, 1, 3), dtype=torch.uint8, generator=generator)
    plain = colors.expand(8, 64, 64, 3).contiguous()
    errors = []
    for _ in range(60):
        optimizer.zero_grad()
        loss, parts = vae.loss(plain, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        errors.append(float(parts["squared_error"]))
    # Each color's mean is what a decoder without latents learns; it stops at 900.
    assert errors[-1] < 750 < 1000 < errors[0]


def test_a_saved_vae_is_the_same_when_loaded(
    vae: VAE, frames: torch.Tensor, tmp_path: Path
) -> None:
    digest = vae.save(tmp_path / "vision")
    loaded = load_vision(tmp_path / "vision", device="cpu")
    assert isinstance(loaded, VAE)
    assert loaded.config == vae.config
    assert loaded.digest == vae.digest == digest
    assert torch.equal(loaded.encode(frames), vae.encode(frames))


def test_weights_of_another_size_are_refused(vae: VAE, tmp_path: Path) -> None:
    from wmrl.storage.artifact import load_artifact
    from wmrl.storage.restoring import load_weights

    vae.save(tmp_path / "vision")
    with pytest.raises(ArtifactError, match="expected shape"):
        load_weights(
            VAE(VAEConfig(base_channels=8, latent_dim=6)), load_artifact(tmp_path / "vision")
        )


def test_wrong_frames_and_latents_are_named(vae: VAE, frames: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"frames: expected shape \(B, 64, 64, 3\), got"):
        vae.encode(frames[:, :32])
    with pytest.raises(ValueError, match=r"frames: expected dtype uint8, got torch\.float32"):
        vae.encode(frames.float())
    with pytest.raises(ValueError, match=r"latents: expected shape \(B, 6\), got \(6,\)"):
        vae.decode(torch.zeros(6))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_channels": 0}, "base_channels: expected at least 1, got 0"),
        ({"latent_dim": 0}, "latent_dim: expected at least 1"),
        ({"kl_floor": -0.1}, "kl_floor: expected at least 0"),
        ({"frame_size": (96, 96)}, r"frame_size: expected \(64, 64\).*let the task resize"),
    ],
)
def test_wrong_configurations_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAEConfig(**wrong)
