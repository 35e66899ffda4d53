"""Records episodes of a task into a rollout store; a killed collection goes on where it was."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl collect``."""

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store; made if it isn't there."""
    task: str = "car-racing"
    """What to play: a task's name, or module:ATTRIBUTE of your own."""
    policy: str = "smoothed"
    """Who drives: smoothed or held (random actions), or an agent's name or path."""
    frames: int | None = None
    """Base frames to have (somewhat more, since begun episodes are finished); 256,000 if neither
    this nor --episodes is given."""
    episodes: int | None = None
    """Episodes to have, instead of frames."""
    seed: int = 0
    """Root seed; the same one gives the same episodes, bit for bit."""
    noise: float = 0.6
    """Largest scale of the noise added to an agent's actions, drawn for each episode; 1 is half of
    the action space's range."""
    vision: str | None = None
    """Where the agent's vision is; where its artifact says if not given."""
    memory: str | None = None
    """Where the agent's memory is; where its artifact says if not given."""
    num_envs: int = 16
    """Games at once."""
    workers: int | None = None
    """Processes that play; one for each core if not given. Changes nothing but the speed."""
    base: str | None = None
    """Id of another base environment than the task's."""
    frame_skip: int | None = None
    """Base frames that a decision lasts; the agent's own, or the task's, if not given."""
    device: str = "auto"
    """Where an agent and its eye compute."""


def main(args: Args) -> None:
    """Collects, and says what the store holds then."""
    from wmrl.agents.agent import Agent
    from wmrl.agents.rollouts.collection import BEHAVIOURS, collect
    from wmrl.agents.rollouts.exploration import NoisyBehaviour
    from wmrl.agents.world_model_ref import open_driver

    policy: Agent | str = args.policy
    eye = None
    if args.policy not in BEHAVIOURS:
        policy, eye = open_driver(
            args.policy, vision=args.vision, memory=args.memory, device=args.device
        )
    frames = args.frames
    if frames is None and args.episodes is None:
        frames = 256_000
    store = collect(
        args.task,
        args.store,
        policy=policy,
        episodes=args.episodes,
        frames=frames,
        seed=args.seed,
        noise=NoisyBehaviour(largest=args.noise),
        eye=eye,
        num_envs=args.num_envs,
        workers=args.workers,
        base=args.base,
        frame_skip=args.frame_skip,
        device=args.device,
    )
    decisions = sum(summary.length for summary in store.summaries)
    print(f"{store.path}: {len(store)} episodes, {decisions:,} decisions, {store.content_hash()}")
