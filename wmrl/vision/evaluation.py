"""Evaluation of vision models: held-out metrics and images of reconstructions."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from wmrl.data.split import StoredEpisode
from wmrl.nn.losses import squared_error
from wmrl.vision.base import Vision

_BATCH = 128


def pick_frames(episodes: Sequence[StoredEpisode], *, count: int) -> np.ndarray:
    """Selects frames at even intervals over all episodes.

    Args:
        episodes: episodes to select from.
        count: maximum number of frames.

    Returns:
        Frames ``(N, H, W, 3) uint8``. N is ``count``, or the number of all frames if that is
        less.

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
    """Computes metrics of a vision model on held-out frames.

    Args:
        vision: vision model to evaluate.
        frames: ``(N, H, W, C) uint8``, frames on which the model was not trained.

    Returns:
        Metrics by name. ``frames`` is the number N of frames. ``squared_error`` is the squared
        error of the reconstructions, summed over the pixels of a frame (in [0, 1]) and averaged
        over frames. ``latent_dim`` is the number of latent dimensions. The other metrics are those
        of the model's method :meth:`~wmrl.nn.autoencoder.Autoencoder.metrics`.
    """
    errors = []
    for batch in _batches(vision, frames):
        decoded = vision.decode(vision.encode(batch))
        errors.append(squared_error(decoded.float() / 255.0, batch.float() / 255.0).cpu())
    return {
        "frames": len(frames),
        "squared_error": float(torch.cat(errors).mean()),
        "latent_dim": vision.latent_dim,
        **vision.metrics(_batches(vision, frames)),
    }


@torch.inference_mode()
def comparison_image(vision: Vision, frames: np.ndarray, *, scale: int = 2) -> np.ndarray:
    """Renders an image with frames side by side and, below them, their reconstructions.

    Args:
        vision: vision model that reconstructs the frames.
        frames: ``(N, H, W, 3) uint8``.
        scale: integer factor by which pixels are magnified.

    Returns:
        The image, ``(2 · H · scale, N · W · scale, 3) uint8``.
    """
    decoded = np.concatenate(
        [vision.decode(vision.encode(batch)).cpu().numpy() for batch in _batches(vision, frames)]
    )
    rows = [np.concatenate(list(row), 1) for row in (frames, decoded)]
    return np.concatenate(rows).repeat(scale, 0).repeat(scale, 1)


def _batches(vision: Vision, frames: np.ndarray) -> Iterator[torch.Tensor]:
    for start in range(0, len(frames), _BATCH):
        yield torch.from_numpy(frames[start : start + _BATCH]).to(vision.device)
