"""Code maps: images divided into cells, with a discrete code written into each cell."""

import colorsys

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wmrl.core.frames import as_rgb

_GOLDEN = 0.6180339887498949
_TINT = 0.4


def code_color(code: int) -> tuple[int, int, int]:
    """Returns a color ``(red, green, blue)`` for a code; consecutive codes get distant hues."""
    red, green, blue = colorsys.hsv_to_rgb(code * _GOLDEN % 1.0, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_code_map(
    image: np.ndarray,
    codes: np.ndarray,
    *,
    width: int,
    height: int,
    previous: np.ndarray | None = None,
) -> np.ndarray:
    """Draws the discrete codes of a frame over an image.

    The image is divided into a grid of cells, one per code. Each cell is tinted in the color of its
    code, and the code is written into the cell.

    Args:
        image: ``(H, W, 3) uint8`` or, if gray, ``(H, W, 1) uint8``, usually the frame that was
            decoded from the codes.
        codes: ``(rows, columns) int``, the code of each cell.
        width: width of the result in pixels.
        height: height of the result in pixels.
        previous: ``(rows, columns) int``, codes of the previous frame. Cells whose code has changed
            since then get a white outline. If None, there are no outlines.

    Returns:
        ``(height, width, 3) uint8``.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs.rendering import draw_code_map
        >>> image = np.zeros((64, 64, 3), np.uint8)
        >>> codes = np.array([[17, 4], [250, 4]])
        >>> draw_code_map(image, codes, width=320, height=240).shape
        (240, 320, 3)
    """
    rows, columns = codes.shape
    colors = np.array([code_color(int(code)) for code in codes.flat], np.uint8)
    tint = cv2.resize(
        colors.reshape(rows, columns, 3), (width, height), interpolation=cv2.INTER_NEAREST
    )
    enlarged = cv2.resize(as_rgb(image), (width, height), interpolation=cv2.INTER_LINEAR)
    canvas = Image.fromarray(((1 - _TINT) * enlarged + _TINT * tint).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
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
    return np.asarray(canvas)
