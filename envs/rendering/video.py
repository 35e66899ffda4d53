"""Writing of video files: MP4, GIF and WebP."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from wmrl.core.frames import as_rgb
from wmrl.core.validation import check_float
from wmrl.storage.files import atomic_path

# One palette for the whole video and ordered dithering prevent flicker between frames.
_GIF_FILTER = "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=bayer"

_OPTIONS: dict[str, dict[str, Any]] = {
    ".mp4": {
        "codec": "libx264",
        "pix_fmt_out": "yuv420p",  # supported by every browser and player
        "output_params": ["-preset", "fast", "-movflags", "+faststart"],
    },
    ".gif": {
        "codec": "gif",
        "pix_fmt_out": "pal8",
        "output_params": ["-filter_complex", _GIF_FILTER, "-loop", "0"],
    },
    ".webp": {  # supported wherever GIFs are, at a sixth of the file size
        "codec": "libwebp_anim",
        "pix_fmt_out": "yuv420p",
        "output_params": ["-quality", "60", "-compression_level", "4", "-loop", "0"],
    },
}


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], *, fps: float = 25.0, crf: int = 20
) -> Path:
    """Writes a video frame by frame, so that memory use does not grow with its length.

    Args:
        path: path of the file. Its suffix ``.mp4``, ``.gif`` or ``.webp`` selects the format.
            Missing folders are created. An existing file is replaced once the new file is complete.
        frames: frames ``(H, W, 3) uint8`` or, if gray, ``(H, W, 1) uint8``, all of the same shape.
            An MP4 needs an even height and width, so the last row is repeated if H is odd, and the
            last column if W is odd.
        fps: frames per second.
        crf: constant rate factor of an MP4, 0 to 51; larger values give smaller files and coarser
            frames. It has no effect on other formats.

    Returns:
        The path of the file.

    Raises:
        ValueError: the suffix is unknown, ``fps`` or ``crf`` is out of range, there are no frames,
            or a frame has the wrong shape or dtype.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs.rendering import write_video
        >>> frames = (np.full((64, 64, 3), 10 * t, np.uint8) for t in range(20))
        >>> print(write_video("fade.mp4", frames, fps=10))
        fade.mp4
    """
    path = Path(path)
    check_video_path(path)
    check_float("fps", fps, above=0)
    check_float("crf", crf, at_least=0, at_most=51)
    checked = _checked(frames)
    first = next(checked, None)
    if first is None:
        raise ValueError("frames: expected at least one frame, got none")
    with atomic_path(path) as temporary:
        _write(temporary, chain([first], checked), fps=fps, crf=crf)
    return path


def check_video_path(path: str | Path) -> None:
    """Checks that a path has the suffix of a supported video format.

    Raises:
        ValueError: the suffix is not ``.mp4``, ``.gif`` or ``.webp``.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _OPTIONS:
        raise ValueError(f"path: expected a name ending in .mp4, .gif or .webp, got {path}")


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    shape: tuple[int, ...] | None = None
    for index, frame in enumerate(frames):
        if frame.ndim != 3 or frame.shape[2] not in (1, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"frames: expected (H, W, 3) or (H, W, 1) uint8, got {frame.shape} {frame.dtype} "
                f"at index {index}"
            )
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(
                f"frames: expected shape {shape} as at index 0, got {frame.shape} at index {index}"
            )
        yield as_rgb(frame)


def _write(path: Path, frames: Iterator[np.ndarray], *, fps: float, crf: int) -> None:
    suffix = path.suffix.lower()
    options = dict(_OPTIONS[suffix])
    if suffix == ".mp4":
        frames = map(_padded, frames)
        options["output_params"] = ["-crf", str(crf), *options["output_params"]]
    first = next(frames)
    writer = imageio_ffmpeg.write_frames(
        path.absolute(),  # ffmpeg would read "a:b.mp4" as an address, and "-b.mp4" as an option
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


def _padded(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    return np.pad(frame, [(0, height % 2), (0, width % 2), (0, 0)], "edge")
