"""Scores an agent by the evaluation protocol: on fixed held-out seeds, recording every return.

The agent plays the original game, such as Gymnasium's CarRacing-v3; --base selects another
environment. Scores that are to be reported need at least 100 episodes.
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
    """Agent to score: a shipped name, a path, hf://user/name, or "random" for uniformly random
    actions."""
    episodes: int = 100
    """Number of episodes, each with its own seed."""
    out: Path | None = None
    """JSON file for the result. By default, it is <agent>-<environment>.json, beside the artifact
    of an agent that has a path, and in runs/results for other agents. Hyphens replace slashes and
    colons in the names."""
    task: str | None = None
    """Task: a registered name, the id of an environment, or module:ATTRIBUTE for a task of your
    own. If not given, an agent plays the task that it was trained on, which must then be
    registered, and random actions are scored in car-racing."""
    dream: bool = False
    """Score the agent in the dream of its world model, instead of the real game."""
    agent_steps: int = 250
    """Maximum length of an episode in the dream, in agent steps. It has no effect without
    --dream."""
    temperature: float = 1.0
    """Temperature τ of the dream. It has no effect without --dream."""
    base: str | None = None
    """Id of the environment, such as "vsg/CarRacing-v3"; if not given, the original game."""
    seed: int = 1_000_000
    """Seed of the first episode. Seeds from 1,000,000 to 1,999,999 are reserved for evaluation."""
    deterministic: bool = True
    """Use the agent's deterministic actions, without exploration noise."""
    vision: str | None = None
    """Vision model: a shipped name, a path, or hf://user/name; if not given, the one that the agent
    was trained with."""
    memory: str | None = None
    """Memory model: a shipped name, a path, or hf://user/name; if not given, the one that the agent
    was trained with."""
    num_envs: int = 20
    """Number of parallel environments."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Evaluates the agent, prints its score and writes the returns."""
    from wmrl.agents.agent import load_agent
    from wmrl.agents.evaluation.scoring import RANDOM, evaluate, evaluate_dream, original_id
    from wmrl.envs.tasks.registry import find_task
    from wmrl.scripts.options import find_task_aloud
    from wmrl.storage.files import check_writable

    task = None if args.task is None else find_task_aloud(args.task)
    agent: Agent | str = RANDOM
    world_model = None
    if args.agent != RANDOM:
        agent = load_agent(args.agent, device=args.device)
        world_model = agent.open_world_model(
            task=task, vision=args.vision, memory=args.memory, device=args.device
        )
    elif args.dream:
        raise ValueError(
            "agent: expected an agent with a world model, got 'random'; name another agent, or "
            "leave --dream out"
        )
    game = world_model.task if world_model else task or find_task("car-racing")
    base = "dream" if args.dream else args.base or original_id(game)
    out = args.out or _default_out(args.agent, base)
    check_writable(out, kind="file", name="out")
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
            task=task,
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
    result.save(out)
    print(f"{args.agent}: {result} from {min(result.returns):.1f} to {max(result.returns):.1f}")
    print(f"returns: {out}")


def _default_out(agent: str, base: str) -> Path:
    """Returns the default path of the result file of ``agent`` in the environment ``base``."""
    from wmrl.agents.evaluation.scoring import RANDOM
    from wmrl.storage.artifact import find_artifact, lasting_name
    from wmrl.storage.hub import HubReference, is_hub_reference

    name = agent if agent == RANDOM else lasting_name(find_artifact(agent, kind="agent"))
    path = Path("runs/results") / name  # just the path of an agent that has one
    if is_hub_reference(name):
        path = Path("runs/results") / HubReference.parse(name).repo_id.replace("/", "-")
    return path.with_name(f"{path.name}-{base.replace('/', '-').replace(':', '-')}.json")
