"""Trains an agent in a dream, then runs it in the real game: a tour of five minutes.

The command opens CarRacing with the shipped world model and trains a new controller in the dream by
CMA-ES. Then it scores the new controller and the shipped agents in the real game, prints a table,
and writes videos.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from wmrl.agents.agent import Agent
    from wmrl.agents.evaluation.result import EvaluationResult
    from wmrl.envs.world_model import WorldModel

_NEW, _RANDOM = "new", "random"


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl demo``."""

    out: Path = Path("videos")
    """Folder for the videos and the new controller."""
    generations: int = 150
    """Number of generations of CMA-ES in the dream."""
    seconds: float = 75.0
    """Time limit of the training in the dream, in seconds."""
    episodes: int = 10
    """Number of episodes of each agent in the real game."""
    video_agent_steps: int | None = None
    """Maximum length of a video, in agent steps; the whole episode if not given."""
    agents: tuple[str, ...] = ("car-racing-dream", "car-racing-real")
    """Trained agents to which the new controller is compared: shipped names, paths, or
    hf://user/name."""
    vision: str = "car-racing-vae"
    """Vision model: a shipped name, a path, or hf://user/name."""
    memory: str = "auto"
    """Memory model: a shipped name, a path, or hf://user/name; "auto" for the one shipped with the
    vision model."""
    seed: int = 0
    """Root seed of the training."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""


@dataclass(frozen=True)
class _Result:
    """Scores of an agent, or of random actions.

    Attributes:
        name: name of the agent.
        agent: the agent; None for random actions.
        world_model: world model of the agent; None for random actions.
        dream: scores in the dream; None for random actions.
        real: scores in the real game.
    """

    name: str
    agent: "Agent | None"
    world_model: "WorldModel | None"
    dream: "EvaluationResult | None"
    real: "EvaluationResult"


def main(args: Args) -> None:
    """Trains the new controller, scores all agents, prints the table and writes the videos."""
    from rich.console import Console

    from wmrl.agents.agent import load_agent

    console, started = Console(), time.perf_counter()
    # Load the trained agents first, so that a missing one is reported before any work is done.
    loaded = {Path(name).name: load_agent(name, device=args.device) for name in args.agents}
    trained = {
        name: (agent, agent.open_world_model(device=args.device)) for name, agent in loaded.items()
    }
    world_model = _open_world_model(args, console)
    new = _train(args, world_model, console)
    console.rule(f"3  Playing the real game, {args.episodes} episodes each")
    results = [_score_random(args)]
    for name, (agent, its_world_model) in {_NEW: (new, world_model), **trained}.items():
        results.append(_score(args, name, agent, its_world_model))
    _print_table(results, console)
    _record(args, results, console)
    console.print(f"\nTotal time: {time.perf_counter() - started:.0f} s.")


def _open_world_model(args: Args, console: "Console") -> "WorldModel":
    import gymnasium as gym

    from wmrl.envs.world_model import WorldModel

    console.rule("1  Opening CarRacing with a learned world model")
    world_model = WorldModel.open("car-racing", args.vision, args.memory, device=args.device)
    env = gym.make("vsg/CarRacingLatent-v0", vision=world_model.vision, memory=world_model.memory)
    observation, _ = env.reset(seed=args.seed)
    env.close()
    height, width, _ = world_model.vision.frame_shape
    console.print(
        f"The vision model encodes a frame of {height}×{width} pixels as "
        f"{world_model.vision.latent_dim} numbers; with the state of the memory model, an "
        f"observation has {observation.size} numbers."
    )
    return world_model


def _train(args: Args, world_model: "WorldModel", console: "Console") -> "Agent":
    from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
    from wmrl.agents.policy_search.fitness import DreamFitness, DreamFitnessConfig
    from wmrl.agents.world_model_ref import WorldModelRef

    console.rule("2  Training in a dream (CMA-ES)")
    # Action noise keeps a deterministic controller from exploiting errors of the dream.
    config = DreamFitnessConfig(num_rollouts=16, action_noise=0.3, saturation_penalty=0.5)
    ref = WorldModelRef.of(world_model, vision=args.vision, memory=args.memory)
    with (
        tempfile.TemporaryDirectory() as folder,
        CMAES(
            DreamFitness(world_model, config),
            CMAESConfig(generations=args.generations, population_size=32),
            path=Path(folder) / "run",
            seed=args.seed,
            world_model=ref,
        ) as learner,
    ):
        learner.learn(max_seconds=args.seconds)
        learner.save(args.out / _NEW)
        console.print(
            f"{learner.generation} generations of 32 controllers, 16 dreams each, in "
            f"{learner.seconds:.0f} s, without any real reward."
        )
        return learner.agent


def _score(args: Args, name: str, agent: "Agent", world_model: "WorldModel") -> _Result:
    from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream

    # Dreams have the time limit of the game, so that both scores cover as many agent steps.
    agent_steps = world_model.task.max_frames // world_model.frame_skip
    dream = evaluate_dream(
        agent, episodes=64, agent_steps=agent_steps, world_model=world_model, name=name
    )
    real = evaluate(
        agent,
        episodes=args.episodes,
        base=world_model.task.env_id,
        world_model=world_model,
        name=name,
        progress=True,
    )
    return _Result(name, agent, world_model, dream, real)


def _score_random(args: Args) -> _Result:
    from wmrl.agents.evaluation.scoring import RANDOM, evaluate
    from wmrl.envs.tasks.registry import find_task

    base = find_task("car-racing").env_id
    real = evaluate(RANDOM, episodes=args.episodes, base=base, progress=True)
    return _Result(_RANDOM, None, None, None, real)


def _print_table(results: list[_Result], console: "Console") -> None:
    from rich.table import Table

    console.rule("4  Scores in the dream and in the real game")
    table = Table(caption="mean ± standard deviation of the return; 900 counts as solved")
    table.add_column("agent")
    for column in ("dream score", "real score", "best", "worst"):
        table.add_column(column, justify="right")
    notes = {_NEW: "new, just trained in the dream", _RANDOM: "random actions"}
    for result in results:
        real = result.real
        cells = [_format(result.dream), _format(real)]
        cells += [f"{extreme(real.returns):.0f}" for extreme in (max, min)]
        table.add_row(notes.get(result.name, result.name), *cells)
    console.print(table)
    console.print(
        "A few episodes give a rough estimate; wmrl evaluate scores an agent by the full protocol."
    )


def _format(result: "EvaluationResult | None") -> str:
    return "–" if result is None else f"{result.mean:.0f} ± {result.std:.0f}"


def _record(args: Args, results: list[_Result], console: "Console") -> None:
    import torch

    from wmrl.agents.seeds import EVALUATION_SEEDS
    from wmrl.agents.video.config import VideoConfig
    from wmrl.agents.video.recording import record

    torch.set_num_threads(1)  # more threads do not speed up single frames
    console.rule("5  Videos: the game, its reconstruction, and the dream")
    # All agents drive on the same track.
    config = VideoConfig(seed=EVALUATION_SEEDS.start, agent_steps=args.video_agent_steps)
    for result in results:
        if result.agent is None or result.world_model is None:
            continue
        path = args.out / f"{result.name}.mp4"
        with console.status(f"recording {result.name} …"):
            video = record(result.agent, path, world_model=result.world_model, config=config)
        console.print(f"{path.resolve()}  (return {video.score:.0f})", soft_wrap=True)
    console.print(f"The new controller: {(args.out / _NEW).resolve()}", soft_wrap=True)
