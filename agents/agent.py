"""Agent: the seam between observations and actions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces

from wmrl.artifact import Artifact, load_artifact

State = tuple[np.ndarray, ...]


class Agent(ABC):
    """Anything that acts, with the signature of Stable-Baselines3's ``predict``.

    Attributes:
        observation_space: space of one observation.
        action_space: space of one action.
        eye: which eye it looks through, or empty: ``{"task": str, "vision": str, "memory": str |
            None, "vision_digest": str, "memory_digest": str | None, "frame_skip": int}``, where
            vision and memory are shipped names or paths.
    """

    class_name: ClassVar[str]
    observation_space: spaces.Box
    action_space: spaces.Box
    eye: Mapping[str, Any]

    @abstractmethod
    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Chooses actions.

        Args:
            observation: ``(O,)`` or ``(N, O) float32``.
            state: state of a recurrent agent; None at first, and for agents without one.
            episode_start: ``(N,) bool``, which rows begin an episode.
            deterministic: act without exploration noise.

        Returns:
            Actions ``(A,)`` or ``(N, A) float32``, and the next state.
        """

    @abstractmethod
    def save(
        self,
        path: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        card: str | None = None,
    ) -> str:
        """Writes an artifact of kind ``"agent"`` and returns its digest."""

    @classmethod
    @abstractmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores from an artifact that was read."""

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Opens a saved agent of this class."""
        return cls.from_artifact(load_artifact(name_or_path, kind="agent"))

    def to(self, device: str | torch.device) -> Self:
        """Moves what it computes with to a device; observations and actions stay NumPy arrays."""
        return self

    def observation_rows(self, observation: np.ndarray) -> np.ndarray:
        """An observation ``(O,)`` or ``(N, O)`` as rows ``(N, O) float32``, contiguous.

        Raises:
            ValueError: it has another shape.
        """
        rows = np.ascontiguousarray(observation, np.float32)
        size = self.observation_space.shape[0]
        if rows.ndim not in (1, 2) or rows.shape[-1] != size:
            raise ValueError(
                f"observation: expected shape ({size},) or (N, {size}), got {rows.shape}; is the "
                "environment's memory the one that this agent was trained with?"
            )
        return rows.reshape(-1, size)
