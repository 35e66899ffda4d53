"""Episodes and their metadata, as a rollout store keeps them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wmrl.core.validation import check_int


@dataclass(frozen=True, kw_only=True)
class Episode:
    """An episode of T agent steps.

    Attributes:
        frames: ``(T + 1, H, W, 3) uint8``, from before the first agent step to after the last.
        actions: ``(T, A) float32``.
        rewards: ``(T,) float32``.
        terminated: the game ended, as by death.
        truncated: the episode was cut off by a limit or because its goal was reached, so that
            further rewards would have been possible.
        info: JSON-able description of its origin (seed, policy, …); part of the digest.

    Raises:
        ValueError: an array has another length, number of axes or dtype.

    Example:
        >>> import numpy as np
        >>> from wmrl.data import Episode
        >>> episode = Episode(
        ...     frames=np.zeros((4, 64, 64, 3), np.uint8),
        ...     actions=np.zeros((3, 2), np.float32),
        ...     rewards=np.array([0.0, 1.0, 0.5], np.float32),
        ...     terminated=True,
        ...     truncated=False,
        ...     info={"seed": 7},
        ... )
        >>> len(episode), episode.digest()[:8]
        (3, '1a98f21c')
    """

    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.rewards)
        for name, dtype, ndim, length in (
            ("frames", np.uint8, 4, count + 1),
            ("actions", np.float32, 2, count),
            ("rewards", np.float32, 1, count),
        ):
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != ndim or len(array) != length:
                raise ValueError(
                    f"{name}: expected {length} rows, {ndim} axes and {np.dtype(dtype)}, got "
                    f"{array.dtype} of shape {array.shape}"
                )

    def __len__(self) -> int:
        return len(self.rewards)

    def digest(self) -> str:
        """Computes the SHA-256 of the whole episode, however it is chunked on disk."""
        header = {
            "shapes": [list(array.shape) for array in (self.frames, self.actions)],
            "terminated": bool(self.terminated),
            "truncated": bool(self.truncated),
            "info": dict(self.info),
        }
        sha = hashlib.sha256(json.dumps(header, sort_keys=True, allow_nan=False).encode())
        for array, dtype in ((self.frames, "u1"), (self.actions, "<f4"), (self.rewards, "<f4")):
            sha.update(np.ascontiguousarray(array, dtype=dtype).data)
        return sha.hexdigest()


@dataclass(frozen=True, kw_only=True)
class EpisodeSummary:
    """Entry of a store's index.

    Attributes:
        index: number of the episode.
        length: T, the number of agent steps.
        reward: sum of the rewards.
        terminated: whether the game ended.
        truncated: whether the episode was cut off.
        digest: :meth:`Episode.digest`.
    """

    index: int
    length: int
    reward: float
    terminated: bool
    truncated: bool
    digest: str


@dataclass(frozen=True, kw_only=True)
class StoreMetadata:
    """Metadata that all episodes of a store share.

    Attributes:
        task: name of the task.
        frame_shape: ``(H, W, 3)``.
        action_dim: A.
        frame_skip: base frames per agent step.
        warmup_frames: base frames at the start of an episode in which no dream may start.
        policy: JSON-able description of the policy and its seed.

    Raises:
        ValueError: the frame shape is not ``(H, W, 3)``, or a number is less than 1.
    """

    task: str
    frame_shape: tuple[int, int, int]
    action_dim: int
    frame_skip: int
    warmup_frames: int = 0
    policy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame_shape", tuple(self.frame_shape))
        # As it is read back from disk, so that equal descriptions compare equal.
        object.__setattr__(self, "policy", json.loads(json.dumps(dict(self.policy))))
        if len(self.frame_shape) != 3 or self.frame_shape[2] != 3:
            raise ValueError(f"frame_shape: expected (H, W, 3), got {self.frame_shape}")
        for name in ("action_dim", "frame_skip"):
            check_int(name, getattr(self, name), at_least=1)
