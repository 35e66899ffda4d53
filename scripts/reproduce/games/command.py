"""Trains agents in games for which no setting was tuned, and compares them with baselines.

In each game, the whole training loop of wmrl train runs with its default settings, once per seed.
The final agents are scored in the real game. The baselines are uniformly random actions, and PPO of
Stable-Baselines3, which is trained on the frames of the real game for as many agent steps as the
training loop used. Atari games are limited to 100,000 agent steps, as in the Atari 100k benchmark.
If the command is interrupted, repeat it to continue; only the training of a PPO baseline starts
again. The output folder contains table.md and results.json.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.core.validation import check_int
from wmrl.scripts.tables import (
    check_once,
    check_seeds,
    finish,
    mean_and_spread,
    quick_args,
)
from wmrl.training.progress import stages

if TYPE_CHECKING:
    from wmrl.envs.tasks.task import Task


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce games``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/games")
    """Output folder of the table and the results."""
    work: Path = Path("runs/reproduce-games")
    """Folder of the training runs; finished ones are not repeated."""
    tasks: tuple[str, ...] = (
        "MiniGrid-DoorKey-6x6-v0",
        "MountainCarContinuous-v0",
        "ALE/Boxing-v5",
        "boxing-without-sticky-actions",
        "ALE/Pong-v5",
    )
    """Tasks: registered names, ids of environments, or module:ATTRIBUTE for tasks of your own; also
    boxing-without-sticky-actions and pong-without-sticky-actions, with the settings of the Atari
    100k benchmark."""
    minutes: float = 20.0
    """Time of each training loop in minutes, for a machine with two cores. Each stage is limited to
    a share of this time."""
    rounds: int = 5
    """Number of rounds of each training loop. Each round collects rollouts, trains the world model,
    and trains the agent."""
    atari_steps: int = 100_000
    """Limit on the number of agent steps of the real game in which a training loop collects data
    and fine-tunes the agent, for environments whose id begins with ALE/. Other games have no
    limit."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds; each training loop and each PPO baseline runs once per seed."""
    score_episodes: int = 100
    """Number of episodes for which random actions and each trained agent are scored in the real
    game."""
    baseline: bool = True
    """Train PPO of Stable-Baselines3 on the frames of each game."""
    baseline_stack: int = 4
    """Number of successive frames that the PPO baseline observes together."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {
    "tasks": ("CartPole-v1",),  # short episodes, and no extra packages
    "minutes": 0.2,
    "rounds": 1,
    "seeds": (0,),
    "score_episodes": 2,
}
"""Default values of options in a quick run, keyed by the name of the option."""

_LEAST_STEPS = 100  # agent steps of the real game per round

_NOT_RANDOM = (
    "Without sticky actions, Atari games are not random, so all episodes of a trained agent are",
    "the same.",
)


def main(args: Args) -> None:
    """Trains and scores what is missing, and writes the table and the results."""
    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.options import show_notes
    from wmrl.scripts.reproduce.games.experiment import (
        check_frames,
        find_game,
        plan_for,
        score_random,
        try_loop,
        try_ppo,
    )
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json

    args = quick_args(args, QUICK)
    check_seeds(args.seeds)
    check_int("atari_steps", args.atari_steps, at_least=_LEAST_STEPS * args.rounds)
    if not args.tasks:
        raise ValueError("tasks: expected at least one task, got none; pass some tasks")
    tasks = [find_game(text) for text in args.tasks]  # before any work: packages may be missing
    check_once("tasks", [task.name for task in tasks])
    for task in tasks:
        show_notes(task)
        if args.baseline:
            check_frames(task)
    write_options(args, args.out, command="reproduce games")
    shared: dict[str, Any] = {"episodes": args.score_episodes, "workers": args.workers}
    randoms, rows = [], []
    for task in stages(tasks, lambda task: task.name):
        folder = args.work / re.sub(r"[^\w.@-]+", "-", task.name)
        score = score_random(task, folder / "random.json", **shared)
        randoms.append({"game": task.name, **_without_key(score)})
        plan = plan_for(
            task, minutes=args.minutes, rounds=args.rounds, atari_steps=args.atari_steps
        )
        for seed in stages(args.seeds, lambda seed: f"{task.name}, seed {seed}"):  # noqa: B023
            path = folder / f"seed-{seed}"
            each = {**shared, "seed": seed, "device": args.device}
            row = _without_key(try_loop(task, path, plan=plan, **each))
            ppo = None
            if args.baseline:
                stack = args.baseline_stack
                found = try_ppo(task, path, steps=row["steps"], frame_stack=stack, **each)
                ppo = _without_key(found)
            row = {"game": task.name, "env_id": task.env_id, "seed": seed, **row, "ppo": ppo}
            rows.append(row)
            print(json.dumps(_shown(row)))
    report = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "quick": args.quick,
        "versions": package_versions("gymnasium", "stable-baselines3", *_packages_of(tasks)),
        "random": randoms,
        "rows": rows,
    }
    write_json(args.out / "results.json", report)
    table = write_table(rows, randoms, args)
    finish(args.out, table, command="reproduce games", quick=args.quick)


def _without_key(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "key"}


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a row that are printed when its training is finished."""
    ppo = None if row["ppo"] is None else row["ppo"]["mean"]
    return {name: row[name] for name in ("game", "seed", "steps", "mean")} | {"ppo": ppo}


def _packages_of(tasks: "Sequence[Task]") -> list[str]:
    """Returns the names of the installed packages that contain the games."""
    games = {"ALE/": ("ale-py", "ale_py"), "MiniGrid-": ("minigrid", "minigrid")}
    return [
        package
        for prefix, (package, module) in games.items()
        if any(task.env_id.startswith(prefix) for task in tasks) and find_spec(module)
    ]


def write_table(
    rows: Sequence[Mapping[str, Any]], randoms: Sequence[Mapping[str, Any]], args: Args
) -> str:
    """Formats the results as a Markdown table.

    Args:
        rows: for each game and seed, the result of
            :func:`~wmrl.scripts.reproduce.games.experiment.try_loop`, with ``game``, ``env_id`` and
            ``seed``, and with ``ppo``, the result of
            :func:`~wmrl.scripts.reproduce.games.experiment.try_ppo` or None.
        randoms: for each game, the ``game`` and the ``mean`` score of random actions.
        args: options of the command.
    """
    from wmrl.scripts.reproduce.games.experiment import PUBLISHED, VARIANTS

    seeds = len({row["seed"] for row in rows})
    stack = args.baseline_stack
    observed = "single frames" if stack == 1 else f"stacks of {stack} frames"
    heads = ["game", "`wmrl train`", "random play", "PPO on frames", "agent steps in the game"]
    heads += ["published, after 100,000 agent steps"]
    lines = [
        "# Games for which nothing was tuned",
        "",
        f"Mean returns of {len(rows[0]['returns'])} episodes of the real game, ± the standard "
        f"deviation over {seeds} seeds of",
        f"training. The agents are those of `wmrl train --minutes {args.minutes:g} --rounds "
        f"{args.rounds}`, with the defaults",
        f"of all other settings; Atari games are limited to {args.atari_steps:,} agent steps. PPO",
        "is that of Stable-Baselines3, with `CnnPolicy` and its default hyperparameters, on",
        f"{observed} of 8 parallel games. It has as many agent steps of the real game, rounded up",
        "to whole rollouts. Published figures are those of Atari games without sticky actions, by",
        "[IRIS](https://arxiv.org/abs/2209.00588) and [SimPLe](https://arxiv.org/abs/1903.00374).",
        "Made by `wmrl reproduce games`; every run is in [results.json](results.json).",
        *(_NOT_RANDOM if any(row["game"] in VARIANTS for row in rows) else ()),
        "",
        f"| {' | '.join(heads)} |",
        "| --- " * len(heads) + "|",
    ]
    for each in randoms:
        own = [row for row in rows if row["game"] == each["game"]]
        means = [row["mean"] for row in own]
        baseline = [row["ppo"]["mean"] for row in own if row["ppo"] is not None]
        form = _form([*means, *baseline, each["mean"]])
        published = PUBLISHED.get(own[0]["env_id"], {})
        cells = [
            each["game"],
            mean_and_spread(means, form),
            f"{each['mean']:{form}}",
            mean_and_spread(baseline, form) if baseline else "–",
            _step_cell([row["steps"] for row in own]),
            ", ".join(f"{name} {score:.1f}" for name, score in published.items()) or "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _form(scores: Sequence[float]) -> str:
    """Returns the format of the scores of a game, which has two decimals for small scores."""
    return ".2f" if max(map(abs, scores)) < 10 else ".1f"


def _step_cell(steps: Sequence[int]) -> str:
    """Formats numbers of agent steps; they differ between seeds if a time limit stopped them."""
    distinct = sorted(set(steps))
    return mean_and_spread(distinct if len(distinct) == 1 else steps, ",.0f")
