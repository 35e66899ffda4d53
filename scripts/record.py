"""Films an agent: the real game, what the eye keeps of it, and the dream from the same start.

The dream starts in the encoded state that the game is in, with the memory filled by the episode so
far, and then goes its own way; after some decisions it starts anew from what is real then.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from wmrl.agents.video import FilmConfig


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl record``."""

    agent: tyro.conf.Positional[str]
    """Who drives: a shipped name, or a path."""
    out: Path = Path("videos/record.mp4")
    """The film, .mp4, .gif or .webp."""
    vision: str | None = None
    """Another eye than the one that the agent says it was trained with."""
    memory: str | None = None
    """Another memory than the one that the agent says it was trained with."""
    device: str = "auto"
    """Where the models run: auto, cpu, cuda …"""
    film: tyro.conf.OmitArgPrefixes[FilmConfig] = field(default_factory=FilmConfig)
    """What is filmed."""


def main(args: Args) -> None:
    """Writes the film and prints what it shows."""
    import torch

    from wmrl.agents.video import record
    from wmrl.agents.world_model_ref import open_driver

    torch.set_num_threads(1)  # frames come one by one: threads would only wait for each other
    agent, eye = open_driver(args.agent, vision=args.vision, memory=args.memory, device=args.device)
    recording = record(agent, args.out, eye=eye, config=args.film)
    print(f"{recording.path}: seed {recording.seed}, {recording.decisions} decisions")
    print(f"return {recording.score:.1f}")
    for dream, real in recording.dreams:
        print(f"dreamed {dream:+.1f} where the game gave {real:+.1f}")
