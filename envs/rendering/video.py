"""Videos: frames to an MP4, GIF or WebP file, whole or not at all."""

import os
import secrets
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

# One palette for the whole film, and an ordered dither, which doesn't flicker between frames.
_GIF_FILTER = "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=bayer"

_OPTIONS: dict[str, dict[str, Any]] = {
    ".mp4": {
        "codec": "libx264",
        "pix_fmt_out": "yuv420p",  # the one that every browser and player shows
        "output_params": ["-preset", "fast", "-movflags", "+faststart"],
    },
    ".gif": {
        "codec": "gif",
        "pix_fmt_out": "pal8",
        "output_params": ["-filter_complex", _GIF_FILTER, "-loop", "0"],
    },
    ".webp": {  # plays wherever pictures are shown, as a GIF does, at a sixth of its size
        "codec": "libwebp_anim",
        "pix_fmt_out": "yuv420p",
        "output_params": ["-quality", "60", "-compression_level", "4", "-loop", "0"],
    },
}


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], *, fps: float = 25.0, crf: int = 20
) -> Path:
    """Writes frames as they come, so that a film of any length needs little memory.

    Args:
        path: where to; its suffix, ``.mp4``, ``.gif`` or ``.webp``, chooses the format. Missing
            folders are made. The file appears when it is complete, in place of one that is there
            already.
        frames: ``(H, W, 3) uint8`` each, all of one shape. Where H or W is odd, an MP4 repeats
            the last row or column, since its colours are kept for 2 × 2 pixels.
        fps: frames a second.
        crf: constant rate factor of an MP4, 0 to 51: the higher, the smaller and the coarser.

    Returns:
        The path.

    Raises:
        ValueError: the suffix is unknown, ``fps`` or ``crf`` is out of range, there are no frames,
            or one has another shape or dtype than it should.
    """
    path = Path(path)
    check_video_path(path)
    if not fps > 0:
        raise ValueError(f"fps: expected a positive number, got {fps}")
    if not 0 <= crf <= 51:
        raise ValueError(f"crf: expected 0 to 51, got {crf}")
    checked = _checked(frames)
    first = next(checked, None)
    if first is None:
        raise ValueError("frames: expected at least one frame, got none")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        _write(aside, chain([first], checked), fps=fps, crf=crf)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def check_video_path(path: str | Path) -> None:
    """Raises ``ValueError`` unless the path's suffix is a format that can be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in _OPTIONS:
        raise ValueError(f"path: expected a name ending in .mp4, .gif or .webp, got {path}")


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    shape: tuple[int, ...] | None = None
    for index, frame in enumerate(frames):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(
                f"frames: expected (H, W, 3) uint8, got {frame.shape} {frame.dtype} at {index}"
            )
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(f"frames: expected {shape} as the first, got {frame.shape} at {index}")
        yield frame


def _write(path: Path, frames: Iterator[np.ndarray], *, fps: float, crf: int) -> None:
    suffix = path.suffix.lower()
    options = dict(_OPTIONS[suffix])
    if suffix == ".mp4":
        frames = map(_padded, frames)
        options["output_params"] = ["-crf", str(crf), *options["output_params"]]
    first = next(frames)
    writer = imageio_ffmpeg.write_frames(
        path,
        (first.shape[1], first.shape[0]),
        fps=fps,
        quality=None,
        macro_block_size=1,
        ffmpeg_log_level="error",
        **options,
    )
    writer.send(None)  # starts the generator
    try:
        for frame in chain([first], frames):
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()  # waits for the encoder
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _padded(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    return np.pad(frame, [(0, height % 2), (0, width % 2), (0, 0)], "edge")
