"""Scores an agent by the evaluation protocol: fixed held-out seeds, with every return recorded.

The game is Gymnasium's own environment unless --base is given. For a score to be reported, the
protocol requires at least 100 episodes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl evaluate``."""

    agent: tyro.conf.Positional[str]
    """Agent to score: a shipped name, a path, or "random" for uniformly random actions."""
    episodes: int = 100
    """Number of episodes, each with its own seed."""
    out: Path | None = None
    """JSON file for the result; if not given, <agent>-<environment>.json beside the artifact if the
    agent is a path, else in runs/results."""
    dream: bool = False
    """Score the agent in its dream instead of the real game."""
    agent_steps: int = 250
    """Length of a dream, in agent steps."""
    temperature: float = 1.0
    """Temperature τ of the dream."""
    base: str | None = None
    """Id of the environment, if not the original game; for example "vsg/CarRacing-v3"."""
    seed: int = 1_000_000
    """First seed, between 1,000,000 and 1,999,999, the range reserved for evaluation."""
    deterministic: bool = True
    """Use the agent's deterministic actions, without exploration noise."""
    vision: str | None = None
    """Name or path of the agent's vision model, if not the one recorded in its artifact."""
    memory: str | None = None
    """Name or path of the agent's memory model, if not the one recorded in its artifact."""
    num_envs: int = 20
    """Number of parallel environments."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Evaluates the agent, prints its score and writes the returns."""
    from wmrl.agents.agent import load_agent
    from wmrl.agents.evaluation.scoring import RANDOM, evaluate, evaluate_dream
    from wmrl.storage.artifact import SHIPPED, find_artifact

    agent: Agent | str = RANDOM
    world_model, path = None, Path(RANDOM)
    if args.agent != RANDOM:
        agent = load_agent(args.agent, device=args.device)
        world_model = agent.open_world_model(
            vision=args.vision, memory=args.memory, device=args.device
        )
        path = find_artifact(args.agent).resolve()
    elif args.dream:
        raise ValueError(
            "agent: expected an agent with a world model, got 'random'; leave --dream out"
        )
    if args.dream:
        result = evaluate_dream(
            agent,
            episodes=args.episodes,
            agent_steps=args.agent_steps,
            temperature=args.temperature,
            seed=args.seed,
            deterministic=args.deterministic,
            world_model=world_model,
            name=args.agent,
        )
    else:
        result = evaluate(
            agent,
            episodes=args.episodes,
            base=args.base,
            seed=args.seed,
            deterministic=args.deterministic,
            world_model=world_model,
            num_envs=args.num_envs,
            workers=args.workers,
            device=args.device,
            name=args.agent,
            progress=True,
        )
    by_name = args.agent == RANDOM or path.parent == SHIPPED.resolve()
    folder = Path("runs/results") if by_name else path.parent
    out = args.out or folder / f"{path.name}-{result.base.rpartition('/')[2]}.json"
    result.save(out)
    print(f"{args.agent}: {result} from {min(result.returns):.1f} to {max(result.returns):.1f}")
    print(f"returns: {out}")
