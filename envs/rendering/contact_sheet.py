"""Contact sheets: frames of several episodes in one image."""

from collections.abc import Sequence

import numpy as np

from wmrl.core.frames import as_rgb
from wmrl.core.validation import check_int


def draw_contact_sheet(
    rows: Sequence[Sequence[np.ndarray] | np.ndarray], *, scale: int = 1, gap: int = 2
) -> np.ndarray:
    """Draws frames in a grid, one row per episode; shorter rows are padded with background.

    Args:
        rows: one sequence of frames per row. A frame is ``(H, W, 3) uint8`` or, if gray,
            ``(H, W, 1) uint8``. All frames have the same shape.
        scale: integer factor by which frames are enlarged; pixels are repeated.
        gap: width of the background between frames, and around the grid, in pixels.

    Returns:
        The contact sheet, ``uint8``, with three color channels.

    Raises:
        ValueError: there are no frames, their shapes differ, a frame has the wrong shape or dtype,
            or ``scale`` is less than 1.
    """
    check_int("scale", scale, at_least=1)
    frames = [frame for row in rows for frame in row]
    if not frames:
        raise ValueError("rows: expected at least one frame, got none")
    shape = frames[0].shape
    for frame in frames:
        image = frame.ndim == 3 and frame.shape[2] in (1, 3) and frame.dtype == np.uint8
        if frame.shape != shape or not image:
            raise ValueError(
                f"rows: expected frames (H, W, 3) or (H, W, 1) uint8, all of the same shape, got "
                f"a frame {frame.shape} {frame.dtype}; the first frame has shape {shape}"
            )
    height, width = shape[0] * scale + gap, shape[1] * scale + gap
    sheet = np.full((height * len(rows) + gap, width * max(map(len, rows)) + gap, 3), 32, np.uint8)
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            top, left = y * height + gap, x * width + gap
            large = as_rgb(frame).repeat(scale, axis=0).repeat(scale, axis=1)
            sheet[top : top + len(large), left : left + large.shape[1]] = large
    return sheet
