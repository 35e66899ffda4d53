"""Evaluation of vision models: held-out metrics and images of reconstructions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from wmrl.core.frames import as_rgb, newest_frames, stack_frames
from wmrl.data.split import StoredEpisode
from wmrl.nn.losses import squared_error
from wmrl.vision.base import Vision

_BATCH = 128
_LEARNED_SHARE = 0.95  # of the mean image's error, below which a model has learned something
_LEAST_PERPLEXITY = 2.0


def pick_frames(episodes: Sequence[StoredEpisode], *, count: int) -> np.ndarray:
    """Selects frames at even intervals over all episodes.

    Args:
        episodes: episodes to select from.
        count: maximum number of frames.

    Returns:
        Frames ``(N, H, W, C) uint8``. If the metadata of the episodes' store have a ``frame_stack``
        K above 1, each frame is stacked with its predecessors, ``(N, H, W, C · K) uint8``. N is
        ``count``, or the number of frames of all episodes if this number is below ``count``.

    Raises:
        ValueError: there are no episodes.
    """
    if not episodes:
        raise ValueError("episodes: expected at least one episode, got none")
    ends = np.cumsum([episode.summary.length + 1 for episode in episodes])
    places = np.unique(np.linspace(0, ends[-1] - 1, num=count, dtype=np.int64))
    owners = np.searchsorted(ends, places, side="right")
    frames = []
    for owner in np.unique(owners):
        store, summary = episodes[owner]
        within = places[owners == owner] - (ends[owner] - summary.length - 1)
        until = store.frames(summary.index, 0, int(within[-1]) + 1)
        frames.append(stack_frames(until, store.metadata.frame_stack, within))
    return np.concatenate(frames)


@torch.inference_mode()
def vision_report(vision: Vision, frames: np.ndarray) -> dict[str, Any]:
    """Computes metrics of a vision model on held-out frames.

    Args:
        vision: vision model to evaluate.
        frames: ``(N, *input_shape) uint8``, frames on which the model was not trained. If the model
            encodes stacks of frames, ``frames`` are N stacks, and the model reconstructs the newest
            frame of each stack.

    Returns:
        Metrics by name. ``frames`` is the number N of frames. ``squared_error`` is the squared
        error of the reconstructions, with pixel values in [0, 1]. This error is summed over the
        pixels of a frame and averaged over frames. ``mean_image_error`` is the same error if the
        mean of all frames is used as the reconstruction of each frame. A model whose
        ``squared_error`` is higher than ``mean_image_error`` has learned nothing.
        ``latent_dim`` is the number of latent dimensions. The other metrics are those of the
        model's method :meth:`~wmrl.nn.autoencoder.Autoencoder.metrics`.
    """
    errors = []
    for batch in _batches(vision, frames):
        decoded = vision.decode(vision.encode(batch))
        shown = newest_frames(batch, vision.frame_stack)
        errors.append(squared_error(decoded.float() / 255.0, shown.float() / 255.0).cpu())
    return {
        "frames": len(frames),
        "squared_error": float(torch.cat(errors).mean()),
        "mean_image_error": _mean_image_error(newest_frames(frames, vision.frame_stack)),
        "latent_dim": vision.latent_dim,
        **vision.metrics(_batches(vision, frames)),
    }


def vision_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Returns warnings, with advice, if a model learned nothing or its codebook collapsed.

    Args:
        metrics: result of :func:`vision_report`.

    Returns:
        One text per problem; an empty list if there is no problem.
    """
    found = []
    perplexity = metrics.get("perplexity")  # of the codes of a VQ-VAE
    error, trivial = metrics["squared_error"], metrics["mean_image_error"]
    # Without the margin, a model that shows the mean image with slight errors of the pixels would
    # sometimes seem to have learned something.
    if trivial > 0 and error > _LEARNED_SHARE * trivial:
        rest = "record more varied episodes, or try --pixel-variance calibrated or --kind vqvae"
        if perplexity is not None:
            rest = "or record more varied episodes"
        found.append(
            f"vision: expected reconstructions that are better than the mean image, got a squared "
            f"error of {error:.4g}, while that of the mean image is {trivial:.4g}: the model "
            "learned nothing about the differences between frames; train for more steps, crop the "
            f"frames so that moving objects appear larger, {rest}"
        )
    if perplexity is not None and perplexity < _LEAST_PERPLEXITY:
        found.append(
            f"vision: expected a codebook perplexity of at least {_LEAST_PERPLEXITY:g}, got "
            f"{perplexity:.2f}: the codebook collapsed to very few codes; train for more steps, "
            "with a warm-up (warmup_steps), or with --quantizer ema or fsq"
        )
    return found


@torch.inference_mode()
def comparison_image(vision: Vision, frames: np.ndarray, *, scale: int = 2) -> np.ndarray:
    """Renders an image with frames side by side and, below them, their reconstructions.

    Args:
        vision: vision model that reconstructs the frames.
        frames: ``(N, *input_shape) uint8``, color frames or gray frames. If they are stacks of
            frames, only the newest frame of each stack is drawn.
        scale: integer factor by which pixels are magnified.

    Returns:
        The image, ``(2 · H · scale, N · W · scale, 3) uint8``.
    """
    decoded = np.concatenate(
        [vision.decode(vision.encode(batch)).cpu().numpy() for batch in _batches(vision, frames)]
    )
    shown = newest_frames(frames, vision.frame_stack)
    rows = [np.concatenate(list(row), 1) for row in (shown, decoded)]
    return as_rgb(np.concatenate(rows)).repeat(scale, 0).repeat(scale, 1)


def _mean_image_error(frames: np.ndarray) -> float:
    """Computes the squared error if the mean of all frames is the prediction of each frame.

    Pixel values are in [0, 1]. The error is summed over the pixels of a frame and averaged over
    frames.
    """
    # In batches, since all frames as float64 may not fit into memory.
    total = np.zeros(frames.shape[1:])
    squares = np.zeros(frames.shape[1:])
    for start in range(0, len(frames), _BATCH):
        pixels = frames[start : start + _BATCH] / 255.0
        total += pixels.sum(0)
        squares += np.square(pixels).sum(0)
    variance = squares / len(frames) - np.square(total / len(frames))
    return float(variance.clip(0.0).sum())


def _batches(vision: Vision, frames: np.ndarray) -> Iterator[torch.Tensor]:
    for start in range(0, len(frames), _BATCH):
        yield torch.from_numpy(frames[start : start + _BATCH]).to(vision.device)
