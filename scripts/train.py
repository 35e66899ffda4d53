"""Runs the whole loop, from nothing to a driver; the same command resumes it after any stop.

Round by round: collect rollouts, train the vision, train the memory, train a driver in the dream,
drive with it and collect what it sees. At the end the driver goes on learning in the real game.
The folder ends up with a folder for each round (data/, vision/, memory/, driver/), real/driver/,
and curve.csv: the real score over minutes and real frames, and what the dream had promised.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl train``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/car-racing")
    """Folder of the run; made if it isn't there, resumed if it is."""
    task: str = "car-racing"
    """What to learn: a task's name, or module:ATTRIBUTE of your own."""
    hours: float = 1.0
    """Time to spend on two cores; every stage has its share, and learns what fits into it."""
    rounds: int = 5
    """Rounds of collecting, learning the world, and learning to act in the dream."""
    symbols: bool = False
    """See by a VQ-VAE and dream in its codes, in place of a VAE and an MDN-RNN."""
    real: bool = True
    """Go on in the real game at the end; otherwise end with the driver that saw only dreams."""
    seed: int = 0
    """Root of all randomness."""
    workers: int | None = None
    """Processes that play; one for each core if not given. Changes nothing but the speed."""
    device: str = "auto"
    """Where models are trained and run: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains, and says where things are."""
    from dataclasses import replace

    from wmrl.agents.pipeline.loop import train
    from wmrl.agents.pipeline.plan import TrainingPlan

    plan = TrainingPlan.for_hours(args.hours, symbols=args.symbols)
    plan = replace(plan, rounds=args.rounds)
    if not args.real:
        plan = replace(plan, real_envs=0)
    result = train(
        args.task, args.out, plan=plan, seed=args.seed, workers=args.workers, device=args.device
    )
    for name in ("vision", "memory", "dream", "real", "curve"):
        if path := getattr(result, name):
            print(f"{name:7} {path}")
