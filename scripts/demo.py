"""Five minutes, start to end: learn to drive in a dream, then drive the real game.

Opens CarRacing through the shipped eye, evolves a fresh controller in the dream, drives the real
game with it and with the shipped drivers, prints what came of it, and writes films.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from wmrl.agents.agent import Agent
    from wmrl.agents.evaluation import EvaluationResult
    from wmrl.envs.world_model import Eye

_FRESH, _RANDOM = "fresh", "random"


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl demo``."""

    out: Path = Path("videos")
    """Folder for the films and the fresh controller."""
    generations: int = 150
    """Generations of CMA-ES in the dream."""
    seconds: float = 75.0
    """Time after which it stops learning earlier than that."""
    episodes: int = 10
    """Episodes that each driver drives in the real game."""
    film_decisions: int | None = None
    """Longest film, in decisions; the whole episode if not given."""
    drivers: tuple[str, ...] = ("car-racing-dream", "car-racing-real")
    """Trained drivers to compare with: shipped names or paths."""
    vision: str = "car-racing-vae"
    """The eye: a shipped name or a path."""
    memory: str = "auto"
    """What dreams: a shipped name or a path, or "auto" for the shipped one of that eye."""
    seed: int = 0
    """Root of all that is random in the learning."""
    device: str = "auto"
    """Where the models run: auto, cpu, cuda …"""


@dataclass(frozen=True)
class _Driver:
    """Who drives, through which eye, and what came of it (None where there is no such score)."""

    name: str
    agent: "Agent | None"
    eye: "Eye | None"
    dream: "EvaluationResult | None"
    real: "EvaluationResult"


def main(args: Args) -> None:
    """Runs the demonstration."""
    from rich.console import Console

    from wmrl.agents.world_model_ref import open_driver

    console, started = Console(), time.perf_counter()
    # The trained drivers come first, so that a missing one is known before any work is done.
    trained = {Path(name).name: open_driver(name, device=args.device) for name in args.drivers}
    eye = _open_eye(args, console)
    fresh = _learn(args, eye, console)
    console.rule(f"3  Driving the real game, {args.episodes} episodes each")
    drivers = [_score_random(args)]
    for name, (agent, its_eye) in {_FRESH: (fresh, eye), **trained}.items():
        drivers.append(_score(args, name, agent, its_eye))
    _print_table(drivers, console)
    _film(args, drivers, console)
    console.print(f"\nAll of it took {time.perf_counter() - started:.0f} s.")


def _open_eye(args: Args, console: "Console") -> "Eye":
    import gymnasium as gym

    from wmrl.envs.world_model import Eye

    console.rule("1  Opening CarRacing through a learned eye")
    eye = Eye.open("car-racing", args.vision, args.memory, device=args.device)
    env = gym.make("vsg/CarRacingLatent-v0", vision=eye.vision, memory=eye.memory)
    observation, _ = env.reset(seed=args.seed)
    env.close()
    height, width, _ = eye.vision.frame_shape
    console.print(
        f"A frame of {height}×{width} pixels becomes {eye.vision.latent_size} numbers; with what "
        f"the memory knows of the past, a driver sees {observation.size}."
    )
    return eye


def _learn(args: Args, eye: "Eye", console: "Console") -> "Agent":
    from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
    from wmrl.agents.policy_search.fitness import DreamFitness, DreamFitnessConfig
    from wmrl.agents.world_model_ref import eye_entry

    console.rule("2  Learning to drive in a dream (CMA-ES)")
    # Noise on the actions keeps a deterministic controller from living on the dream's mistakes.
    config = DreamFitnessConfig(rollouts=16, action_noise=0.3, saturation_penalty=0.5)
    entry = eye_entry(eye, vision=args.vision, memory=args.memory)
    with (
        tempfile.TemporaryDirectory() as folder,
        CMAES(
            DreamFitness(eye, config),
            CMAESConfig(generations=args.generations, population=32),
            path=Path(folder) / "run",
            seed=args.seed,
            eye=entry,
        ) as learner,
    ):
        learner.learn(max_seconds=args.seconds)
        learner.save(args.out / _FRESH)
        console.print(
            f"{learner.generation} generations of 32 controllers, 16 dreams each, in "
            f"{learner.seconds:.0f} s; no real reward was seen."
        )
        return learner.agent


def _score(args: Args, name: str, agent: "Agent", eye: "Eye") -> _Driver:
    from wmrl.agents.evaluation import evaluate, evaluate_dream

    # The game's own time, so that both scores are of as many decisions.
    decisions = eye.task.max_frames // eye.frame_skip
    dream = evaluate_dream(agent, episodes=64, decisions=decisions, eye=eye, name=name)
    real = evaluate(
        agent, episodes=args.episodes, base=eye.task.env_id, eye=eye, name=name, progress=True
    )
    return _Driver(name, agent, eye, dream, real)


def _score_random(args: Args) -> _Driver:
    from wmrl.agents.evaluation import RANDOM, evaluate
    from wmrl.envs.tasks.registry import find_task

    base = find_task("car-racing").env_id
    real = evaluate(RANDOM, episodes=args.episodes, base=base, progress=True)
    return _Driver(_RANDOM, None, None, None, real)


def _print_table(drivers: list[_Driver], console: "Console") -> None:
    from rich.table import Table

    console.rule("4  What the dream promised, and what the game gave")
    table = Table(caption="mean ± standard deviation of the return; 900 counts as solved")
    table.add_column("driver")
    for column in ("dream score", "real score", "best", "worst"):
        table.add_column(column, justify="right")
    notes = {_FRESH: "fresh, just learned in the dream", _RANDOM: "random actions"}
    for driver in drivers:
        real = driver.real
        cells = [_written(driver.dream), _written(real)]
        cells += [f"{extreme(real.returns):.0f}" for extreme in (max, min)]
        table.add_row(notes.get(driver.name, driver.name), *cells)
    console.print(table)
    console.print("A few episodes say little: wmrl evaluate scores a driver by the full protocol.")


def _written(result: "EvaluationResult | None") -> str:
    return "–" if result is None else f"{result.mean:.0f} ± {result.std:.0f}"


def _film(args: Args, drivers: list[_Driver], console: "Console") -> None:
    import torch

    from wmrl.agents.seeds import EVALUATION_SEEDS
    from wmrl.agents.video import FilmConfig, record

    torch.set_num_threads(1)  # frames come one by one: threads would only wait for each other
    console.rule("5  Films: the game, what the eye keeps of it, and the dream")
    # One track for all, to compare them by.
    config = FilmConfig(seed=EVALUATION_SEEDS.start, decisions=args.film_decisions)
    for driver in drivers:
        if driver.agent is None or driver.eye is None:
            continue
        path = args.out / f"{driver.name}.mp4"
        with console.status(f"filming {driver.name} …"):
            film = record(driver.agent, path, eye=driver.eye, config=config)
        console.print(f"{path.resolve()}  (return {film.score:.0f})", soft_wrap=True)
    console.print(f"The fresh controller: {(args.out / _FRESH).resolve()}", soft_wrap=True)
