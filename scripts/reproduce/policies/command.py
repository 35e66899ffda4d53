"""Compares training methods in the same dream: CMA-ES, variational search and PPO.

All methods train for the same number of agent steps in the dream. Their agents are then scored in
the dream and in the unmodified game. Variational search learns a posterior over controllers.
Controllers are sampled from this posterior, with its standard deviations multiplied by several
factors. The sampled controllers are evaluated in the dream and in the game as well. If the command
is interrupted, repeat it to continue. The output folder contains table.md, results.json, and
drawn.mp4. In this video, the mean and several samples of a posterior drive on the same track.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.core.validation import check_int
from wmrl.scripts.tables import (
    check_names,
    check_seeds,
    finish,
    mean_and_spread,
    quick_args,
)
from wmrl.training.progress import stages

if TYPE_CHECKING:
    from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
    from wmrl.envs.world_model import WorldModel
    from wmrl.scripts.reproduce.policies.experiment import Method, PolicyTrialConfig, SpreadConfig


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce policies``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/policies")
    """Output folder of the table, the results and the video."""
    work: Path = Path("runs/reproduce-policies")
    """Folder of the training runs; finished ones are not repeated."""
    vision: str = "car-racing-vae"
    """Vision model: a shipped name, a path, or hf://user/name."""
    memory: str = "auto"
    """Memory model: a shipped name, a path, or hf://user/name; "auto" for the one shipped with the
    vision model."""
    task: str = "car-racing"
    """Task: a registered name, the id of an environment such as ALE/Boxing-v5, or module:ATTRIBUTE
    for a task of your own."""
    methods: tuple[str, ...] = ()
    """Training methods to compare: any of cma-es, variational, variational-raw,
    variational-low-rank and ppo; all if not given."""
    generations: int = 60
    """Number of generations of CMA-ES and variational search, with 64 controllers each. PPO trains
    for the same number of agent steps."""
    num_rollouts: int = 16
    """Number of rollouts of each controller in the dream."""
    score_episodes: int = 100
    """Number of episodes for which each trained agent is scored in the unmodified game."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds; each method is trained once per seed."""
    num_samples: int = 25
    """Number of controllers to sample from each posterior, at each multiple of its standard
    deviations."""
    sample_episodes: int = 4
    """Number of episodes of each sampled controller in the real game."""
    video_agent_steps: int = 250
    """Length of the video, in agent steps; 0 for no video."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {
    "generations": 2,
    "num_rollouts": 2,
    "score_episodes": 2,
    "seeds": (0,),
    "num_samples": 2,
    "sample_episodes": 1,
    "video_agent_steps": 25,
}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Trains the agents that are missing, and writes the table, the results and the video."""
    from wmrl.agents.world_model_ref import WorldModelRef
    from wmrl.envs.world_model import WorldModel
    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.options import find_task_aloud
    from wmrl.scripts.reproduce.policies.experiment import METHODS, try_policy, try_spread
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json

    args = quick_args(args, QUICK)
    methods: Sequence[Method] = args.methods or tuple(METHODS)  # type: ignore[assignment]
    check_names("methods", methods, METHODS)
    check_seeds(args.seeds)
    check_int("video_agent_steps", args.video_agent_steps, at_least=0)
    trial, spread = _trial(args), _spread_config(args)
    task = find_task_aloud(args.task)
    world_model = WorldModel.open(task, args.vision, args.memory, device=args.device)
    ref = WorldModelRef.of(world_model, vision=args.vision, memory=args.memory)
    write_options(args, args.out, command="reproduce policies")
    rows, spreads = [], []
    for seed in args.seeds:
        for method in stages(methods, lambda method: f"{method}, seed {seed}"):  # noqa: B023
            path = args.work / f"{method}-{seed}"
            row = try_policy(
                method,
                path,
                world_model=world_model,
                config=trial,
                seed=seed,
                ref=ref,
                workers=args.workers,
            )
            rows.append({key: value for key, value in row.items() if key != "key"})
            shown = {key: row[key] for key in ("method", "seed", "dream", "mean", "std")}
            print(json.dumps(shown))
            if method.startswith("variational"):
                found = try_spread(
                    _posterior(path),
                    path,
                    world_model=world_model,
                    fitness=trial.fitness,
                    config=spread,
                    seed=seed,
                    workers=args.workers,
                )
                spreads += [{"method": method, "seed": seed, **each} for each in found]
    recorded = [name for name in methods if name.startswith("variational")]
    if recorded and args.video_agent_steps:
        posterior = _posterior(args.work / f"{recorded[0]}-{args.seeds[0]}")
        _video(args, world_model, posterior, args.out / "drawn.mp4")
    report = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "trial": asdict(trial),
        "quick": args.quick,
        "versions": package_versions("gymnasium", "stable-baselines3", "cma"),
        "rows": rows,
        "spreads": spreads,
    }
    write_json(args.out / "results.json", report)
    video = "drawn.mp4" if args.video_agent_steps else None
    table = write_table(rows, spreads, args.num_samples, args.sample_episodes, video=video)
    finish(args.out, table, command="reproduce policies", quick=args.quick)


def _trial(args: Args) -> "PolicyTrialConfig":
    from dataclasses import replace

    from wmrl.scripts.reproduce.policies.experiment import PolicyTrialConfig

    config = PolicyTrialConfig()
    return replace(
        config,
        generations=args.generations,
        fitness=replace(config.fitness, num_rollouts=args.num_rollouts),
        episodes=args.score_episodes,
    )


def _posterior(path: Path) -> "PosteriorAgent":
    from wmrl.agents.policy_search.posterior_agent import PosteriorAgent

    return PosteriorAgent.load(path / "agent")


def _spread_config(args: Args) -> "SpreadConfig":
    from wmrl.scripts.reproduce.policies.experiment import SpreadConfig

    return SpreadConfig(
        num_samples=args.num_samples,
        num_rollouts=args.num_rollouts,
        episodes=args.sample_episodes,
    )


def _video(args: Args, world_model: "WorldModel", posterior: "PosteriorAgent", path: Path) -> None:
    """Writes a video in which the mean and samples of a posterior play the same episode."""
    from wmrl.agents.agent import Agent
    from wmrl.core.device import torch_threads
    from wmrl.scripts.reproduce.driver_videos import DriverVideoConfig, write_drivers_video

    agents: dict[str, Agent] = {"mean": posterior}
    for scale, count in ((0.5, 2), (1.0, 3), (2.0, 2)):
        for number in range(count):
            label = f"{scale:g} std, {'abc'[number]}"
            agents[label] = posterior.sample(number, scale=scale)
    config = DriverVideoConfig(agent_steps=args.video_agent_steps, width=200, speed=2.0)
    with torch_threads(1):  # more threads are slower on single frames
        write_drivers_video(agents, path, world_model=world_model, config=config)


def write_table(
    rows: Sequence[dict[str, Any]],
    spreads: Sequence[dict[str, Any]],
    num_samples: int,
    episodes: int,
    *,
    video: str | None = None,
) -> str:
    """Formats the results as Markdown tables.

    Args:
        rows: results of :func:`~wmrl.scripts.reproduce.policies.experiment.try_policy`.
        spreads: rows of :func:`~wmrl.scripts.reproduce.policies.experiment.try_spread`, with
            ``method`` and ``seed`` added.
        num_samples: number of controllers sampled at each multiple of the standard deviations.
        episodes: number of episodes of each sampled controller in the real game.
        video: file name of the video, which is in the folder of the table; None without a video.
    """
    import numpy as np

    from wmrl.scripts.reproduce.dream_trial import trial_cells
    from wmrl.scripts.reproduce.policies.experiment import METHODS

    seeds = len({row["seed"] for row in rows})
    lines = [
        "# Training methods in the same dream",
        "",
        f"Each has {rows[0]['steps'] / 1e6:.1f} million dreamed agent steps; mean ± standard "
        f"deviation over {seeds}",
        "seeds of training. The dream score is the mean return of deterministic episodes in other",
        f"dreams, the real one that of {len(rows[0]['returns'])} episodes of {rows[0]['base']}. "
        "Made by `wmrl reproduce",
        "policies`; every run is in [results.json](results.json).",
        "",
        "| method | in the dream | share of CMA-ES's | in the game | minutes of learning |",
        "| --- " * 5 + "|",
    ]
    best = [row["dream"] for row in rows if row["method"] == "cma-es"]
    for method, title in METHODS.items():
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        mean = np.mean([row["dream"] for row in own])
        # A share of a return of 0 or less is meaningless.
        share = "–" if not sum(best) > 0 else f"{mean / np.mean(best):.0%}"
        dream, game, minutes = trial_cells(own, dream=".1f")
        lines.append(f"| {title} | {dream} | {share} | {game} | {minutes} |")
    if not spreads:
        return "\n".join([*lines, ""])
    lines += [
        "",
        "## Samples of the posteriors",
        "",
        f"{num_samples} agents drawn from each posterior at each multiple of its standard "
        f"deviations, {episodes}",
        "episodes each in the game as this project renders it (same physics and tracks). In the",
        "dream their actions have noise, as in training but unlike in the scores above. The",
        "correlation (Spearman) is that of agents' returns in the dream with those in the game,",
        "which shows how well the dream ranks agents."
        + (f" [{video}]({video}) shows" if video else ""),
        *(["some on the same track."] if video else []),
        "",
        "| method | multiple | in the dream | in the game | spread of agents there | correlation |",
        "| --- " * 6 + "|",
    ]
    for method, title in METHODS.items():
        for scale in dict.fromkeys(each["scale"] for each in spreads):
            own = [e for e in spreads if (e["method"], e["scale"]) == (method, scale)]
            if own:
                lines.append(f"| {title} | {_multiple(scale)} | {' | '.join(_spread_cells(own))} |")
    return "\n".join([*lines, ""])


def _multiple(scale: float) -> str:
    return f"{scale:g}" if scale else "the mean alone"


def _spread_cells(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Formats the table cells of one method and one scale of the standard deviations.

    Args:
        rows: rows of :func:`~wmrl.scripts.reproduce.policies.experiment.try_spread`, one for each
            seed.
    """
    import numpy as np

    cells = [
        mean_and_spread([float(np.mean(row[kind])) for row in rows], form)
        for kind, form in (("dream", ".1f"), ("real", ".0f"))
    ]
    if len(rows[0]["real"]) == 1:
        return [*cells, "–", "–"]
    cells.append(mean_and_spread([float(np.std(row["real"], ddof=1)) for row in rows], ".0f"))
    known = [row["correlation"] for row in rows if row["correlation"] is not None]
    return [*cells, mean_and_spread(known, ".2f") if known else "–"]
