"""Episodes, as a rollout store keeps them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode, T decisions long.

    Attributes:
        frames: ``(T + 1, H, W, 3) uint8``, from the first to the one after the last decision.
        actions: ``(T, A) float32``.
        rewards: ``(T,) float32``.
        terminated: the game ended it for good, as by death.
        truncated: a limit cut it short, or its goal was reached: what follows would be worth
            something still.
        info: JSON-able facts of how it came about: seed, policy, …; part of the hash.
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
        """SHA-256 of all that the episode holds, whatever the chunks that keep it."""
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
    """What the index knows of an episode.

    Attributes:
        index: its number.
        length: T, the number of decisions.
        reward: sum of its rewards.
        terminated: the game ended.
        truncated: a limit cut it short.
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
    """What all episodes of a store have in common.

    Attributes:
        task: name of the task.
        frame_shape: ``(H, W, 3)``.
        action_size: A.
        frame_skip: base frames that a decision lasts.
        warmup_frames: base frames at an episode's beginning in which no dream may start.
        policy: JSON-able description of what drove, and from which seed.
    """

    task: str
    frame_shape: tuple[int, int, int]
    action_size: int
    frame_skip: int
    warmup_frames: int = 0
    policy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame_shape", tuple(self.frame_shape))
        # As it will come back from disk, so that equal descriptions compare equal.
        object.__setattr__(self, "policy", json.loads(json.dumps(dict(self.policy))))
        if len(self.frame_shape) != 3 or self.frame_shape[2] != 3:
            raise ValueError(f"frame_shape: expected (H, W, 3), got {self.frame_shape}")
        for name in ("action_size", "frame_skip"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
