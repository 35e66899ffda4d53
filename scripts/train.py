"""Runs the whole training loop; the same command resumes it after an interruption.

Each round collects rollouts, trains the vision model and the memory model, and trains an agent in
the dream; the next round collects rollouts with that agent. Finally the agent is fine-tuned in the
real game. The run's folder contains a folder for each round (data/, vision/, memory/, agent/),
real/agent/, and curve.csv: the real score over minutes and real frames, and the score that the
dream predicted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl train``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/car-racing")
    """Folder of the run; created if it does not exist, resumed if it does."""
    task: str = "car-racing"
    """The task: its name, or module:ATTRIBUTE of your own."""
    hours: float = 1.0
    """Total time on two cores. Each stage gets a share of it as its time limit."""
    rounds: int = 5
    """Rounds of collecting, training the world model, and training the agent in the dream."""
    latents: Literal["continuous", "discrete"] = "continuous"
    """Kind of latents. Continuous: a VAE and an MDN-RNN. Discrete: a VQ-VAE and a memory model over
    its codes."""
    real: bool = True
    """Fine-tune in the real game at the end; otherwise stop with the agent trained in dreams."""
    seed: int = 0
    """Root seed."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Runs the loop and prints where its results are."""
    from dataclasses import replace

    from wmrl.agents.pipeline.loop import train
    from wmrl.agents.pipeline.plan import TrainingPlan

    plan = TrainingPlan.for_hours(args.hours, latents=args.latents)
    plan = replace(plan, rounds=args.rounds)
    if not args.real:
        plan = replace(plan, real_envs=0)
    result = train(
        args.task, args.out, plan=plan, seed=args.seed, workers=args.workers, device=args.device
    )
    for name in ("vision", "memory", "dream", "real", "curve"):
        if path := getattr(result, name):
            print(f"{name:7} {path}")
