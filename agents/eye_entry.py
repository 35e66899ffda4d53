"""What an agent's artifact says of the eye that it looks through."""

from pathlib import Path
from typing import Any

from wmrl.artifact import Artifact, ArtifactError, find_artifact, shipped_artifacts
from wmrl.envs.eye import Eye
from wmrl.memory import matching_memory


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
