"""Encoding of rollout stores as latents, and random batches of encoded episodes."""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors

from wmrl.core.hashing import tensors_digest
from wmrl.core.seeding import numpy_generator, torch_generator
from wmrl.core.validation import check_int
from wmrl.data.split import StoredEpisode
from wmrl.data.store import RolloutStore
from wmrl.memory.sequences import SequenceBatch
from wmrl.storage.files import remove_unfinished, write_bytes
from wmrl.storage.locks import file_lock
from wmrl.training.progress import progress_bar
from wmrl.vision.base import Vision

_FORMAT_VERSION = 2  # version 1 had no checksums
_BATCH_SIZE = 256


@dataclass(frozen=True)
class LatentEpisode:
    """Episode of T agent steps, encoded by a vision model.

    Attributes:
        mean: ``(T + 1, Z) float16``, posterior means of the frames' latents.
        std: ``(T + 1, Z) float16``, standard deviations of these posteriors.
        actions: ``(T, A) float32``, encoded action of each agent step.
        rewards: ``(T,) float32``, in the task's units.
        terminated: True if the last agent step terminated the episode.
    """

    mean: torch.Tensor
    std: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    terminated: bool

    def __len__(self) -> int:
        """Returns T, the number of agent steps."""
        return len(self.rewards)


def encode_store(
    store: RolloutStore, vision: Vision, *, batch_size: int = _BATCH_SIZE, progress: bool = False
) -> Path:
    """Encodes the episodes of a rollout store with a vision model.

    Episodes that this model has already encoded are skipped, so that an interrupted call can be
    repeated. Files that are damaged are encoded again. Only one episode at a time is loaded. If
    another process encodes the store with the same model, the call waits for that process. The
    paths of the written files contain the digests of the vision model and the episode, so that
    different encodings are never confused.

    Args:
        store: rollout store with the episodes.
        vision: vision model that has been saved, or loaded from an artifact.
        batch_size: number of frames that are encoded in one batch.
        progress: True to show a progress bar.

    Returns:
        The folder of the encodings, ``latents/<digest>`` in the store's folder. The digest is that
        of the vision model, shortened to 16 characters.

    Raises:
        ValueError: the vision model was never saved, or the frames of the store have a shape or a
            ``frame_stack`` that the vision model does not encode.
        StoreError: an episode can't be read.
    """
    folder = _folder(store, vision)
    if not _missing(store, vision):
        return folder  # also if nothing can be written there
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(_lock(store, vision), required=False):
        remove_unfinished(folder)
        missing = _missing(store, vision)  # another process may have encoded some meanwhile
        total = len(missing)
        with progress_bar("encoding", total=total, show=progress, unit="episodes") as advance:
            for done, episode in enumerate(missing, start=1):
                _encode_episode(episode, vision, batch_size)
                advance(done)
    return folder


def load_latents(episodes: Sequence[StoredEpisode], vision: Vision) -> list[LatentEpisode]:
    """Loads the latents of episodes.

    An episode is encoded first if :func:`encode_store` has not encoded it yet, or if the file of
    its latents is damaged.

    Args:
        episodes: stored episodes.
        vision: vision model that encodes the episodes.

    Raises:
        ValueError: the vision model was never saved, or the frames of an episode have a shape or a
            ``frame_stack`` that the vision model does not encode.
        StoreError: an episode can't be read.
    """
    return [_load(episode, vision) for episode in episodes]


class LatentDataset:
    """Dataset that draws batches of random windows from encoded episodes.

    A window consists of L consecutive transitions of one episode. If a window would start before
    the episode, the window is shifted to the start. If it extends beyond the end, it is padded. The
    end of a long episode is therefore at any of the L transitions with the same probability, so
    that a memory can't predict it by counting. Transitions near the start are drawn more often than
    the others. For each batch, latents are drawn anew from their posteriors (μ, σ). The batch of a
    training step depends only on the data, the seed and the step.

    Args:
        episodes: encoded episodes, each of at least one agent step.
        length: L, number of transitions in a window.
        batch_size: B, number of windows in a batch.
        seed: root seed from which windows and latents are drawn.
        device: device of the data and the batches.

    Raises:
        ValueError: there are no episodes, or ``length`` or ``batch_size`` is below 1.
    """

    def __init__(
        self,
        episodes: Sequence[LatentEpisode],
        *,
        length: int,
        batch_size: int,
        seed: int,
        device: str | torch.device = "cpu",
    ) -> None:
        if not episodes:
            raise ValueError("episodes: expected at least one, got none")
        self.length = check_int("length", length, at_least=1)
        self.batch_size = check_int("batch_size", batch_size, at_least=1)
        self._seed = seed
        self._device = torch.device(device)
        self._lengths = np.array([len(episode) for episode in episodes])
        self._ends = np.cumsum(self._lengths + length - 1)  # cumulative number of window starts
        self._offsets = np.concatenate(([0], np.cumsum(self._lengths + 1)[:-1]))
        self._mean = torch.cat([episode.mean for episode in episodes]).to(device)
        self._std = torch.cat([episode.std for episode in episodes]).to(device)
        # A blank row after each episode, so that its actions and latents have the same row indices.
        blank = torch.zeros(1, episodes[0].actions.shape[1])
        actions = [part for episode in episodes for part in (episode.actions, blank)]
        rewards = [part for episode in episodes for part in (episode.rewards, blank[:, 0])]
        self._actions = torch.cat(actions).to(device)
        self._rewards = torch.cat(rewards).to(device)
        ended = np.zeros(len(self._rewards), dtype=np.bool_)
        ended[self._offsets + self._lengths - 1] = [episode.terminated for episode in episodes]
        self._terminated = torch.from_numpy(ended).to(device)

    def __len__(self) -> int:
        """Returns the total number of transitions."""
        return int(self._lengths.sum())

    def batch(self, step: int) -> SequenceBatch:
        """Returns the batch for the training step with index ``step``."""
        generator = numpy_generator(self._seed, "windows", step)
        return self._windows(*self._draw(generator), step)

    def _draw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws B random windows.

        Returns:
            Two arrays ``(B,) int64``: the index of each window's episode, and the index of the
            window's first agent step, counted from the start of that episode.
        """
        places = generator.integers(self._ends[-1], size=self.batch_size)
        episode = np.searchsorted(self._ends, places, side="right")
        length = self._lengths[episode]
        start = places - (self._ends[episode] - length)  # −(L − 1) … T − 1
        # If windows did not extend beyond the end, long episodes would end only at the last step of
        # a window, and the memory would learn to count the steps since its state was empty.
        return episode, np.maximum(start, 0)

    def _windows(self, episode: np.ndarray, start: np.ndarray, step: int) -> SequenceBatch:
        within = start[:, None] + np.arange(self.length + 1)  # (B, L + 1)
        length = self._lengths[episode][:, None]
        rows = torch.from_numpy(self._offsets[episode][:, None] + np.minimum(within, length))
        rows = rows.to(self._device)
        mean, std = self._mean[rows].float(), self._std[rows].float()
        generator = torch_generator(self._seed, "latents", step, device=self._device)
        noise = torch.randn(mean.shape, generator=generator, device=self._device)
        return SequenceBatch(
            latents=torch.addcmul(mean, std, noise),
            actions=self._actions[rows[:, :-1]],
            rewards=self._rewards[rows[:, :-1]],
            terminated=self._terminated[rows[:, :-1]],
            mask=torch.from_numpy(within[:, :-1] < length).to(self._device),
        )


def _folder(store: RolloutStore, vision: Vision) -> Path:
    if vision.digest is None:
        raise ValueError(
            "vision: expected a saved vision model, got one that was never saved; save it first "
            "with vision.save(path)"
        )
    return store.path / "latents" / vision.digest[:16]


def _lock(store: RolloutStore, vision: Vision) -> Path:
    folder = _folder(store, vision)
    return folder.with_name(f"{folder.name}.lock")


def _file(episode: StoredEpisode, vision: Vision) -> Path:
    summary = episode.summary
    name = f"{summary.index:08d}-{summary.digest[:16]}.safetensors"
    return _folder(episode.store, vision) / name


def _missing(store: RolloutStore, vision: Vision) -> list[StoredEpisode]:
    """Lists the episodes whose encodings by a vision model are missing or damaged."""
    episodes = [StoredEpisode(store, summary) for summary in store.summaries]
    return [episode for episode in episodes if not _is_encoded(episode, vision)]


def _is_encoded(episode: StoredEpisode, vision: Vision) -> bool:
    try:
        _read(episode, vision)
    except (OSError, ValueError):
        return False
    return True


def _encode_episode(episode: StoredEpisode, vision: Vision, batch_size: int) -> None:
    store, summary = episode
    vision.check_store(store)
    mean, std = zip(*_posteriors(episode, vision, batch_size), strict=True)
    tensors = {
        "mean": torch.cat(mean),
        "std": torch.cat(std),
        "actions": torch.from_numpy(store.actions(summary.index)),
        "rewards": torch.from_numpy(store.rewards(summary.index)),
    }
    # A single entry: the order of several ones differs from call to call.
    metadata = {"sha256": _checksum(tensors, episode, vision)}
    write_bytes(_file(episode, vision), save_safetensors(tensors, metadata))


def _checksum(tensors: dict[str, torch.Tensor], episode: StoredEpisode, vision: Vision) -> str:
    """Computes the checksum of an episode's encoding.

    The SHA-256 covers the tensors, the version of the file format, and the digests of the episode
    and the vision model.
    """
    return tensors_digest(tensors, f"{_FORMAT_VERSION} {episode.summary.digest} {vision.digest}")


def _posteriors(
    episode: StoredEpisode, vision: Vision, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields the posterior means and standard deviations of an episode's frames, in batches."""
    store, summary = episode
    count = summary.length + 1
    for start in range(0, count, batch_size):
        frames = store.stacks(summary.index, start, min(start + batch_size, count))
        with torch.inference_mode():
            mean, std = vision.posterior(torch.from_numpy(frames).to(vision.device))
        yield mean.half().cpu(), std.half().cpu()


def _load(episode: StoredEpisode, vision: Vision) -> LatentEpisode:
    try:
        return _read(episode, vision)
    except (OSError, ValueError):
        _folder(episode.store, vision).mkdir(parents=True, exist_ok=True)
        with file_lock(_lock(episode.store, vision), required=False):
            if not _is_encoded(episode, vision):  # by another process in the meantime
                _encode_episode(episode, vision, _BATCH_SIZE)
        return _read(episode, vision)


def _read(episode: StoredEpisode, vision: Vision) -> LatentEpisode:
    """Reads and verifies the latents of an episode.

    Raises:
        OSError: there is no file, or it can't be read.
        ValueError: the file is damaged, or has another format.
    """
    file = _file(episode, vision)
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError(f"{file}: expected a regular file, got a folder or a special file")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file}: damaged ({error})") from error
    if metadata.get("sha256") != _checksum(tensors, episode, vision):
        raise ValueError(f"{file}: damaged (its SHA-256 differs from the recorded one)")
    actions = episode.store.metadata.action_space.encode(tensors.pop("actions").numpy())
    return LatentEpisode(
        **tensors, actions=torch.from_numpy(actions), terminated=episode.summary.terminated
    )
