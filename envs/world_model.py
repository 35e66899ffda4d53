"""The eye: a vision and a memory, opened and checked against each other and against a task."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces

from wmrl.core.device import resolve_device
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.memory.base import Memory, load_memory, matching_memory
from wmrl.storage.artifact import ArtifactError
from wmrl.vision.base import Vision, load_vision

# Latents and hidden states have no bounds of their own, but checkers warn of infinite ones.
_BOUND = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Eye:
    """What an agent sees a game through; the latent environment and the dream share it.

    Attributes:
        task: the game.
        vision: turns frames into latents.
        memory: what is known of the past and foreseen, or None.
        frame_skip: base frames that a decision lasts.
    """

    task: Task
    vision: Vision
    memory: Memory[Any] | None
    frame_skip: int

    def __post_init__(self) -> None:
        if self.frame_skip < 1:
            raise ValueError(f"frame_skip: expected at least 1, got {self.frame_skip}")
        if self.vision.frame_shape[:2] != self.task.frame_size:
            raise ArtifactError(
                f"vision: takes frames of {self.vision.frame_shape[:2]}, the task "
                f"{self.task.name!r} gives {self.task.frame_size}; use a vision trained on it"
            )
        if self.memory is not None:
            self._check_memory(self.memory)

    def _check_memory(self, memory: Memory[Any]) -> None:
        memory.check_vision(self.vision.digest)
        for name, expected, got in (
            ("task", self.task.name, memory.config.task),
            ("action size", self.task.action_size, memory.action_size),
            ("latent size", self.vision.latent_size, memory.latent_size),
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
        """Opens an eye.

        Args:
            task: a task, or its name.
            vision: a shipped name, an artifact's path, or an object (put in evaluation mode).
            memory: the same, or None; ``"auto"`` for the shipped one that belongs to the vision.
            frame_skip: base frames a decision lasts; None for what the memory was trained with,
                and without a memory for the task's own.
            device: where the models go; with ``"auto"``, objects stay where they are.

        Raises:
            ArtifactError: an artifact is missing, damaged, or does not fit the others.
            ValueError: there is no such task or device, or ``frame_skip`` is less than 1.
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
        """Where the models are."""
        return self.vision.device

    @property
    def action_space(self) -> spaces.Box:
        """Space of one action: the task's."""
        return self.task.action_space

    @cached_property
    def observation_space(self) -> spaces.Box:
        """Space of one observation: ``(Z,)``, or ``(Z + H,)`` with a memory, float32."""
        size = self.vision.latent_size + (self.memory.feature_size if self.memory else 0)
        return spaces.Box(-_BOUND, _BOUND, (size,), np.float32)

    @property
    def fps(self) -> float:
        """Decisions a second at the game's own speed, for videos and windows."""
        return self.task.fps / self.frame_skip

    def clip(self, actions: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
        """Checks actions and clips them to the action space, as game and memory both take them.

        Args:
            actions: ``(*batch, A)`` numbers.
            batch: leading axes expected.

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
