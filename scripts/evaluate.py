"""Scores an agent by the evaluation protocol: on fixed held-out seeds, recording every return.

The game is Gymnasium's own environment; --base selects another one. Scores that are to be reported
need at least 100 episodes.
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
    """JSON file for the result. If not given, it is <agent>-<environment>.json: in runs/results for
    shipped agents and random actions, and beside the artifact for other agents."""
    dream: bool = False
    """Score the agent in the dream of its world model, instead of the real game."""
    agent_steps: int = 250
    """Dream: maximum length, in agent steps."""
    temperature: float = 1.0
    """Dream: temperature τ."""
    base: str | None = None
    """Id of the environment, such as "vsg/CarRacing-v3"; if not given, the original game."""
    seed: int = 1_000_000
    """Seed of the first episode. Seeds from 1,000,000 to 1,999,999 are reserved for evaluation."""
    deterministic: bool = True
    """Use the agent's deterministic actions, without exploration noise."""
    vision: str | None = None
    """Vision model: a shipped name or a path; if not given, the one recorded with the agent."""
    memory: str | None = None
    """Memory model: a shipped name or a path; if not given, the one recorded with the agent."""
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
            "agent: expected an agent with a world model, got 'random'; name another agent, or "
            "leave --dream out"
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
