"""How well a vision sees: held-out figures, and a picture of what it makes of frames."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from wmrl.data.split import StoredEpisode
from wmrl.nn.losses import squared_error
from wmrl.vision.base import Vision

_BATCH = 128


def pick_frames(episodes: Sequence[StoredEpisode], *, count: int) -> np.ndarray:
    """Frames spread evenly over all episodes: ``(≤ count, H, W, 3) uint8``.

    Raises:
        ValueError: there are no episodes.
    """
    if not episodes:
        raise ValueError("episodes: expected at least one, got none")
    ends = np.cumsum([episode.summary.length + 1 for episode in episodes])
    places = np.unique(np.linspace(0, ends[-1] - 1, num=count, dtype=np.int64))
    owners = np.searchsorted(ends, places, side="right")
    frames = []
    for owner in np.unique(owners):
        store, summary = episodes[owner]
        within = places[owners == owner] - (ends[owner] - summary.length - 1)
        frames.append(store.frames(summary.index, 0, int(within[-1]) + 1)[within])
    return np.concatenate(frames)


@torch.inference_mode()
def vision_report(vision: Vision, frames: np.ndarray) -> dict[str, Any]:
    """Figures of a vision on frames that it was not trained on.

    Args:
        vision: the eye.
        frames: ``(N, H, W, 3) uint8``.

    Returns:
        ``frames`` N; ``squared_error``, summed over a frame's pixels in [0, 1], of what is decoded
        from its latent; ``latent_size`` Z; and the vision's own
        :meth:`~wmrl.vision.base.Vision.figures`.
    """
    errors = []
    for batch in _batches(vision, frames):
        decoded = vision.decode(vision.encode(batch))
        errors.append(squared_error(decoded.float() / 255.0, batch.float() / 255.0).cpu())
    return {
        "frames": len(frames),
        "squared_error": float(torch.cat(errors).mean()),
        "latent_size": vision.latent_size,
        **vision.figures(_batches(vision, frames)),
    }


@torch.inference_mode()
def comparison_picture(vision: Vision, frames: np.ndarray, *, scale: int = 2) -> np.ndarray:
    """Originals above their reconstructions, side by side.

    Args:
        vision: the eye.
        frames: ``(N, H, W, 3) uint8``.
        scale: how many pixels' width a pixel gets.

    Returns:
        ``(2 · H · scale, N · W · scale, 3) uint8``.
    """
    decoded = np.concatenate(
        [vision.decode(vision.encode(batch)).cpu().numpy() for batch in _batches(vision, frames)]
    )
    rows = [np.concatenate(list(row), 1) for row in (frames, decoded)]
    return np.concatenate(rows).repeat(scale, 0).repeat(scale, 1)


def _batches(vision: Vision, frames: np.ndarray) -> Iterator[torch.Tensor]:
    for start in range(0, len(frames), _BATCH):
        yield torch.from_numpy(frames[start : start + _BATCH]).to(vision.device)
