"""Opening any saved agent by one call."""

from importlib import import_module
from pathlib import Path

import torch

from wmrl.agents.agent import Agent
from wmrl.artifact import ArtifactError, load_artifact
from wmrl.device import resolve_device

# Where each class of agent lives; a new one is added here.
_CLASSES = {
    "ControllerAgent": "wmrl.agents.controller",
    "PosteriorAgent": "wmrl.agents.posterior_agent",
    "SB3Agent": "wmrl.agents.sb3",
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
