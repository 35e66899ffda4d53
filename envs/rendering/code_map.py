"""A code map: which code stands at each place of a frame, drawn over what it is decoded to."""

import colorsys

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GOLDEN = 0.6180339887498949
_TINT = 0.4


def code_color(code: int) -> tuple[int, int, int]:
    """A colour of its own for each code; neighbouring numbers look least alike."""
    red, green, blue = colorsys.hsv_to_rgb(code * _GOLDEN % 1.0, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_code_map(
    picture: np.ndarray,
    codes: np.ndarray,
    *,
    width: int,
    height: int,
    previous: np.ndarray | None = None,
) -> np.ndarray:
    """Tints each place of a picture by its code and writes the code's number there.

    Args:
        picture: ``(H, W, 3) uint8``.
        codes: ``(rows, columns) int``.
        width: pixels of the result from left to right.
        height: pixels of the result from top to bottom.
        previous: codes of the frame before; those that changed since then are framed.

    Returns:
        ``(height, width, 3) uint8``.
    """
    rows, columns = codes.shape
    colors = np.array([code_color(int(code)) for code in codes.flat], np.uint8)
    tint = cv2.resize(
        colors.reshape(rows, columns, 3), (width, height), interpolation=cv2.INTER_NEAREST
    )
    enlarged = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    image = Image.fromarray(((1 - _TINT) * enlarged + _TINT * tint).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    size = max(8, round(min(height / rows, width / columns) / 4))
    font = ImageFont.load_default(size)
    for (row, column), code in np.ndenumerate(codes):
        left, right = width * column // columns, width * (column + 1) // columns - 1
        top, bottom = height * row // rows, height * (row + 1) // rows - 1
        if previous is not None and previous[row, column] != code:
            draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline="white", width=2)
        middle = (left + right) / 2, (top + bottom) / 2
        draw.text(
            middle, str(code), "white", font, anchor="mm", stroke_width=1, stroke_fill="black"
        )
    return np.asarray(image)
