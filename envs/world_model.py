"""World model: a vision model and, optionally, a memory model for the same task."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces

from wmrl.core.action_spec import ActionSpace
from wmrl.core.device import resolve_device
from wmrl.core.validation import check_int
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task, variant_suffix
from wmrl.memory.base import Memory, load_memory, matching_memory
from wmrl.storage.artifact import ArtifactError
from wmrl.vision.base import Vision, load_vision

# Latents and hidden states are unbounded, but environment checkers warn about infinite bounds.
BOUND = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class WorldModel:
    """World model of a task: a vision model and, optionally, a memory model.

    Environments use a world model to observe a game, or to simulate a game.

    Attributes:
        task: task whose frames, or stacks of frames, the vision model encodes.
        vision: vision model, which encodes frames to latents.
        memory: memory model, which summarizes the past and predicts the next latent; None for a
            world model without memory.
        frame_skip: number of game frames per agent step.

    Raises:
        ArtifactError: the vision model, the memory model and the task do not fit together.
        ValueError: ``frame_skip`` is below 1.
    """

    task: Task
    vision: Vision
    memory: Memory[Any] | None
    frame_skip: int

    def __post_init__(self) -> None:
        frame_skip = check_int("frame_skip", self.frame_skip, at_least=1)
        object.__setattr__(self, "frame_skip", frame_skip)
        self._check_vision(self.vision)
        if self.memory is not None:
            self._check_memory(self.memory)

    def _check_vision(self, vision: Vision) -> None:
        height, width, channels = vision.frame_shape
        shape = (height, width, channels)
        for what, expected, got in (
            ("frames of shape", self.task.frame_shape, shape),
            ("a frame_stack of", self.task.frame_stack, vision.frame_stack),
        ):
            if expected != got:
                raise ArtifactError(
                    f"vision: expected {what} {expected} as in the task {self.task.name!r}, got a "
                    f"{type(vision).__name__} for {what} {got}; pass a vision model that was "
                    "trained on this task, or pass the variant of the task whose name ends in "
                    f"{variant_suffix(shape, vision.frame_stack)!r}"
                )

    def _check_memory(self, memory: Memory[Any]) -> None:
        memory.check_vision(self.vision.digest)
        for name, expected, got in (
            ("task", self.task.name, memory.config.task),
            ("action_dim", self.task.action_dim, memory.action_dim),
            ("num_options", self.task.actions.num_options, memory.num_options),
            ("latent_dim", self.vision.latent_dim, memory.latent_dim),
        ):
            if expected != got:
                raise ArtifactError(
                    f"memory: expected {name} {expected!r}, got {got!r}; use a memory that was "
                    "trained on this task and this vision model"
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

        The models are put into evaluation mode.

        Args:
            task: a task, the name or location of a task, or the id of an environment (see
                :func:`~wmrl.envs.tasks.registry.find_task`).
            vision: a vision model, the path of its artifact, the name of a shipped artifact, or a
                reference ``hf://user/name`` to a repository of the Hugging Face hub.
            memory: a memory model, or its path, name or reference; ``"auto"`` for the shipped
                memory that was trained on the vision model; None for no memory.
            frame_skip: number of game frames per agent step. If None, it is the frame skip of the
                memory or, without a memory, of the task.
            device: device of both models, such as ``"cpu"`` or ``"cuda"``. With ``"auto"``, models
                are loaded onto a GPU if there is one. However, if ``vision`` is an object, the
                vision model stays on its device, and the memory is moved to that device.

        Raises:
            ArtifactError: an artifact is missing or damaged, no shipped memory was trained on the
                vision model, or the models and the task do not fit together.
            ValueError: the task or the device does not exist, ``vision`` or ``memory`` has the
                wrong type, or ``frame_skip`` is below 1.
            ImportError: the module of the task cannot be imported, or a package that the
                environment needs is not installed.

        Example:
            >>> from wmrl.envs import WorldModel
            >>> world_model = WorldModel.open("car-racing", "car-racing-vae", "auto", device="cpu")
            >>> world_model.observation_space.shape  # latent and hidden state
            (288,)
            >>> world_model.frame_skip, world_model.fps
            (4, 12.5)
        """
        task = find_task(task)
        if not isinstance(vision, Vision | str | Path):
            raise ValueError(
                f"vision: expected a vision model of the task {task.name!r}, or its name or path, "
                f"got {vision!r:.100}; train one with wmrl train-vision"
            )
        if not isinstance(memory, Memory | str | Path | None):
            raise ValueError(
                f"memory: expected a memory model, its name or path, 'auto' or None, got "
                f"{memory!r:.100}; train one with wmrl train-memory"
            )
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
        """Device of the vision model and of the memory model."""
        return self.vision.device

    @property
    def action_space(self) -> ActionSpace:
        """Action space of the task."""
        return self.task.actions.space

    @cached_property
    def observation_space(self) -> spaces.Box:
        """Space of one observation.

        Without a memory, an observation is the latent, ``(Z,) float32``. With a memory, an
        observation is the latent followed by the memory's H features, ``(Z + H,) float32``.
        """
        size = self.vision.latent_dim + (self.memory.feature_dim if self.memory else 0)
        return spaces.Box(-BOUND, BOUND, (size,), np.float32)

    @property
    def fps(self) -> float:
        """Agent steps per second of game time, for videos and windows."""
        return self.task.fps / self.frame_skip

    def check_actions(self, actions: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
        """Checks actions, and clips continuous actions to the action space.

        Args:
            actions: actions of the task's action space, as one array.
            batch: expected leading axes of ``actions``; ``()`` for a single action.

        Returns:
            The checked actions, in the dtype of the action space.

        Raises:
            ValueError: ``actions`` has the wrong shape, a number that is NaN or infinite, or an
                option that the action space does not have.
        """
        return self.task.actions.check("action", actions, batch, clip=True)
