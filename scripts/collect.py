"""Records episodes of a task into a rollout store; an interrupted collection can be resumed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl collect``."""

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store; created if it does not exist."""
    task: str = "car-racing"
    """Task: a registered name, the id of an environment such as ALE/Boxing-v5, or module:ATTRIBUTE
    for a task of your own."""
    frame_size: tuple[int, ...] | None = None
    """Height and width of the frames, or one number for both; if not given, the task's. The name of
    the task then ends in the shape of the frames, as in car-racing@84x84x1, and other commands take
    this name as --task."""
    grayscale: bool = False
    """Record gray frames. If not given, the frames are as in the task."""
    frame_stack: int | None = None
    """Number of successive frames that a vision model is to encode together; if not given, the
    task's. With several frames, the name of the task ends in this number, as in
    car-racing@84x84x1x4. The store holds single frames in any case."""
    policy: str | None = None
    """Policy: "autoregressive" or "repeated" for random actions, or an agent, by its shipped name,
    its path or hf://user/name. If not given, autoregressive actions for a task with continuous
    actions, otherwise repeated ones."""
    frames: int | None = None
    """Total number of base frames in the store. When it is reached, no further episode begins, but
    episodes in progress are finished. 256,000 if neither this nor --episodes is given."""
    episodes: int | None = None
    """Total number of episodes in the store. It cannot be combined with --frames."""
    seed: int = 0
    """Root seed; equal seeds give bit-identical episodes."""
    noise: float = 0.6
    """Upper bound of the scale of the noise on an agent's actions. The scale is drawn for each
    episode. A scale of 1 is half the range of continuous actions; for discrete actions, the scale
    is the probability of a random action."""
    vision: str | None = None
    """Vision model: a shipped name, a path, or hf://user/name; if not given, the one that the agent
    was trained with."""
    memory: str | None = None
    """Memory model: a shipped name, a path, or hf://user/name; if not given, the one that the agent
    was trained with."""
    num_envs: int = 16
    """Number of parallel environments."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    base: str | None = None
    """Id of the base environment; if not given, the task's own."""
    frame_skip: int | None = None
    """Number of base frames per agent step, for random actions; if not given, the task's own. For
    an agent, this option is ignored, and the frame skip of the agent's world model is used."""
    device: str = "auto"
    """Device of an agent and its world model: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Collects episodes and prints a summary of the store."""
    from wmrl.agents.agent import Agent, load_agent
    from wmrl.agents.rollouts.collection import (
        EXPLORATION_POLICIES,
        collect,
        open_for_collection,
    )
    from wmrl.agents.rollouts.exploration import NoisyAgent
    from wmrl.scripts.config_file import recorded
    from wmrl.scripts.options import task_with_frames

    task = task_with_frames(
        args.task,
        frame_size=args.frame_size,
        grayscale=args.grayscale,
        frame_stack=args.frame_stack,
    )
    policy: Agent | str | None = args.policy
    world_model = None
    if args.policy is not None and args.policy not in EXPLORATION_POLICIES:
        policy = load_agent(args.policy, device=args.device)
        world_model = open_for_collection(
            policy, task, vision=args.vision, memory=args.memory, device=args.device
        )
    frames = args.frames
    if frames is None and args.episodes is None:
        frames = 256_000
    with recorded(args, args.store, command="collect"):
        store = collect(
            task,
            args.store,
            policy=policy,
            episodes=args.episodes,
            frames=frames,
            seed=args.seed,
            noise=NoisyAgent(max_scale=args.noise),
            world_model=world_model,
            num_envs=args.num_envs,
            workers=args.workers,
            base=args.base,
            frame_skip=args.frame_skip,
            device=args.device,
        )
    agent_steps = sum(summary.length for summary in store.summaries)
    print(
        f"{store.path}: {len(store)} episodes, {agent_steps:,} agent steps, {store.content_hash()}"
    )
