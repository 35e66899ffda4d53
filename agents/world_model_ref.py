"""What an agent's artifact says of the eye that it looks through."""

from pathlib import Path
from typing import Any

from wmrl.agents.agent import Agent, load_agent
from wmrl.envs.tasks.registry import registered_task
from wmrl.envs.world_model import Eye
from wmrl.memory.base import matching_memory
from wmrl.storage.artifact import Artifact, ArtifactError, find_artifact, shipped_artifacts


def eye_entry(eye: Eye, *, vision: str | Path, memory: str | Path | None = None) -> dict[str, Any]:
    """The value of :attr:`Agent.eye <wmrl.agents.agent.Agent>`, JSON-able.

    Args:
        eye: what the agent is trained with.
        vision: the shipped name or the path under which others will find its vision.
        memory: the same for its memory; ``"auto"`` for the shipped one of that vision, None
            where it has none.

    Raises:
        ValueError: the eye has a memory and no name for it was given, or the other way round.
    """
    if (eye.memory is None) != (memory is None):
        raise ValueError(
            f"memory: expected {'None' if eye.memory is None else 'a name or path'}, got {memory!r}"
        )
    if memory == "auto":
        memory = matching_memory(eye.vision.digest)
    return {
        "task": eye.task.name,
        "vision": str(vision),
        "memory": None if memory is None else str(memory),
        "vision_digest": eye.vision.digest,
        "memory_digest": None if eye.memory is None else eye.memory.digest,
        "frame_skip": eye.frame_skip,
    }


def lasting_name(name_or_path: str) -> str:
    """A shipped name as it is, and a path in full: the agent may be opened from elsewhere.

    Raises:
        ArtifactError: there is no such artifact.
    """
    if name_or_path in ("auto", *shipped_artifacts()):
        return name_or_path
    return str(find_artifact(name_or_path).resolve())


def _names_an_eye(eye: dict[str, Any]) -> bool:
    texts = [eye.get(name, "") for name in ("task", "vision")]
    choices = [eye.get(name) for name in ("memory", "vision_digest", "memory_digest")]
    skip = eye.get("frame_skip", 1)
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(text, str | None) for text in choices)
        and type(skip) is int
        and skip >= 1
    )


def located_eye(artifact: Artifact) -> dict[str, Any]:
    """The eye entry of an agent's artifact, with paths that can be opened from anywhere.

    Paths that begin with a dot are relative to the artifact's folder, so that a run's folder can
    be moved as a whole.

    Raises:
        ArtifactError: the artifact has no eye entry, or one that names no such thing.
    """
    eye = artifact.config.get("eye")
    if not isinstance(eye, dict) or not _names_an_eye(eye):
        raise ArtifactError(f"{artifact.path}: its eye is {eye!r:.200}, which names none")
    eye = dict(eye)
    for part in ("vision", "memory"):
        if str(eye.get(part, "")).startswith("."):
            try:
                eye[part] = str((artifact.path / eye[part]).resolve())
            except (OSError, ValueError, RuntimeError) as error:
                raise ArtifactError(f"{artifact.path}: its {part} is no path ({error})") from error
    return eye


def open_driver(
    name_or_path: str | Path,
    *,
    vision: str | Path | None = None,
    memory: str | Path | None = None,
    device: str = "auto",
) -> tuple[Agent, Eye]:
    """Opens a saved agent and its eye; arguments as in :func:`open_eye`.

    Raises:
        ArtifactError: an artifact is missing, damaged, or not the one that the agent was trained
            with.
        ValueError: there is no such device.
    """
    agent = load_agent(name_or_path, device=device)
    return agent, open_eye(agent, vision=vision, memory=memory, device=device)


def open_eye(
    agent: Agent,
    *,
    vision: str | Path | None = None,
    memory: str | Path | None = None,
    device: str = "auto",
) -> Eye:
    """Opens the eye that an agent looks through.

    Args:
        agent: who looks.
        vision: where its vision is now; where the agent's artifact says if None.
        memory: the same for its memory.
        device: where they run.

    Raises:
        ArtifactError: the agent doesn't say what it looks through, or an artifact is missing,
            damaged, or not the one that the agent was trained with.
        ValueError: there is no such device.
    """
    known = agent.eye
    if not known:
        raise ArtifactError(
            "agent: it doesn't say which eye it looks through; save it with its eye, or build the "
            "environment yourself"
        )
    try:
        task, own_vision = registered_task(str(known["task"])), str(known["vision"])
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"agent: its eye can't be opened ({error})") from error
    eye = Eye.open(
        task,
        vision or own_vision,
        memory or known.get("memory"),
        frame_skip=known.get("frame_skip"),
        device=device,
    )
    check_eye(agent, eye)
    return eye


def check_eye(agent: Agent, eye: Eye) -> None:
    """Raises :class:`ArtifactError` unless the eye is the one that an agent names, if it does."""
    known = agent.eye
    for name, part in (("vision", eye.vision), ("memory", eye.memory)):
        expected = known.get(f"{name}_digest")
        got = part.digest if part is not None else None
        if expected is not None and got != expected:
            raise ArtifactError(
                f"{name}: the agent was trained with {expected[:12]}…, got {str(got)[:12]}…; say "
                f"where the right one is, or train the agent again"
            )
