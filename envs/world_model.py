"""World model: a vision and a memory, checked against each other and against a task."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces

from wmrl.core.device import resolve_device
from wmrl.core.validation import check_int
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.memory.base import Memory, load_memory, matching_memory
from wmrl.storage.artifact import ArtifactError
from wmrl.vision.base import Vision, load_vision

# Latents and hidden states have no bounds, but environment checkers warn of infinite ones.
BOUND = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class WorldModel:
    """Task, vision and memory, through which an agent observes a game or dreams it.

    Attributes:
        task: task whose frames the vision encodes.
        vision: encodes frames to latents.
        memory: summarizes the past and predicts the next latents, or None.
        frame_skip: base frames of one agent step.

    Raises:
        ArtifactError: vision, memory and task don't fit together.
        ValueError: ``frame_skip`` is below 1.
    """

    task: Task
    vision: Vision
    memory: Memory[Any] | None
    frame_skip: int

    def __post_init__(self) -> None:
        check_int("frame_skip", self.frame_skip, at_least=1)
        if self.vision.frame_shape[:2] != self.task.frame_size:
            raise ArtifactError(
                f"vision: expected frames of size {self.task.frame_size}, those of the task "
                f"{self.task.name!r}, got {self.vision.frame_shape[:2]}; use a vision that was "
                "trained on this task"
            )
        if self.memory is not None:
            self._check_memory(self.memory)

    def _check_memory(self, memory: Memory[Any]) -> None:
        memory.check_vision(self.vision.digest)
        for name, expected, got in (
            ("task", self.task.name, memory.config.task),
            ("action_dim", self.task.action_dim, memory.action_dim),
            ("latent_dim", self.vision.latent_dim, memory.latent_dim),
        ):
            if expected != got:
                raise ArtifactError(
                    f"memory: expected {name} {expected!r}, got {got!r}; use a memory that was "
                    "trained on this task and vision"
                )

    @classmethod
    def open(
        cls,
        task: Task | str,
        vision: Vision | str | Path,
        memory: Memory[Any] | str | Path | None,
        *,
        frame_skip: int | None = None,
        device: str | torch.device = "auto",
    ) -> Self:
        """Opens a world model from names, paths or objects.

        Args:
            task: task or its name.
            vision: name of a shipped artifact, path, or object (which is put in evaluation mode).
            memory: the same, or None; ``"auto"`` for the shipped memory of the vision.
            frame_skip: base frames of one agent step; None for the memory's, or the task's own
                without a memory.
            device: device of the models; with ``"auto"``, objects stay where they are.

        Raises:
            ArtifactError: an artifact is missing, damaged, or does not fit the others.
            ValueError: there is no such task or device, or ``frame_skip`` is below 1.

        Example:
            >>> from wmrl.envs import WorldModel
            >>> world_model = WorldModel.open("car-racing", "car-racing-vae", "auto", device="cpu")
            >>> world_model.observation_space.shape  # latent and hidden state
            (288,)
            >>> world_model.frame_skip, world_model.fps
            (4, 12.5)
        """
        task = find_task(task)
        if isinstance(vision, str | Path):
            vision = load_vision(vision, device=device)
        elif device != "auto":
            vision = vision.to(resolve_device(device))
        if memory == "auto":
            memory = matching_memory(vision.digest)
        if isinstance(memory, str | Path):
            memory = load_memory(memory, device=vision.device)
        elif memory is not None:
            memory = memory.to(vision.device).eval()
        if frame_skip is None:
            frame_skip = task.frame_skip if memory is None else memory.config.frame_skip
        return cls(task, vision.eval(), memory, frame_skip)

    @property
    def device(self) -> torch.device:
        """Device of the models."""
        return self.vision.device

    @property
    def action_space(self) -> spaces.Box:
        """Space of one action, the task's."""
        return self.task.action_space

    @cached_property
    def observation_space(self) -> spaces.Box:
        """Space of one observation: ``(Z,)``, or ``(Z + H,)`` with a memory, float32."""
        size = self.vision.latent_dim + (self.memory.feature_dim if self.memory else 0)
        return spaces.Box(-BOUND, BOUND, (size,), np.float32)

    @property
    def fps(self) -> float:
        """Agent steps per second of game time, for videos and windows."""
        return self.task.fps / self.frame_skip

    def clip(self, actions: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
        """Checks actions and clips them to the action space, for both game and memory.

        Args:
            actions: ``(*batch, A)`` numbers.
            batch: expected leading axes.

        Returns:
            ``(*batch, A) float32``.

        Raises:
            ValueError: the shape is another, or a number is NaN.
        """
        actions = np.asarray(actions, dtype=np.float32)
        expected = (*batch, *self.action_space.shape)
        if actions.shape != expected:
            raise ValueError(f"action: expected shape {expected}, got {actions.shape}")
        clipped: np.ndarray = np.minimum(
            np.maximum(actions, self.action_space.low), self.action_space.high
        )
        if np.isnan(clipped).any():
            raise ValueError("action: expected numbers, got NaN")
        return clipped
