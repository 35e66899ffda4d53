"""Agent: the seam between observations and actions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces

from wmrl.core.device import resolve_device
from wmrl.storage.artifact import Artifact, ArtifactError, load_artifact

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


# Where each class of agent lives; a new one is added here.
_CLASSES = {
    "ControllerAgent": "wmrl.agents.controller",
    "PosteriorAgent": "wmrl.agents.policy_search.posterior_agent",
    "SB3Agent": "wmrl.agents.sb3.agent",
}


def load_agent(name_or_path: str | Path, device: str | torch.device = "auto") -> Agent:
    """Opens an agent by shipped name or path.

    Args:
        name_or_path: a shipped agent's name, or the folder that ``Agent.save`` wrote.
        device: where it computes. ``"auto"`` is the CPU: controllers and small policies are
            faster there, since a step's work is less than the way to an accelerator.

    Raises:
        ArtifactError: it is missing, damaged, no agent, or of a class that is not known.
        ValueError: there is no such device.
    """
    target = torch.device("cpu") if device == "auto" else resolve_device(device)
    artifact = load_artifact(name_or_path, kind="agent")
    if artifact.class_name not in _CLASSES:
        raise ArtifactError(
            f"{artifact.path}: unknown agent class {artifact.class_name!r}; "
            f"expected one of {sorted(_CLASSES)}"
        )
    cls = getattr(import_module(_CLASSES[artifact.class_name]), artifact.class_name)
    agent: Agent = cls.from_artifact(artifact)
    return agent.to(target)


Evaluator = Callable[[Agent], Mapping[str, float]]
"""From an agent to named scores, for curves; its seeds take no part in training."""
