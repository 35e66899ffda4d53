"""Images of a VQ-VAE's codebook, with the decoded patch and the frequency of each code."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from wmrl.core.validation import check_int
from wmrl.vision.vqvae import VQVAE

_BACKGROUND, _TEXT, _MUTED = (18, 20, 26), (238, 240, 244), (110, 116, 128)
_BATCH = 128


@dataclass(frozen=True)
class CodeUse:
    """Counts and decoded patches of a VQ-VAE's codes in a set of frames.

    Attributes:
        counts: ``(K,) int64``, number of occurrences of each of the K codes.
        patches: ``(K, h, w, C) float32`` in [0, 1], one image patch per code, of h × w pixels. A
            code's patch is the average of the decoded patches at all positions where the code
            occurs. If the code never occurs, a grid that contains only this code is decoded to a
            frame, and the code's patch is cut from the center of this frame.
    """

    counts: Tensor
    patches: Tensor


@torch.inference_mode()
def code_use(vision: VQVAE, frames: np.ndarray) -> CodeUse:
    """Counts the occurrences of each code in frames, and averages the decoded patches of each code.

    Args:
        vision: VQ-VAE that encodes the frames to codes, and decodes the codes.
        frames: ``(N, *input_shape) uint8``.

    Returns:
        The counts and the average patches of all codes of the codebook.
    """
    rows, columns = vision.config.grid
    height, width = (
        size // part for size, part in zip(vision.config.frame_size, (rows, columns), strict=True)
    )
    shape = (height, width, vision.config.channels)
    codebook_size = vision.codebook_size

    def patches_of(codes: Tensor) -> Tensor:
        """Decodes codes ``(B, T)`` of B frames to image patches ``(B · T, h, w, C)``."""
        decoded = vision.mean(vision.latents_of(codes)).clamp(0.0, 1.0).cpu()
        cut = decoded.reshape(-1, rows, height, columns, width, shape[-1])
        return cut.transpose(2, 3).reshape(-1, *shape)

    counts, sums = torch.zeros(codebook_size).long(), torch.zeros(codebook_size, *shape)
    for start in range(0, len(frames), _BATCH):
        batch = torch.from_numpy(frames[start : start + _BATCH]).to(vision.device)
        codes = vision.codes(batch)
        counts += torch.bincount(codes.flatten().cpu(), minlength=codebook_size)
        sums.index_add_(0, codes.flatten().cpu(), patches_of(codes))
    unused = (counts == 0).nonzero().flatten()
    middle = (rows // 2) * columns + columns // 2
    for some in torch.split(unused, _BATCH):
        alone = some[:, None].expand(-1, rows * columns).to(vision.device)
        sums[some] = patches_of(alone).view(len(some), rows * columns, *shape)[:, middle]
    return CodeUse(counts, sums / counts.clamp(min=1)[:, None, None, None])


def draw_codebook(use: CodeUse, *, columns: int = 32, patch_size: int = 40) -> np.ndarray:
    """Draws one image with the patches of all codes, from the most to the least frequent code.

    Below each patch are the index of the code and a bar. The length of the bar is proportional to
    log(1 + n), where n is the number of the code's occurrences. The patches of codes that never
    occur are dimmed.

    Args:
        use: counts and patches of the codes, from :func:`code_use`.
        columns: number of codes per row.
        patch_size: width and height of a patch in pixels.

    Returns:
        The image, ``(H, W, 3) uint8``.

    Raises:
        ValueError: ``columns`` or ``patch_size`` is below 1.
    """
    check_int("columns", columns, at_least=1)
    check_int("patch_size", patch_size, at_least=1)
    order = use.counts.argsort(descending=True, stable=True).tolist()
    label, gap = 10, 4
    cell_width, cell_height = patch_size + gap, patch_size + label + 2 * gap
    rows = -(-len(order) // columns)
    head = 24
    sheet = Image.new(
        "RGB", (columns * cell_width + gap, head + rows * cell_height + gap), _BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    total, used_codes = int(use.counts.sum()), int((use.counts > 0).sum())
    most = f"{use.counts.max() / total:.2%}"
    title = f"{used_codes} of {len(order)} codes occur; the most frequent: {most}"
    draw.text((gap, head // 2), title, _TEXT, ImageFont.load_default(14), anchor="lm")
    longest = float(torch.log1p(use.counts.max().double()))
    font = ImageFont.load_default(9)
    for place, code in enumerate(order):
        left = gap + place % columns * cell_width
        top = head + place // columns * cell_height
        bottom = top + patch_size
        used = bool(use.counts[code] > 0)
        patch = use.patches[code].numpy()
        patch = np.broadcast_to(patch, (*patch.shape[:2], 3)) * (1.0 if used else 0.4)
        pixels = (255 * patch).astype(np.uint8)
        shown = cv2.resize(pixels, (patch_size, patch_size), interpolation=cv2.INTER_NEAREST)
        sheet.paste(Image.fromarray(shown), (left, top))
        length = patch_size * float(torch.log1p(use.counts[code].double())) / longest
        if used:
            draw.rectangle((left, bottom + 1, left + length - 1, bottom + 3), _TEXT)
        color = _TEXT if used else _MUTED
        draw.text((left, bottom + 5), str(code), color, font, anchor="lt")
    return np.asarray(sheet)
