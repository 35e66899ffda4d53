import itertools
from typing import Any

import numpy as np
import pytest
import torch

from wmrl.nn.quantizers import EMAQuantizer
from wmrl.vision.vqvae import VQVAE, VQVAEConfig

SMALL = VQVAEConfig(
    frame_size=(8, 12),
    base_channels=8,
    residual_channels=4,
    num_downsamplings=2,
    codebook_size=5,
    code_dim=3,
)


@pytest.fixture
def vision() -> VQVAE:
    made = VQVAE(SMALL)
    made.quantizer.init_codebook(
        0.3 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0)),
        generator=torch.Generator().manual_seed(1),
    )
    return made.eval()


def frames(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 8, 12, 3), dtype=torch.uint8, generator=generator)


def test_sizes(vision: VQVAE) -> None:
    assert SMALL.grid == (2, 3)
    assert (vision.num_tokens, vision.codebook_size, vision.latent_dim) == (6, 5, 18)
    assert vision.code_space.nvec.tolist() == [5] * 6
    assert VQVAE(VQVAEConfig()).num_tokens == 16


@torch.inference_mode()
def test_latents_are_codes(vision: VQVAE) -> None:
    seen = frames(4)
    codes = vision.codes(seen)
    assert codes.shape == (4, 6)
    assert vision.code_space.contains(codes[0].numpy())
    latents = vision.encode(seen)
    assert torch.equal(latents, vision.latents_of(codes))
    assert torch.equal(vision.codes_of(latents), codes)
    assert torch.equal(vision.codes_of(latents.half().float()), codes)
    book = vision.quantizer.codebook()
    assert torch.equal(latents[2, 3:6], book[codes[2, 1]])


@torch.inference_mode()
@pytest.mark.parametrize("levels", [(3, 4), (8, 8, 8), (5, 5, 5, 7)])
def test_codes_of_scalar_quantized_latents(levels: tuple[int, ...]) -> None:
    vision = VQVAE(
        VQVAEConfig(base_channels=4, residual_channels=2, quantizer="fsq", levels=levels)
    ).eval()
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(vision.codebook_size, (50, 16), generator=generator)
    latents = vision.latents_of(codes)
    assert torch.equal(vision.codes_of(latents), codes)
    assert torch.equal(vision.codes_of(latents.half().float()), codes)


@torch.no_grad()
def test_places_keep_to_raster_order() -> None:
    """What changes in a corner of the image changes codes near that corner."""
    config = VQVAEConfig(
        frame_size=(64, 96), base_channels=4, residual_channels=2, num_downsamplings=2
    )
    vision = VQVAE(config).eval()  # 16 rows of 24 codes
    for row, column in ((0, 0), (0, 95), (63, 0), (63, 95)):
        seen = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
        plain = vision.unquantized(seen)
        seen[:, row, column] = 255
        moved = (vision.unquantized(seen) - plain).norm(dim=1).view(16, 24).nonzero()
        assert len(moved) > 0
        assert bool(((moved - torch.tensor([row // 4, column // 4])).abs() <= 4).all())


def test_the_loss_is_made_of_its_parts(vision: VQVAE) -> None:
    seen = frames(3)
    loss, parts = vision.loss(seen, torch.Generator())
    with torch.no_grad():
        vectors = vision.unquantized(seen)
        codes = vision.quantizer.encode(vectors)
        chosen = vision.quantizer.decode(codes)
        decoded = vision._decode(chosen, 3)
        pixels = seen.permute(0, 3, 1, 2) / 255.0
        error = (decoded - pixels).square().sum((1, 2, 3)).mean()
        commitment = (vectors - chosen).square().sum() / 3
    torch.testing.assert_close(parts["squared_error"], error)
    torch.testing.assert_close(parts["commitment"], commitment)
    torch.testing.assert_close(loss.detach(), error + 0.25 * commitment)
    loss.backward()
    gradients = [parameter.grad for parameter in vision.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_warm_up_is_without_a_codebook_and_ends_in_kmeans() -> None:
    vision = VQVAE(VQVAEConfig(**{**vars(SMALL), "warmup_steps": 3})).train()
    asked = []

    def draw() -> Any:
        for number in range(1000):
            asked.append(number)
            yield frames(4, seed=number)

    for step in range(5):
        vision.prepare(step, draw, torch.Generator().manual_seed(step))
        assert vision.quantizing == (step >= 3)
        _, parts = vision.loss(frames(4), torch.Generator().manual_seed(0))
        assert (parts["commitment"] == 0) == (step < 3)
        if step == 2:
            assert not asked
    assert len(asked) == 4  # 16 · 5 vectors of 24 a batch
    assert isinstance(vision.quantizer, EMAQuantizer)
    assert bool((vision.quantizer.vectors.norm(dim=1) > 0).all())


def test_metrics(vision: VQVAE) -> None:
    with torch.no_grad():
        metrics = vision.metrics([frames(6), frames(6, seed=1)])
        codes = torch.cat([vision.codes(frames(6)), vision.codes(frames(6, seed=1))])
    assert metrics["utilization"] == len(codes.unique()) / 5
    assert 1 <= metrics["perplexity"] <= 5
    assert 1 <= metrics["codebook_rank"] <= 3
    assert 1 <= metrics["encoder_rank"] <= 3
    assert metrics["commitment"] > 0


def test_gray_frames_of_another_size() -> None:
    config = VQVAEConfig(frame_size=(28, 28), channels=1, num_downsamplings=2, base_channels=4)
    vision = VQVAE(config)
    seen = np.zeros((2, 28, 28, 1), np.uint8)
    assert vision.decode_numpy(vision.encode_numpy(seen)).shape == seen.shape
    assert vision.num_tokens == 49


@pytest.mark.parametrize("rezero", [True, False])
def test_rezero_blocks_begin_as_nothing(rezero: bool) -> None:
    block = VQVAE(VQVAEConfig(base_channels=4, rezero=rezero)).encoder[9]
    x = torch.ones(1, 32, 5, 5)
    assert torch.equal(block(x), x) == rezero


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"frame_size": (60, 64)},
            r"expected two multiples of 16 \(2\*\*num_downsamplings\), got \(60, 64\); resize .* "
            r"size \(64, 64\), or set num_downsamplings to 2$",
        ),
        ({"frame_size": (3, 65)}, r"the nearest allowed size \(16, 64\)$"),
        ({"frame_size": (-16, 64)}, r"frame_size: expected two multiples of 16"),
        ({"frame_size": (8192, 8192)}, "frame_size: expected at most 4096, got 8192"),
        ({"codebook_size": 0}, "codebook_size: expected at least 1"),
        ({"quantizer": "pq"}, "quantizer: expected one of 'ema', 'gradient', 'fsq', got 'pq'"),
        ({"quantizer": "fsq", "levels": (2, 3)}, "levels: expected one or more numbers"),
        ({"decay": 1.0}, "decay: expected below 1"),
        ({"commitment": -1.0}, "commitment: expected at least 0"),
    ],
)
def test_wrong_configurations_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VQVAEConfig(**options)


def test_wrong_shapes_and_codes_are_named(vision: VQVAE) -> None:
    with pytest.raises(ValueError, match=r"latents: expected shape \(B, 18\), got \(2, 17\)"):
        vision.decode(torch.zeros(2, 17))
    with pytest.raises(ValueError, match="expected values from 0 to 4, got values from 0 to 5"):
        vision.latents_of(torch.tensor([[0, 1, 2, 3, 4, 5]]))


@pytest.mark.parametrize("quantizer", ["ema", "gradient", "fsq"])
def test_half_precision_ends_at_the_codebook(quantizer: Any) -> None:
    config = VQVAEConfig(
        frame_size=(16, 16),
        base_channels=4,
        num_downsamplings=2,
        codebook_size=8,
        code_dim=4,
        warmup_steps=0,
        quantizer=quantizer,
        levels=(3, 3),
    )
    vision = VQVAE(config)
    frames = torch.randint(256, (4, 16, 16, 3), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    vision.prepare(0, lambda: itertools.repeat(frames), generator)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = vision.loss(frames, generator)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(value.dtype == torch.float32 for value in vision.state_dict().values())


@torch.inference_mode()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "downsamplings"), [((84, 84), 2), ((96, 96), 5), ((100, 72), 2), ((34, 50), 1)]
)
def test_frames_of_other_sizes(size: tuple[int, int], downsamplings: int, channels: int) -> None:
    config = VQVAEConfig(
        frame_size=size,
        channels=channels,
        num_downsamplings=downsamplings,
        base_channels=2,
        residual_channels=2,
        codebook_size=4,
        code_dim=2,
    )
    vision = VQVAE(config).eval()
    assert vision.frame_shape == (*size, channels)
    seen = torch.zeros(2, *vision.frame_shape, dtype=torch.uint8)
    assert vision.decode(vision.encode(seen)).shape == seen.shape
    assert vision.codes(seen).shape == (2, config.grid[0] * config.grid[1])
