"""Learns to survive in Doom's Take Cover by training in the dream alone, as in World Models.

A world model is trained on random play. Agents are then trained in its dream, by PPO or by CMA-ES
with the paper's linear controller, at one or several temperatures τ. As in the paper, they observe
[z, c, h]: the latent, and the cell state and the hidden state of the memory model's LSTM.
They are scored in the dream and in the game, by the number of tics that they survive, at most 2100.
At a low temperature, agents learn to exploit errors of the dream. Their scores in the dream are
then much higher than in the game. If the command is interrupted, repeat it to continue. The output
folder contains table.md and results.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import (
    check_names,
    check_seeds,
    finish,
    mean_and_spread,
    quick_args,
)
from wmrl.training.progress import stages

if TYPE_CHECKING:
    from wmrl.scripts.reproduce.take_cover.experiment import (
        AgentTrialConfig,
        Learner,
        WorldModelConfig,
    )


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce take-cover``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/take-cover")
    """Output folder of the table and the results."""
    work: Path = Path("runs/reproduce-take-cover")
    """Folder of the rollouts and the training runs; finished ones are not repeated."""
    task: str = "take-cover"
    """Task: take-cover, or wmrl.envs:TAKE_COVER_PAPER for the frames of World Models; a registered
    name, the id of an environment, or module:ATTRIBUTE for a task of your own."""
    learners: tuple[str, ...] = ("ppo",)
    """Algorithms that train the agents: any of ppo and cma-es."""
    temperatures: tuple[float, ...] = (1.0, 1.15)
    """Temperatures τ of the dreams. The World Models paper compares 0.1, 0.5, 1, 1.15 and 1.3."""
    episodes: int = 2000
    """Number of episodes of random play on which the world model is trained."""
    vision_steps: int = 6_000
    """Number of gradient steps of the vision model."""
    memory_steps: int = 8_000
    """Number of gradient steps of each memory model."""
    hidden_dim: int = 256
    """Number of hidden units of the LSTM in each memory model; 512 in World Models."""
    num_members: int = 1
    """Number of memory models in the ensemble."""
    pessimism: float = 0.0
    """Factor k. The reward in a dream is the mean of the rewards that the memory models predict,
    minus k times the standard deviation of these rewards. With a single memory model, k has no
    effect."""
    ppo_steps: int = 6_000_000
    """Number of agent steps in the dream for which PPO trains."""
    generations: int = 100
    """Number of generations of CMA-ES, with 32 controllers each."""
    score_episodes: int = 100
    """Number of episodes for which each trained agent is scored in the game."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds. Each seed has its own rollouts, world model and agents."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {
    "temperatures": (1.0,),
    "episodes": 16,
    "vision_steps": 40,
    "memory_steps": 20,
    "hidden_dim": 64,
    "ppo_steps": 16_384,
    "generations": 1,
    "score_episodes": 4,
    "seeds": (0,),
}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Trains the models and agents that are missing, and writes the table and the results."""
    from wmrl.envs.tasks.registry import find_task
    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.reproduce.take_cover.experiment import (
        LEARNERS,
        random_scores,
        train_world_model,
        try_agent,
    )
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json

    args = quick_args(args, QUICK)
    learners: Sequence[Learner] = args.learners  # type: ignore[assignment]
    check_names("learners", learners, LEARNERS)
    check_seeds(args.seeds)
    settings, trial, task = _world_model(args), _trial(args), find_task(args.task)
    write_options(args, args.out, command="reproduce take-cover")
    rows, randoms = [], []
    for seed in args.seeds:
        folder = args.work / f"seed-{seed}"
        ref = train_world_model(
            folder / "world-model",
            settings,
            task=task,
            seed=seed,
            workers=args.workers,
            device=args.device,
        )
        randoms.append({"seed": seed, **random_scores(folder / "world-model" / "data")})
        trials = [(each, tau) for each in learners for tau in args.temperatures]
        for learner, tau in stages(trials, lambda trial: f"{trial[0]}, τ = {trial[1]:g}"):
            row = try_agent(
                learner,
                folder / f"{learner}-{tau:g}",
                ref=ref,
                temperature=tau,
                config=trial,
                task=task,
                seed=seed,
                workers=args.workers,
                device=args.device,
            )
            rows.append({name: value for name, value in row.items() if name != "key"})
            shown = ("learner", "temperature", "seed", "dream", "mean", "std")
            print(json.dumps({name: row[name] for name in shown}))
    report = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "world_model": asdict(settings),
        "trial": asdict(trial),
        "quick": args.quick,
        "versions": package_versions("gymnasium", "stable-baselines3", "cma", "vizdoom"),
        "random": randoms,
        "rows": rows,
    }
    write_json(args.out / "results.json", report)
    finish(args.out, write_table(rows, randoms), command="reproduce take-cover", quick=args.quick)


def _world_model(args: Args) -> "WorldModelConfig":
    from dataclasses import replace

    from wmrl.scripts.reproduce.take_cover.experiment import WorldModelConfig

    config = WorldModelConfig()
    return replace(
        config,
        episodes=args.episodes,
        vision_training=replace(config.vision_training, steps=args.vision_steps),
        memory=replace(config.memory, hidden_dim=args.hidden_dim),
        memory_training=replace(config.memory_training, steps=args.memory_steps),
        num_members=args.num_members,
        pessimism=args.pessimism,
    )


def _trial(args: Args) -> "AgentTrialConfig":
    from dataclasses import replace

    from wmrl.scripts.reproduce.take_cover.experiment import AgentTrialConfig

    config = AgentTrialConfig()
    return replace(
        config,
        ppo=replace(config.ppo, steps=args.ppo_steps),
        cma_es=replace(config.cma_es, generations=args.generations),
        episodes=args.score_episodes,
    )


def write_table(rows: Sequence[Mapping[str, Any]], randoms: Sequence[Mapping[str, Any]]) -> str:
    """Formats the results as a Markdown table.

    Args:
        rows: results of :func:`~wmrl.scripts.reproduce.take_cover.experiment.try_agent`.
        randoms: for each seed, the ``mean`` score of random play and its number of ``episodes``.
    """
    from wmrl.scripts.reproduce.dream_trial import trial_cells
    from wmrl.scripts.reproduce.take_cover.experiment import LEARNERS

    played = sum(each["episodes"] for each in randoms)
    lines = [
        "# Take Cover, learned in the dream alone",
        "",
        "Survived tics, at most 2100, of agents that saw no reward of the game: means over "
        f"{len(randoms)}",
        f"training seeds of {len(rows[0]['returns'])} episodes each, ± the standard deviation over "
        "seeds. World Models",
        "reports 1092 ± 556 at τ = 1.15 and counts 750 as solved; its actions last one tic, here "
        "four.",
        "Made by `wmrl reproduce take-cover`; every run is in [results.json](results.json).",
        "",
        "| learner | τ | in the dream | in the game | minutes of learning |",
        "| --- " * 5 + "|",
    ]
    for learner, title in LEARNERS.items():
        for tau in dict.fromkeys(row["temperature"] for row in rows):
            own = [r for r in rows if (r["learner"], r["temperature"]) == (learner, tau)]
            if own:
                cells = trial_cells(own, dream=".0f")
                lines.append(f"| {title} | {tau:g} | {' | '.join(cells)} |")
    average = mean_and_spread([each["mean"] for each in randoms], ".0f")
    lines.append(f"| random play, {played} episodes | – | – | {average} | – |")
    return "\n".join([*lines, ""])
