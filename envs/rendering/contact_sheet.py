"""Contact sheets: many frames of several episodes in one picture."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def draw_contact_sheet(
    rows: Sequence[Sequence[np.ndarray] | np.ndarray], *, scale: int = 1, gap: int = 2
) -> np.ndarray:
    """Frames in a grid, a row for each episode; short rows end in background.

    Args:
        rows: for each row, frames ``(H, W, 3) uint8``, all of one shape.
        scale: each pixel becomes a square of so many.
        gap: background pixels between frames.

    Returns:
        The picture, ``(…, …, 3) uint8``.

    Raises:
        ValueError: there are no frames, or one has another shape or dtype, or ``scale`` < 1.
    """
    if scale < 1:
        raise ValueError(f"scale: expected at least 1, got {scale}")
    frames = [frame for row in rows for frame in row]
    if not frames:
        raise ValueError("rows: expected at least one frame, got none")
    shape = frames[0].shape
    for frame in frames:
        if frame.shape != shape or frame.ndim != 3 or frame.dtype != np.uint8:
            raise ValueError(
                f"rows: expected frames (H, W, 3) uint8 of one shape, got {frame.dtype} of "
                f"{frame.shape} beside {shape}"
            )
    height, width = shape[0] * scale + gap, shape[1] * scale + gap
    sheet = np.full((height * len(rows) + gap, width * max(map(len, rows)) + gap, 3), 32, np.uint8)
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            top, left = y * height + gap, x * width + gap
            large = frame.repeat(scale, axis=0).repeat(scale, axis=1)
            sheet[top : top + len(large), left : left + large.shape[1]] = large
    return sheet


def write_picture(path: str | Path, picture: np.ndarray) -> Path:
    """Writes ``(H, W, 3) uint8`` as a PNG, whole or not at all; missing folders are made.

    Raises:
        ValueError: ``path`` doesn't end in ``.png``.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path: expected a name ending in .png, got {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.png")
    try:
        Image.fromarray(picture).save(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path
