"""Records a video of dreams at several temperatures, side by side, all from one start.

With --store, the dreams start from a recorded frame, take the recorded actions, and are shown
beside the recorded frames. Without it, they start in a start state of the memory model. With
--agent, an agent acts in each dream. A sheet of stills is written as well.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from wmrl.agents.video.config import DreamVideoConfig

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent
    from wmrl.envs.world_model import WorldModel


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl dream``."""

    out: Path = Path("videos/dream.mp4")
    """Video file to write: .mp4, .gif or .webp."""
    sheet: Path | None = None
    """Image file for the stills: .png. If not given, it has the name of the video."""
    store: Path | None = None
    """Rollout store with the episode from which the dreams start; if not given, they start in a
    start state of the memory model."""
    agent: str | None = None
    """Agent that acts in the dreams: a shipped name, a path, or hf://user/name. If not given, the
    dreams take the recorded actions or, without a store, random ones."""
    task: str | None = None
    """Task: a registered name, the id of an environment, or module:ATTRIBUTE for a task of your
    own. If not given, the task that the agent was trained on or, without an agent, car-racing."""
    vision: str | None = None
    """Vision model: a shipped name, a path, or hf://user/name. If not given, the one that the agent
    was trained with or, without an agent, car-racing-vae."""
    memory: str | None = None
    """Memory model: a shipped name, a path, or hf://user/name. If not given, the one that the agent
    was trained with or, without an agent, the shipped one for the vision model."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""
    video: tyro.conf.OmitArgPrefixes[DreamVideoConfig] = field(default_factory=DreamVideoConfig)
    """Contents of the video."""


def main(args: Args) -> None:
    """Writes the video and the stills, and prints a summary of each dream."""
    import torch

    from wmrl.agents.agent import load_agent
    from wmrl.agents.video.temperatures import record_dreams
    from wmrl.data.store import RolloutStore

    torch.set_num_threads(1)  # more threads do not speed up single frames
    agent = None if args.agent is None else load_agent(args.agent, device=args.device)
    recording = record_dreams(
        _open_world_model(args, agent),
        args.out,
        sheet=args.sheet,
        agent=agent,
        store=None if args.store is None else RolloutStore(args.store),
        config=args.video,
    )
    where = "" if recording.start is None else f", from agent step {recording.start}"
    print(f"{recording.path}, {recording.sheet}: seed {args.video.seed}{where}")
    for temperature, score, length, ended in zip(
        recording.temperatures,
        recording.returns,
        recording.lengths,
        recording.terminated,
        strict=True,
    ):
        end = ", where the dream ended" if ended else ""
        print(f"temperature {temperature:g}: return {score:+.1f} in {length} agent steps{end}")


def _open_world_model(args: Args, agent: "Agent | None") -> "WorldModel":
    from wmrl.envs.world_model import WorldModel
    from wmrl.scripts.options import find_task_aloud

    task = None if args.task is None else find_task_aloud(args.task)
    if agent is not None:
        return agent.open_world_model(
            task=task, vision=args.vision, memory=args.memory, device=args.device
        )
    return WorldModel.open(
        task or "car-racing",
        args.vision or "car-racing-vae",
        args.memory or "auto",
        device=args.device,
    )
