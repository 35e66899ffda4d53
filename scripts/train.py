"""Runs the whole training loop; after an interruption, the same command resumes it.

Each round collects rollouts, trains the world model, and trains an agent in the dream. The next
round collects rollouts with that agent. The vision model is trained in the first round or two only.
Finally the agent is fine-tuned in the real game.

The folder of the run contains a folder for each round (with data/, vision/, memory/ and agent/),
real/agent/ and curve.csv. Each row of curve.csv is about one score of the agent in the real game.
The columns are:

- point: name of the score, such as round 1.
- minutes: training time so far.
- real_frames: number of frames of the real game that the training has used so far.
- score_frames: number of frames that were played for the score.
- mean, std, standard_error and episodes: statistics of the returns, and number of episodes.
- per_agent_step: mean reward per agent step in the real game.
- promised_per_agent_step: mean reward per agent step in the dream.
"""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl train``."""

    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder of the run. If not given, it is in the folder runs, and its name is that of the task,
    with hyphens for slashes. If the folder exists, the run is resumed."""
    task: str = "car-racing"
    """Task: a registered name, the id of an environment such as ALE/Boxing-v5, or module:ATTRIBUTE
    for a task of your own."""
    frame_size: tuple[int, ...] | None = None
    """Height and width of the frames, or one number for both; if not given, the task's. If given,
    the name of the task ends in the shape of the frames, as in car-racing@84x84x1. Other commands
    take this name as --task."""
    grayscale: bool = False
    """Use gray frames. If not given, the frames are as in the task."""
    frame_stack: int | None = None
    """Number of successive frames that the vision model encodes together; if not given, the task's.
    With several frames, the vision model sees how things move, and the name of the task ends in
    this number, as in car-racing@84x84x1x4."""
    frame_skip: int | None = None
    """Number of base frames per agent step; if not given, the task's own."""
    minutes: float = 60.0
    """Total time in minutes, for a machine with two cores. Each stage is limited to a share of this
    time."""
    real_frames: int | None = None
    """Limit on the number of base frames of the real game that data collection and fine-tuning use.
    Episodes are cut off at the limit. Frames that are played for scores are not counted. If the
    limit is too low for fine-tuning, the agent is not fine-tuned. By default, there is no limit."""
    rounds: int = 5
    """Number of rounds. Each round collects rollouts, trains the world model, and trains the
    agent."""
    latents: Literal["continuous", "discrete"] | None = None
    """Kind of latents. Continuous: a VAE and an MDN-RNN. Discrete: a VQ-VAE and a memory model over
    its codes. If not given, discrete for take-cover, and continuous for other tasks."""
    real: bool = True
    """Fine-tune the agent in the real game at the end."""
    seed: int = 0
    """Root seed."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Runs the training loop, and prints the paths of its results."""
    from wmrl.agents.pipeline.loop import train
    from wmrl.agents.pipeline.plan import TrainingPlan
    from wmrl.scripts.config_file import recorded
    from wmrl.scripts.options import task_option, task_with_frames
    from wmrl.storage.files import check_writable

    task = task_with_frames(
        args.task,
        frame_size=args.frame_size,
        grayscale=args.grayscale,
        frame_stack=args.frame_stack,
    )
    if args.frame_skip is not None:
        task = replace(task, frame_skip=args.frame_skip)
    out = args.out or Path("runs") / re.sub(r"[^\w.@-]+", "-", task.name)
    check_writable(out, kind="folder", name="out")
    plan = TrainingPlan.for_minutes(
        args.minutes,
        task=task,
        latents=args.latents,
        rounds=args.rounds,
        fine_tuning=args.real,
        real_frames=args.real_frames,
    )
    if 60 * args.minutes < plan.least_seconds:
        print(
            f"wmrl: warning: minutes: expected at least {plan.least_seconds / 60:.1f} for "
            f"{plan.rounds} rounds on two cores, got {args.minutes:g}; the run takes about "
            f"{plan.least_seconds:.0f} s, and less with fewer --rounds or with --no-real",
            file=sys.stderr,
        )
    if args.real and not plan.real_envs:
        print(
            f"wmrl: warning: real_frames: {args.real_frames} frames are too few for fine-tuning in "
            "the real game; they are used only to collect data for the world model",
            file=sys.stderr,
        )
    with recorded(args, out, command="train"):
        result = train(
            task, out, plan=plan, seed=args.seed, workers=args.workers, device=args.device
        )
    for name in ("vision", "memory", "dream", "real", "curve"):
        if path := getattr(result, name):
            print(f"{name:7} {path}")
    print(f"next: wmrl evaluate {result.real or result.dream}{task_option(args.task, task)}")
