"""The image of a codebook."""

import numpy as np
import torch

from wmrl.vision.codebook_plot import CodeUse, code_use, draw_codebook
from wmrl.vision.vqvae import VQVAE, VQVAEConfig

CONFIG = VQVAEConfig(
    frame_size=(16, 24),
    base_channels=2,
    residual_channels=2,
    num_downsamplings=3,
    codebook_size=6,
    code_dim=2,
)


def test_codes_are_counted_and_their_patches_averaged() -> None:
    vision = VQVAE(CONFIG).eval()
    vision.quantizer.vectors.copy_(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)))
    frames = np.random.default_rng(0).integers(0, 256, (150, 16, 24, 3), dtype=np.uint8)
    use = code_use(vision, frames)
    with torch.no_grad():
        codes = vision.codes(torch.from_numpy(frames))  # (150, 6) of a grid of 2 × 3
        decoded = vision.mean(vision.latents_of(codes)).clamp(0, 1)
    assert torch.equal(use.counts, torch.bincount(codes.flatten(), minlength=6))
    found: dict[int, list[torch.Tensor]] = {}
    for image, row in zip(decoded, codes.tolist(), strict=True):
        for place, code in enumerate(row):
            top, left = 8 * (place // 3), 8 * (place % 3)
            found.setdefault(code, []).append(image[top : top + 8, left : left + 8])
    assert found
    for code, patches in found.items():
        torch.testing.assert_close(use.patches[code], torch.stack(patches).mean(0))
    assert use.patches.shape == (6, 8, 8, 3)


def test_unused_codes_are_decoded_alone() -> None:
    vision = VQVAE(CONFIG).eval()
    vision.quantizer.vectors.copy_(torch.arange(12.0).view(6, 2) * 100)  # all but 0 are far away
    frames = np.zeros((2, 16, 24, 3), np.uint8)
    use = code_use(vision, frames)
    assert use.counts.tolist() == [12, 0, 0, 0, 0, 0]
    with torch.no_grad():
        alone = vision.mean(vision.latents_of(torch.full((1, 6), 4))).clamp(0, 1)[0]
    torch.testing.assert_close(use.patches[4], alone[8:16, 8:16])


def test_a_codebook_of_which_all_is_used() -> None:
    vision = VQVAE(CONFIG).eval()
    frames = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), dtype=np.uint8)
    with torch.no_grad():
        vectors = vision.unquantized(torch.from_numpy(frames))
    vision.quantizer.vectors.copy_(vectors)  # six places, six codes
    assert code_use(vision, frames).counts.tolist() == [1] * 6


def test_the_sheet_goes_from_the_most_frequent_to_the_rarest() -> None:
    patches = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 2, 2, 1)
    sheet = draw_codebook(CodeUse(torch.tensor([0, 3, 7]), patches), columns=3, patch_size=10)
    assert sheet.dtype == np.uint8
    center = 24 + 5
    assert [int(sheet[center, 4 + 14 * i + 5, 0]) for i in range(3)] == [255, 127, 0]
