"""Records a video of an agent: the real game, its reconstruction, and the dream.

The dream starts from the latent and the memory state of the game, and then runs without the game.
At regular intervals, it restarts from the current state of the game.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from wmrl.agents.video.config import VideoConfig


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl record``."""

    agent: tyro.conf.Positional[str]
    """Agent to record: a shipped name, a path, or hf://user/name."""
    out: Path = Path("videos/record.mp4")
    """Video file to write: .mp4, .gif or .webp."""
    task: str | None = None
    """Task: a registered name, the id of an environment, or module:ATTRIBUTE for a task of your
    own. If not given, the task that the agent was trained on, which must then be registered."""
    vision: str | None = None
    """Vision model: a shipped name, a path, or hf://user/name; if not given, the one that the agent
    was trained with."""
    memory: str | None = None
    """Memory model: a shipped name, a path, or hf://user/name; if not given, the one that the agent
    was trained with."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""
    video: tyro.conf.OmitArgPrefixes[VideoConfig] = field(default_factory=VideoConfig)
    """Contents of the video."""


def main(args: Args) -> None:
    """Writes the video and prints a summary of it."""
    import torch

    from wmrl.agents.agent import load_agent
    from wmrl.agents.video.recording import record
    from wmrl.scripts.options import find_task_aloud

    torch.set_num_threads(1)  # more threads do not speed up single frames
    agent = load_agent(args.agent, device=args.device)
    world_model = agent.open_world_model(
        task=None if args.task is None else find_task_aloud(args.task),
        vision=args.vision,
        memory=args.memory,
        device=args.device,
    )
    recording = record(agent, args.out, world_model=world_model, config=args.video)
    print(f"{recording.path}: seed {recording.seed}, {recording.agent_steps} agent steps")
    print(f"return {recording.score:.1f}")
    for dream, real in recording.dreams:
        print(f"dreamed return {dream:+.1f}, real return {real:+.1f}")
