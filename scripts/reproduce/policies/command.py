"""Ways to train controllers in the same dream: CMA-ES, variational search and PPO.

Each has as many dreamed decisions, and its drivers are scored in that dream and in the unmodified
game. Drivers drawn from the posterior, nearer to its mean and further from it, then show what its
spread is worth. Killed at any moment, the same command goes on. The folder ends up with table.md,
results.json, and drawn.mp4: drivers of one posterior on the same track.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import check_names, check_seeds, mean_and_spread

if TYPE_CHECKING:
    from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
    from wmrl.envs.world_model import Eye
    from wmrl.scripts.reproduce.policies.experiment import Method, PolicyTrialConfig, SpreadConfig


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce policies``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/policies")
    """Where the table and the film go."""
    work: Path = Path("runs/reproduce-policies")
    """Where everything is made; what is there is not made again."""
    vision: str = "car-racing-vae"
    """The eye: a shipped name, or the path of an artifact."""
    memory: str = "auto"
    """Its memory; "auto" for the shipped one of that eye."""
    task: str = "car-racing"
    """What to play: a task's name, or module:ATTRIBUTE of your own."""
    methods: tuple[str, ...] = ()
    """Ways to train, of cma-es, variational, variational-raw, variational-low-rank and ppo; all of
    them if none."""
    generations: int = 60
    """Generations of the searches, 64 controllers each; PPO has as many decisions."""
    rollouts: int = 16
    """Dreams for each controller."""
    score_episodes: int = 100
    """Episodes of each driver's score."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training of everything for each."""
    draws: int = 25
    """Drivers drawn from each posterior at each multiple of its standard deviations."""
    draw_episodes: int = 4
    """Real episodes of each."""
    film_decisions: int = 250
    """Decisions of the film; 0 for none."""
    workers: int | None = None
    """Processes that play; one a core if not given."""
    device: str = "auto"
    """Where the models run: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains what is not trained yet, and writes table and film."""
    from wmrl.agents.world_model_ref import eye_entry, lasting_name
    from wmrl.envs.world_model import Eye
    from wmrl.scripts.reproduce.policies.experiment import METHODS, try_policy, try_spread
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_report, write_text

    methods: Sequence[Method] = args.methods or tuple(METHODS)  # type: ignore[assignment]
    check_names("methods", methods, METHODS)
    check_seeds(args.seeds)
    if args.film_decisions < 0:
        raise ValueError(f"film_decisions: expected at least 0, got {args.film_decisions}")
    trial, spread = _trial(args), _spread_config(args)
    eye = Eye.open(args.task, args.vision, args.memory, device=args.device)
    entry = eye_entry(eye, vision=lasting_name(args.vision), memory=lasting_name(args.memory))
    args.out.mkdir(parents=True, exist_ok=True)
    rows, spreads = [], []
    for seed in args.seeds:
        for method in methods:
            path = args.work / f"{method}-{seed}"
            row = try_policy(
                method,
                path,
                eye=eye,
                config=trial,
                seed=seed,
                entry=entry,
                workers=args.workers,
            )
            rows.append({key: value for key, value in row.items() if key != "asked"})
            shown = {key: row[key] for key in ("method", "seed", "dream", "mean", "std")}
            print(json.dumps(shown))
            if method.startswith("variational"):
                found = try_spread(
                    _posterior(path),
                    path,
                    eye=eye,
                    trials=trial.trials,
                    config=spread,
                    seed=seed,
                    workers=args.workers,
                )
                spreads += [{"method": method, "seed": seed, **each} for each in found]
    filmed = [name for name in methods if name.startswith("variational")]
    if filmed and args.film_decisions:
        posterior = _posterior(args.work / f"{filmed[0]}-{args.seeds[0]}")
        _film(args, eye, posterior, args.out / "drawn.mp4")
    report = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "trial": asdict(trial),
        "versions": package_versions("gymnasium", "stable-baselines3", "cma"),
        "rows": rows,
        "spreads": spreads,
    }
    write_report(args.out / "results.json", report)
    film = "drawn.mp4" if args.film_decisions else None
    table = write_table(rows, spreads, args.draws, args.draw_episodes, film=film)
    write_text(args.out / "table.md", table)
    print(table)


def _trial(args: Args) -> "PolicyTrialConfig":
    from dataclasses import replace

    from wmrl.scripts.reproduce.policies.experiment import PolicyTrialConfig

    config = PolicyTrialConfig()
    return replace(
        config,
        generations=args.generations,
        trials=replace(config.trials, rollouts=args.rollouts),
        episodes=args.score_episodes,
    )


def _posterior(path: Path) -> "PosteriorAgent":
    from wmrl.agents.policy_search.posterior_agent import PosteriorAgent

    return PosteriorAgent.load(path / "driver")


def _spread_config(args: Args) -> "SpreadConfig":
    from wmrl.scripts.reproduce.policies.experiment import SpreadConfig

    return SpreadConfig(draws=args.draws, dreams=args.rollouts, episodes=args.draw_episodes)


def _film(args: Args, eye: "Eye", posterior: "PosteriorAgent", path: Path) -> None:
    """The posterior's mean and drivers drawn around it, in the same episode."""
    from wmrl.agents.agent import Agent
    from wmrl.core.device import torch_threads
    from wmrl.scripts.reproduce.driver_videos import DriveFilmConfig, film_drivers

    agents: dict[str, Agent] = {"mean": posterior}
    for scale, count in ((0.5, 2), (1.0, 3), (2.0, 2)):
        for number in range(count):
            label = f"{scale:g} std, {'abc'[number]}"
            agents[label] = posterior.sample(number, scale=scale)
    config = DriveFilmConfig(decisions=args.film_decisions, width=200, speed=2.0)
    with torch_threads(1):  # frames come one by one: threads would only wait for each other
        film_drivers(agents, path, eye=eye, config=config)


def write_table(
    rows: Sequence[dict[str, Any]],
    spreads: Sequence[dict[str, Any]],
    draws: int,
    episodes: int,
    *,
    film: str | None = None,
) -> str:
    """What came out, as Markdown.

    Args:
        rows: drivers' scores, see :func:`~wmrl.scripts.reproduce.policies.experiment.try_policy`.
        spreads: those of drawn drivers, see
            :func:`~wmrl.scripts.reproduce.policies.experiment.try_spread`.
        draws: drivers at each multiple.
        episodes: of each of them.
        film: file that shows some of them, beside the table.
    """
    import numpy as np

    from wmrl.scripts.reproduce.policies.experiment import METHODS

    seeds = len({row["seed"] for row in rows})
    lines = [
        "# Ways to train in the same dream",
        "",
        f"Each has {rows[0]['steps'] / 1e6:.1f} million dreamed decisions; mean ± standard "
        f"deviation over {seeds}",
        "seeds of training. The dream score is that of deterministic drives in dreams of their",
        f"own, the real one that of {len(rows[0]['returns'])} episodes of {rows[0]['base']}. "
        "Made by `wmrl reproduce",
        "policies`; every run is in [results.json](results.json).",
        "",
        "| way | in the dream | share of CMA-ES's | in the game | minutes of learning |",
        "| --- " * 5 + "|",
    ]
    best = [row["dream"] for row in rows if row["method"] == "cma-es"]
    for method, title in METHODS.items():
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        dream = [row["dream"] for row in own]
        # A share of what is not above 0 says nothing.
        share = "–" if not sum(best) > 0 else f"{np.mean(dream) / np.mean(best):.0%}"
        cells = [
            mean_and_spread(dream, ".1f"),
            share,
            mean_and_spread([row["mean"] for row in own], ".0f"),
            mean_and_spread([row["seconds"] / 60 for row in own], ".1f"),
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    if not spreads:
        return "\n".join([*lines, ""])
    lines += [
        "",
        "## What a posterior's spread is worth",
        "",
        f"{draws} drivers drawn from each posterior at each multiple of its standard deviations, "
        f"{episodes}",
        "episodes each in the game as this project draws it (same physics and tracks). In the",
        "dream their actions have noise, as in training, which the scores above have not. The",
        "correlation (Spearman) is that of drivers' returns in the dream with those in the game:",
        "whether the dream knows which of them is the better one."
        + (f" [{film}]({film}) shows" if film else ""),
        *(["some on the same track."] if film else []),
        "",
        "| way | multiple | in the dream | in the game | spread of drivers there | correlation |",
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
    """Of one method and scale, all seeds."""
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
