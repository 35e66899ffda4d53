"""Episodes of a rollout store, their summaries, and the metadata of a store."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wmrl.core.action_spec import ActionSpec, as_action_spec
from wmrl.core.strict_json import json_text, jsonable
from wmrl.core.validation import check_finite, check_flag, check_int, check_lengths, check_name


@dataclass(frozen=True, kw_only=True)
class Episode:
    """An episode of T agent steps.

    Attributes:
        frames: first frame, and the frame after each agent step, ``(T + 1, H, W, C) uint8``.
        actions: action of each agent step, ``(T, *shape)``. The dtype is float32 for a ``Box``,
            int64 for a ``Discrete`` or ``MultiDiscrete``, and int8 for a ``MultiBinary`` space.
        rewards: reward of each agent step, ``(T,) float32``.
        terminated: True if the game ended, for example by the player's death.
        truncated: True if the episode was cut off although the game could have gone on. The reason
            is a limit, or that the goal of the episode was reached.
        info: JSON-serializable description of the episode's origin, such as seed and policy.
            :meth:`digest` covers this description, too.

    Raises:
        TypeError: JSON can't store ``info``.
        ValueError: an array has the wrong length, number of axes or dtype; an action, a reward or a
            number in ``info`` is NaN or infinite; or a flag is not a ``bool``.

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
        for name in ("frames", "actions", "rewards"):
            if not isinstance(getattr(self, name), np.ndarray):
                raise ValueError(
                    f"{name}: expected an array, got a {type(getattr(self, name)).__name__}"
                )
        count = len(self.rewards) if self.rewards.ndim else 0
        for name, dtypes, ndims, length in (
            ("frames", ("uint8",), (4,), count + 1),
            ("actions", ("float32", "int64", "int8"), (2, 1), count),
            ("rewards", ("float32",), (1,), count),
        ):
            array = getattr(self, name)
            if array.dtype not in dtypes:
                raise ValueError(f"{name}: expected dtype {' or '.join(dtypes)}, got {array.dtype}")
            if array.ndim not in ndims:
                raise ValueError(
                    f"{name}: expected a {' or '.join(f'{n}-dimensional' for n in ndims)} array, "
                    f"got shape {array.shape}"
                )
            if len(array) != length:
                raise ValueError(
                    f"{name}: expected length {length} for {count} rewards, got {len(array)}"
                )
        for name in ("actions", "rewards"):
            check_finite(name, getattr(self, name), advice="the first index is the agent step")
        for name in ("terminated", "truncated"):
            object.__setattr__(self, name, check_flag(name, getattr(self, name)))
        object.__setattr__(self, "info", jsonable(self.info, "info"))

    def __len__(self) -> int:
        return len(self.rewards)

    def digest(self) -> str:
        """Computes the SHA-256 of the episode's arrays, flags and ``info``.

        The digest does not depend on the storage format.
        """
        header = {
            "shapes": [list(array.shape) for array in (self.frames, self.actions)],
            "terminated": bool(self.terminated),
            "truncated": bool(self.truncated),
            "info": dict(self.info),
        }
        actions = self.actions.dtype.newbyteorder("<").str
        if actions != "<f4":  # digests of continuous actions are older than other actions
            header["actions"] = actions
        sha = hashlib.sha256(json_text(header, sort_keys=True).encode())
        for array, dtype in ((self.frames, "u1"), (self.actions, actions), (self.rewards, "<f4")):
            sha.update(np.ascontiguousarray(array, dtype=dtype).data)
        return sha.hexdigest()


@dataclass(frozen=True, kw_only=True)
class EpisodeSummary:
    """Summary of an episode: its entry in the index of a rollout store.

    Attributes:
        index: index of the episode in the store.
        length: T, the number of agent steps.
        reward: sum of the rewards.
        terminated: True if the game ended.
        truncated: True if the episode was cut off although the game could have gone on.
        digest: SHA-256 of the episode, computed by :meth:`Episode.digest`.
    """

    index: int
    length: int
    reward: float
    terminated: bool
    truncated: bool
    digest: str


@dataclass(frozen=True, kw_only=True)
class StoreMetadata:
    """Metadata that all episodes of a rollout store share.

    Attributes:
        task: name of the task.
        frame_shape: shape of a frame, ``(H, W, 3)`` or, if gray, ``(H, W, 1)``.
        action_space: description of the task's action space. A Gymnasium space is converted to such
            a description.
        frame_skip: number of base frames (frames of the game) per agent step.
        warmup_frames: number of base frames, at the start of each episode, in which no dream should
            start.
        start_window: number of agent steps. Dreams should start only in states that follow a
            positive reward within this number of steps; 0 for no such condition.
        frame_stack: number of successive frames that a vision model encodes together. The store
            always holds single frames; its method ``stacks`` stacks them.
        policy: JSON-serializable description of the policy, including its seed.

    Raises:
        TypeError: JSON can't store ``policy``.
        ValueError: ``frame_shape`` is neither ``(H, W, 3)`` nor ``(H, W, 1)``, ``task`` is empty, a
            number is out of range, or the action space is not supported.
    """

    task: str
    frame_shape: tuple[int, int, int]
    action_space: ActionSpec
    frame_skip: int
    warmup_frames: int = 0
    start_window: int = 0
    frame_stack: int = 1
    policy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("task", self.task)
        frame_shape = check_lengths("frame_shape", self.frame_shape)
        object.__setattr__(self, "frame_shape", frame_shape)
        # Converted to the form in which it is read from disk, so that equal policies compare equal.
        object.__setattr__(self, "policy", json.loads(json_text(self.policy)))
        if len(self.frame_shape) != 3 or self.frame_shape[2] not in (1, 3):
            raise ValueError(
                f"frame_shape: expected (H, W, 3) or (H, W, 1), got {self.frame_shape}"
            )
        object.__setattr__(self, "action_space", as_action_spec(self.action_space))
        frame_skip = check_int("frame_skip", self.frame_skip, at_least=1)
        object.__setattr__(self, "frame_skip", frame_skip)
        warmup_frames = check_int("warmup_frames", self.warmup_frames, at_least=0)
        object.__setattr__(self, "warmup_frames", warmup_frames)
        start_window = check_int("start_window", self.start_window, at_least=0)
        object.__setattr__(self, "start_window", start_window)
        frame_stack = check_int("frame_stack", self.frame_stack, at_least=1)
        object.__setattr__(self, "frame_stack", frame_stack)
