"""Scores an agent by the protocol: fixed seeds that no training used, every return kept.

The game is drawn by Gymnasium's own code unless --base says otherwise; a score is the mean of at
least 100 episodes.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from wmrl.agents.agent import Agent


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl evaluate``."""

    agent: tyro.conf.Positional[str]
    """Who is scored: a shipped name, a path, or "random" for uniformly random actions."""
    episodes: int = 100
    """How many, each on a seed of its own."""
    out: Path | None = None
    """JSON file for the result; if not given <agent>-<environment>.json, beside the artifact if the
    agent is a path, else in runs/results."""
    dream: bool = False
    """Score it in its dream instead of the real game."""
    decisions: int = 250
    """Length of a dream."""
    temperature: float = 1.0
    """How uncertain the dream is."""
    base: str | None = None
    """Another environment than the game's original, for instance "vsg/CarRacing-v3"."""
    seed: int = 1_000_000
    """The first of the seeds; only those from 1,000,000 to 1,999,999 are kept from training."""
    deterministic: bool = True
    """Act without exploration noise."""
    vision: str | None = None
    """Where the agent's eye is, if it is not where the agent says."""
    memory: str | None = None
    """Where the agent's memory is, if it is not where the agent says."""
    num_envs: int = 20
    """Games played at once."""
    workers: int | None = None
    """Processes that play; one a core if not given. They change nothing but the speed."""
    device: str = "auto"
    """Where the models run: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Scores, prints the score and writes the returns."""
    from wmrl.agents.evaluation import RANDOM, evaluate, evaluate_dream
    from wmrl.agents.world_model_ref import open_driver
    from wmrl.storage.artifact import SHIPPED, load_artifact

    agent: Agent | str = RANDOM
    eye, digest, path = None, "", Path(RANDOM)
    if args.agent != RANDOM:
        agent, eye = open_driver(
            args.agent, vision=args.vision, memory=args.memory, device=args.device
        )
        artifact = load_artifact(args.agent)
        digest, path = artifact.digest, artifact.path.resolve()
    elif args.dream:
        raise ValueError("agent: 'random' has no dream of its own; score it in the real game")
    if args.dream:
        result = evaluate_dream(
            agent,
            episodes=args.episodes,
            decisions=args.decisions,
            temperature=args.temperature,
            seed=args.seed,
            deterministic=args.deterministic,
            eye=eye,
            name=args.agent,
        )
    else:
        result = evaluate(
            agent,
            episodes=args.episodes,
            base=args.base,
            seed=args.seed,
            deterministic=args.deterministic,
            eye=eye,
            num_envs=args.num_envs,
            workers=args.workers,
            device=args.device,
            name=args.agent,
            progress=True,
        )
    by_name = args.agent == RANDOM or path.parent == SHIPPED.resolve()
    folder = Path("runs/results") if by_name else path.parent
    out = args.out or folder / f"{path.name}-{result.base.rpartition('/')[2]}.json"
    replace(result, digest=digest).save(out)
    print(f"{args.agent}: {result} from {min(result.returns):.1f} to {max(result.returns):.1f}")
    print(f"every return is in {out}")
