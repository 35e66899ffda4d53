"""Drawings of code vectors as lines from the origin."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_BACKGROUND, _AXES = (18, 20, 26), (52, 57, 68)
_TEXT, _MUTED, _CODE = (238, 240, 244), (150, 156, 168), (255, 178, 66)
_HEAD = 40
_SAMPLING = 2  # supersampling factor, for smooth lines


def draw_directions(
    codes: Tensor, *, title: str = "", caption: str = "", size: int = 240
) -> np.ndarray:
    """Draws codes as lines from the origin, in the plane of their first two singular vectors.

    Args:
        codes: code vectors, ``(K, D)`` with D ≥ 2.
        title: text above the plot.
        caption: text below the title, in a muted color.
        size: side length of the plot in pixels.

    Returns:
        The image, ``(size + 40, size, 3) uint8``. The codes are scaled so that the longest code
        nearly reaches the border of the plot.

    Raises:
        ValueError: there are no codes, or they have fewer than two dimensions.
    """
    if codes.ndim != 2 or len(codes) < 1 or codes.shape[1] < 2:
        raise ValueError(
            f"codes: expected shape (K, D) with K ≥ 1 and D ≥ 2, got {tuple(codes.shape)}"
        )
    codes = codes.detach().cpu().double()
    directions = torch.linalg.svd(codes, full_matrices=False).Vh
    if len(directions) < 2:  # there is only one code
        directions = torch.cat((directions, torch.zeros_like(directions)))
    points = (codes @ directions[:2].T).numpy()
    middle = _SAMPLING * size / 2
    points *= 0.92 * middle / max(float(np.linalg.norm(points, axis=1).max()), 1e-12)
    plot = Image.new("RGB", (_SAMPLING * size,) * 2, _BACKGROUND)
    pen = ImageDraw.Draw(plot)
    pen.line((0, middle, 2 * middle, middle), fill=_AXES, width=_SAMPLING)
    pen.line((middle, 0, middle, 2 * middle), fill=_AXES, width=_SAMPLING)
    for x, y in points:
        end = (middle + x, middle - y)
        pen.line((middle, middle, *end), fill=_CODE, width=_SAMPLING)
        pen.circle(end, 2.5 * _SAMPLING, fill=_CODE)
    image = Image.new("RGB", (size, size + _HEAD), _BACKGROUND)
    image.paste(plot.resize((size, size), Image.Resampling.LANCZOS), (0, _HEAD))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    pen.text((6, 4), title, fill=_TEXT, font=font)
    pen.text((6, 20), caption, fill=_MUTED, font=font)
    return np.asarray(image)
