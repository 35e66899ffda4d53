"""Drivers: an agent together with the eye that it looks through."""

from pathlib import Path

from wmrl.agents.agent import Agent
from wmrl.agents.loading import load_agent
from wmrl.artifact import ArtifactError
from wmrl.envs.eye import Eye
from wmrl.envs.tasks import registered_task


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
