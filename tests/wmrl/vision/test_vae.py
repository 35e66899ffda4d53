import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from wmrl.core.hashing import tensors_digest
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


def test_the_variance_of_pixels_weighs_the_error(frames: torch.Tensor) -> None:
    def terms(variance: float | None) -> tuple[float, float]:
        config = VAEConfig(base_channels=4, latent_dim=6, kl_floor=0, pixel_variance=variance)
        loss, parts = VAE(config).loss(frames, torch.Generator().manual_seed(0))
        return float(loss.detach() - parts["kl"]), float(parts["squared_error"])

    papers, error = terms(0.5)
    assert papers == pytest.approx(error, rel=1e-5)
    assert terms(0.02) == (pytest.approx(25 * error, rel=1e-5), pytest.approx(error))
    size = 64 * 64 * 3
    expected = size / 2 * (math.log(2 * math.pi * error / size) + 1)
    assert terms(None) == (pytest.approx(expected, rel=1e-4), pytest.approx(error))


@pytest.mark.slow
def test_a_small_variance_keeps_faint_details() -> None:
    """The brightness of a faint square is only worth its nats if pixels are precise."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.linspace(-1, 1, 256)[torch.randperm(256, generator=generator)]
    frames = torch.full((256, 32, 32, 1), 100, dtype=torch.uint8)
    frames[:, 8:24, 8:24, 0] = (100 + 15 * levels).round().to(torch.uint8)[:, None, None]

    def learned(variance: float | None) -> dict[str, float]:
        shape = {"frame_size": (32, 32), "channels": 1}
        config = VAEConfig(
            base_channels=4, latent_dim=4, kl_floor=0, pixel_variance=variance, **shape
        )
        vae = VAE(config, generator=torch.Generator().manual_seed(0))
        optimizer = torch.optim.Adam(vae.parameters(), 2e-3)
        for _ in range(300):
            batch = frames[torch.randint(0, 256, (16,), generator=generator)]
            loss, parts = vae.loss(batch, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {name: float(part) for name, part in parts.items()}

    papers, calibrated = learned(0.5), learned(None)
    assert papers["kl"] < 0.5
    assert calibrated["squared_error"] < 0.6 * papers["squared_error"]


def test_reconstructions_start_with_the_color_of_the_frames(frames: torch.Tensor) -> None:
    tinted = (frames.float() * torch.tensor([0.1, 0.5, 1.0])).to(torch.uint8)
    vae = VAE(VAEConfig(base_channels=4, latent_dim=6, pixel_variance=None))
    vae.prepare(0, lambda: itertools.repeat(tinted), torch.Generator())
    color = vae.decode(torch.zeros(1, 6)).float().mean((0, 1, 2))
    torch.testing.assert_close(color, tinted.float().mean((0, 1, 2)), atol=5.0, rtol=0.0)
    before = tensors_digest(vae.state_dict())
    vae.prepare(1, lambda: itertools.repeat(frames), torch.Generator())
    assert tensors_digest(vae.state_dict()) == before
    papers = VAE(VAEConfig(base_channels=4, latent_dim=6))
    weights = tensors_digest(papers.state_dict())
    papers.prepare(0, lambda: itertools.repeat(frames), torch.Generator())
    assert tensors_digest(papers.state_dict()) == weights


@pytest.mark.parametrize("ground", [0, 255])
def test_it_learns_what_moves_on_a_black_or_white_ground(ground: int) -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.full((256, 32, 32, 1), ground, dtype=torch.uint8)
    places = torch.randint(0, 28, (256,), generator=generator).tolist()
    for frame, column in zip(frames, places, strict=True):
        frame[16:24, column : column + 4] = 255 - ground
    config = VAEConfig(latent_dim=8, frame_size=(32, 32), channels=1, pixel_variance=None)
    vae = VAE(config, generator=generator)
    vae.prepare(0, lambda: itertools.repeat(frames), generator)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for _ in range(100):
        batch = torch.randint(0, 256, (32,), generator=generator)
        loss, parts = vae.loss(frames[batch], generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(parts["squared_error"]) < 22  # the mean frame has 27; without a start color, 40


def scene(count: int, generator: torch.Generator) -> torch.Tensor:
    """Gray frames with a small bright square somewhere on a ground that never changes."""
    ground = torch.randint(40, 160, (1, 32, 32, 1), generator=generator, dtype=torch.uint8)
    frames = ground.repeat(count, 1, 1, 1)
    places = torch.randint(0, 28, (count, 2), generator=generator).tolist()
    for frame, (row, column) in zip(frames, places, strict=True):
        frame[row : row + 4, column : column + 4] = 255
    return frames


@pytest.mark.parametrize("frame_stack", [1, 3])
def test_reconstructions_start_with_the_mean_frame(frame_stack: int) -> None:
    frames = scene(64, torch.Generator().manual_seed(0))
    shape = {"frame_size": (32, 32), "channels": 1, "frame_stack": frame_stack}
    vae = VAE(VAEConfig(base_channels=4, latent_dim=6, mean_frame=True, **shape))
    vae.prepare(0, lambda: itertools.repeat(frames.repeat(1, 1, 1, frame_stack)), torch.Generator())
    mean = frames.float().mean(0)
    torch.testing.assert_close(255 * vae.mean_frame, mean.permute(2, 0, 1))
    torch.testing.assert_close(vae.decode(torch.zeros(1, 6))[0].float(), mean, atol=12, rtol=0)
    # The mean frame is subtracted from each frame of a stack.
    plain = VAE(VAEConfig(base_channels=4, latent_dim=6, **shape))
    plain.load_state_dict({k: v for k, v in vae.state_dict().items() if k != "mean_frame"})
    inputs = vae._preprocess(frames[:2].repeat(1, 1, 1, frame_stack))
    shifted = inputs - vae.mean_frame.repeat(frame_stack, 1, 1)
    torch.testing.assert_close(vae._encode(inputs), plain._encode(shifted))
    vae.prepare(1, lambda: itertools.repeat(torch.zeros_like(frames)), torch.Generator())
    torch.testing.assert_close(255 * vae.mean_frame, mean.permute(2, 0, 1))


def test_the_mean_frame_is_saved(tmp_path: Path) -> None:
    config = VAEConfig(base_channels=2, latent_dim=4, frame_size=(32, 32), mean_frame=True)
    vae = VAE(config)
    frames = torch.full((2, 32, 32, 3), 51, dtype=torch.uint8)
    vae.prepare(0, lambda: itertools.repeat(frames), torch.Generator())
    vae.save(tmp_path / "vae")
    loaded = load_vision(tmp_path / "vae", device="cpu")
    torch.testing.assert_close(loaded.mean_frame, torch.full((3, 32, 32), 0.2), atol=1e-3, rtol=0)
    # Weights of any finite size give finite pixels.
    loaded.mean_frame.fill_(2.0)
    assert torch.isfinite(loaded._decode(torch.zeros(1, 4))).all()


def test_small_objects_are_learned_soon_with_the_mean_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = scene(256, generator)
    shape = {"frame_size": (32, 32), "channels": 1}
    vae = VAE(
        VAEConfig(latent_dim=8, pixel_variance=None, mean_frame=True, **shape), generator=generator
    )
    vae.prepare(0, lambda: itertools.repeat(frames), generator)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    errors = []
    for _ in range(150):
        batch = torch.randint(0, 256, (32,), generator=generator)
        loss, parts = vae.loss(frames[batch], generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        errors.append(float(parts["squared_error"]))
    # The mean frame alone has an error of 6.2, and a VAE that must learn the ground first has 8.5.
    assert sum(errors[-10:]) / 10 < 4.5


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
        ({"frame_size": (31, 64)}, r"a width from 32 to 128, got \(31, 64\); let the task resize"),
        ({"frame_size": (64, 10**9)}, r"frame_size: expected .* from 32 to 128"),
        ({"frame_size": (64,)}, "frame_size: expected 2 items"),
        ({"frame_size": (64.0, 64)}, "frame_size: expected an integer"),
        ({"channels": 4}, "channels: expected one of 1, 3, got 4"),
        ({"channels": True}, "channels: expected an integer"),
    ],
)
def test_wrong_configurations_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAEConfig(**wrong)


GOLDEN = {
    (4, 8): (
        "1e7229ce14101c13cf1707fc329dd790ccfa348960ea21b866ce9503564a69f9",
        1025.567626953125,
    ),
    (16, 32): (
        "06b0cc6848ae470ca6928a11009cc05ede12c34fee011cec26c9903066959add",
        1040.01806640625,
    ),
}


@pytest.mark.parametrize("sizes", GOLDEN)
def test_color_frames_of_the_papers_size_keep_their_network(sizes: tuple[int, int]) -> None:
    config = VAEConfig(base_channels=sizes[0], latent_dim=sizes[1])
    vae = VAE(config, generator=torch.Generator().manual_seed(7))
    digest, loss = GOLDEN[sizes]
    assert tensors_digest(vae.state_dict()) == digest  # initial weights, by name
    generator = torch.Generator().manual_seed(1)
    seen = torch.randint(256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)
    got, _ = vae.loss(seen, torch.Generator().manual_seed(3))
    assert got.item() == pytest.approx(loss, rel=1e-5)


def test_the_encoder_has_the_documented_sizes() -> None:
    expected = {
        (64, 64): [(64, 64), (31, 31), (14, 14), (6, 6), (2, 2)],
        (84, 84): [(84, 84), (41, 41), (19, 19), (8, 8), (3, 3)],
        (32, 128): [(32, 128), (15, 63), (6, 30), (2, 14)],
        (128, 128): [(128, 128), (63, 63), (30, 30), (14, 14), (6, 6), (2, 2)],
    }
    for size, sizes in expected.items():
        assert list(VAEConfig(frame_size=size).encoded_sizes) == sizes


@torch.inference_mode()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "size", [(32, 32), (64, 64), (84, 84), (96, 96), (100, 72), (33, 57), (32, 128), (128, 127)]
)
def test_frames_of_any_size(size: tuple[int, int], channels: int, tmp_path: Path) -> None:
    config = VAEConfig(base_channels=2, latent_dim=3, frame_size=size, channels=channels)
    vae = VAE(config).eval()
    assert vae.frame_shape == (*size, channels)
    generator = torch.Generator().manual_seed(0)
    seen = torch.randint(256, (2, *vae.frame_shape), dtype=torch.uint8, generator=generator)
    decoded = vae.decode(vae.encode(seen))
    assert decoded.shape == seen.shape
    assert decoded.dtype == torch.uint8
    x, found = vae._preprocess(seen), []
    for layer in vae.encoder:
        x = layer(x)
        found += [tuple(x.shape[2:])] if isinstance(layer, torch.nn.Conv2d) else []
    assert found == list(config.encoded_sizes[1:])
    with pytest.raises(ValueError, match=r"frames: expected shape \(B, "):
        vae.encode(seen.permute(0, 3, 1, 2))
    vae.save(tmp_path / "vision")
    loaded = load_vision(tmp_path / "vision", device="cpu")
    assert loaded.config == config
    assert torch.equal(loaded.encode(seen), vae.encode(seen))


def test_every_allowed_side_is_restored() -> None:
    with torch.device("meta"):
        for side in range(32, 129):
            config = VAEConfig(base_channels=1, latent_dim=1, frame_size=(side, 160 - side))
            pixels = VAE(config)._decode(torch.zeros(1, 1))
            assert pixels.shape == (1, 3, side, 160 - side)


def test_it_learns_small_gray_frames() -> None:
    vae = VAE(VAEConfig(base_channels=4, latent_dim=4, frame_size=(32, 32), channels=1))
    optimizer = torch.optim.Adam(vae.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    grays = torch.linspace(0, 255, 8).to(torch.uint8)
    seen = grays[:, None, None, None].expand(8, 32, 32, 1).contiguous()
    errors = []
    for _ in range(100):
        optimizer.zero_grad()
        loss, parts = vae.loss(seen, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        errors.append(float(parts["squared_error"]))
    # The mean frame has 1024 times the variance of the grays, 110.
    assert errors[-1] < 50 < 100 < errors[0]
