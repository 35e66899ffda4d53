"""References from agents to the world models that they were trained with."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from wmrl.core.config import build_config
from wmrl.core.validation import check_int
from wmrl.envs.tasks.registry import find_task, registered_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import matching_memory
from wmrl.memory.trainable import MAX_FRAME_SKIP
from wmrl.storage.artifact import Artifact, ArtifactError, find_artifact, lasting_name


@dataclass(frozen=True, kw_only=True)
class WorldModelRef:
    """Reference to the world model that an agent was trained with.

    An agent's artifact stores the reference in its ``config.json``: the key ``"world_model"`` holds
    an object whose keys are the attributes below.

    Attributes:
        task: name of the registered task.
        vision: shipped name, path or reference ``hf://user/name`` of the vision model.
        memory: shipped name, path or reference of the memory model; None if the world model has no
            memory model.
        vision_digest: digest of the vision model; None if the vision model was never saved.
        memory_digest: digest of the memory model; None if the world model has no memory model, or
            if the memory model was never saved.
        frame_skip: number of base frames per agent step.

    Raises:
        ValueError: ``frame_skip`` is out of range.

    Example:
        >>> from wmrl.agents import WorldModelRef, load_agent
        >>> ref = load_agent("car-racing-dream").world_model
        >>> ref.vision, ref.memory, ref.frame_skip
        ('car-racing-vae', 'car-racing-mdnrnn', 4)
        >>> world_model = ref.open(device="cpu")
        >>> WorldModelRef.of(world_model, vision="car-racing-vae", memory="auto") == ref
        True
    """

    task: str
    vision: str
    memory: str | None
    vision_digest: str | None
    memory_digest: str | None
    frame_skip: int

    def __post_init__(self) -> None:
        check_int("frame_skip", self.frame_skip, at_least=1, at_most=MAX_FRAME_SKIP)

    @classmethod
    def of(
        cls,
        world_model: WorldModel,
        *,
        vision: str | Path,
        memory: str | Path | None = None,
        relative_to: str | Path | None = None,
    ) -> Self:
        """Creates a reference to an open world model.

        Args:
            world_model: world model that the agent is trained with.
            vision: shipped name, path or reference ``hf://user/name`` of its vision model. A
                reference is stored with its commit.
            memory: shipped name, path or reference of its memory model, or ``"auto"`` for the
                memory model that is shipped for the vision model; None if the world model has no
                memory model.
            relative_to: folder in which the agent will be saved. Paths are stored relative to this
                folder, so that agent and models can be moved together. If None, absolute paths
                are stored.

        Raises:
            ArtifactError: ``vision`` or ``memory`` is not an artifact; or ``memory`` is ``"auto"``,
                and no memory model is shipped for the vision model.
            ValueError: the world model has a memory model and ``memory`` is None, or vice versa.
        """
        if (world_model.memory is None) != (memory is None):
            expected = "None" if world_model.memory is None else "a name or path"
            raise ValueError(
                f"memory: expected {expected}, got {memory!r}; pass None if the world model has no "
                "memory model, and the name or path of its memory model if it has one"
            )
        if memory == "auto":
            memory = matching_memory(world_model.vision.digest)
        return cls(
            task=world_model.task.name,
            vision=_portable(vision, "vision", relative_to),
            memory=None if memory is None else _portable(memory, "memory", relative_to),
            vision_digest=world_model.vision.digest,
            memory_digest=None if world_model.memory is None else world_model.memory.digest,
            frame_skip=world_model.frame_skip,
        )

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self | None:
        """Reads the reference from an agent's artifact.

        Paths that begin with a dot are relative to the artifact's folder.

        Returns:
            The reference; None if the agent was saved without one.

        Raises:
            ArtifactError: the artifact's configuration does not contain a valid reference.
        """
        values = artifact.config.get("world_model", {})
        if values is None:
            return None
        try:
            values = dict(values)
            for name in ("vision", "memory"):
                if str(values.get(name)).startswith("."):
                    values[name] = lasting_name(artifact.path / values[name])
            return build_config(cls, values)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{artifact.path}: config['world_model']: expected a reference to a world model, "
                f"got {values!r:.200} ({error})"
            ) from error

    def open(
        self,
        *,
        task: Task | str | None = None,
        vision: str | Path | None = None,
        memory: str | Path | None = None,
        device: str | torch.device = "auto",
    ) -> WorldModel:
        """Opens the world model.

        Args:
            task: task that the agent was trained on, or a value that
                :func:`~wmrl.envs.tasks.registry.find_task` accepts, such as the id of an
                environment. If None, the task that is registered under the name in the reference.
            vision: shipped name, path or reference ``hf://user/name`` of the vision model; None for
                the one in the reference.
            memory: the same for the memory model.
            device: device of the models.

        Raises:
            ArtifactError: the task is not registered, or an artifact is missing, damaged, or not
                the one that the agent was trained with.
            ValueError: there is no such device, or ``task`` does not exist or has another name than
                the task in the reference.
            ImportError: the module of ``task`` cannot be imported.
        """
        task = self._registered_task() if task is None else self._check_task(find_task(task))
        world_model = WorldModel.open(
            task,
            vision or self.vision,
            memory or self.memory,
            frame_skip=self.frame_skip,
            device=device,
        )
        self.check(world_model)
        return world_model

    def _registered_task(self) -> Task:
        try:
            return registered_task(self.task)
        except ValueError as error:
            raise ArtifactError(
                f"agent: its world model cannot be opened, because the task is unknown ({error})"
            ) from error

    def _check_task(self, task: Task) -> Task:
        if task.name != self.task:
            raise ValueError(
                f"task: expected the task {self.task!r} that the agent was trained on, got "
                f"{task.name!r}; pass the task {self.task!r}, or use another agent"
            )
        return task

    def check(self, world_model: WorldModel) -> None:
        """Checks that a world model consists of the models to which the reference refers.

        Raises:
            ArtifactError: the digest of a model differs from the digest in the reference.
        """
        for name, part, expected in (
            ("vision", world_model.vision, self.vision_digest),
            ("memory", world_model.memory, self.memory_digest),
        ):
            got: Any = None if part is None else part.digest
            if expected is not None and got != expected:
                raise ArtifactError(
                    f"{name}: expected the model that the agent was trained with (digest "
                    f"{expected[:12]}…), got digest {str(got)[:12]}…; pass the name or path of the "
                    "expected model, or train the agent again"
                )


def _portable(name_or_path: str | Path, kind: str, relative_to: str | Path | None) -> str:
    """Converts a name, path or reference of a model to the text that a reference stores.

    A path is returned relative to the folder ``relative_to``, or as an absolute path if
    ``relative_to`` is None.
    """
    path = find_artifact(name_or_path, kind=kind)
    name = lasting_name(path)
    if relative_to is None or not Path(name).is_absolute():
        return name
    relative = os.path.relpath(path, relative_to)
    return relative if relative.startswith(".") else f"./{relative}"
