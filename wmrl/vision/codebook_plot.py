"""A picture of a codebook: what each code looks like, and how often it is used."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from wmrl.vision.vqvae import VQVAE

_BACKGROUND, _TEXT, _MUTED = (18, 20, 26), (238, 240, 244), (110, 116, 128)
_BATCH = 128


@dataclass(frozen=True)
class CodeUse:
    """How a vision's codes are used in some frames.

    Attributes:
        counts: ``(K,) int64``, how often each occurs.
        patches: ``(K, h, w, C) float32`` in [0, 1], the mean of what is decoded where it occurs;
            for codes that never do, what is decoded where it stands everywhere.
    """

    counts: Tensor
    patches: Tensor


@torch.inference_mode()
def code_use(vision: VQVAE, frames: np.ndarray) -> CodeUse:
    """Counts codes in frames ``(N, H, W, C) uint8``, and averages their decoded patches."""
    rows, columns = vision.config.grid
    height, width = (
        size // part for size, part in zip(vision.config.frame_size, (rows, columns), strict=True)
    )
    shape = (height, width, vision.config.channels)
    count = vision.code_count

    def patches_of(codes: Tensor) -> Tensor:
        """Decoded patches ``(B · T, h, w, C)`` of codes ``(B, T)``."""
        decoded = vision.mean(vision.latents_of(codes)).clamp(0.0, 1.0).cpu()
        cut = decoded.reshape(-1, rows, height, columns, width, shape[-1])
        return cut.transpose(2, 3).reshape(-1, *shape)

    counts, sums = torch.zeros(count, dtype=torch.int64), torch.zeros(count, *shape)
    for start in range(0, len(frames), _BATCH):
        batch = torch.from_numpy(frames[start : start + _BATCH]).to(vision.device)
        codes = vision.codes(batch)
        counts += torch.bincount(codes.flatten().cpu(), minlength=count)
        sums.index_add_(0, codes.flatten().cpu(), patches_of(codes))
    unused = (counts == 0).nonzero().flatten()
    middle = (rows // 2) * columns + columns // 2
    for some in torch.split(unused, _BATCH):
        alone = some[:, None].expand(-1, rows * columns).to(vision.device)
        sums[some] = patches_of(alone).view(len(some), rows * columns, *shape)[:, middle]
    return CodeUse(counts, sums / counts.clamp(min=1)[:, None, None, None])


def draw_codebook(use: CodeUse, *, columns: int = 32, size: int = 40) -> np.ndarray:
    """All codes from the most frequent to the rarest: ``(H, W, 3) uint8``.

    Below each patch stand its code's number and a bar, as long as its frequency's logarithm; codes
    that were never seen are dimmed.

    Args:
        use: see :func:`code_use`.
        columns: codes in a row.
        size: pixels of a patch.
    """
    order = use.counts.argsort(descending=True, stable=True).tolist()
    label, gap = 10, 4
    cell_width, cell_height = size + gap, size + label + 2 * gap
    rows = -(-len(order) // columns)
    head = 24
    sheet = Image.new(
        "RGB", (columns * cell_width + gap, head + rows * cell_height + gap), _BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    total, seen = int(use.counts.sum()), int((use.counts > 0).sum())
    title = f"{seen} of {len(order)} codes occur; the most frequent: {use.counts.max() / total:.2%}"
    draw.text((gap, head // 2), title, _TEXT, ImageFont.load_default(14), anchor="lm")
    longest = float(torch.log1p(use.counts.max().double()))
    font = ImageFont.load_default(9)
    for place, code in enumerate(order):
        left = gap + place % columns * cell_width
        top = head + place // columns * cell_height
        used = bool(use.counts[code] > 0)
        patch = use.patches[code].numpy()
        patch = np.broadcast_to(patch, (*patch.shape[:2], 3)) * (1.0 if used else 0.4)
        picture = cv2.resize(
            (255 * patch).astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST
        )
        sheet.paste(Image.fromarray(picture), (left, top))
        length = size * float(torch.log1p(use.counts[code].double())) / longest
        if used:
            draw.rectangle((left, top + size + 1, left + length - 1, top + size + 3), _TEXT)
        color = _TEXT if used else _MUTED
        draw.text((left, top + size + 5), str(code), color, font, anchor="lt")
    return np.asarray(sheet)
