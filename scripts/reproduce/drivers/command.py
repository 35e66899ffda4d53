"""Elites that drive: MAP-Elites in the dream, driven for real, and an eye that learns from them.

Linear controllers compete in the dream for cells of how much they steer and how they use the
pedals; the elites then drive the real game. A VQ-VAE learns from what they see, and is compared
with one of the same size and budget that saw random driving: how well each reconstructs both kinds
of frames, and what drivers score that learn in its dream. Killed at any moment, the same command
goes on. The folder ends up with map.html (each cell leads to a film of its driver), maps as
pictures, table.md and results.json.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import check_counts, check_seeds, mean_and_spread

if TYPE_CHECKING:
    import numpy as np

    from wmrl.agents.controller import ControllerAgent
    from wmrl.data.store import RolloutStore
    from wmrl.envs.world_model import Eye
    from wmrl.scripts.reproduce.drivers.experiment import EliteDrivers
    from wmrl.scripts.reproduce.drivers.vision_trial import EyeTrialConfig


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce drivers``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/drivers")
    """Where the map, the films and the table go."""
    work: Path = Path("runs/reproduce-drivers")
    """Where everything is made; what is there is not made again."""
    vision: str = "car-racing-vae"
    """The eye of the elites: a shipped name, or the path of an artifact."""
    memory: str = "auto"
    """Its memory; "auto" for the shipped one of that eye."""
    task: str = "car-racing"
    """What to play: a task's name, or module:ATTRIBUTE of your own."""
    init: str | None = None
    """A linear controller to begin with, by path; one is evolved in the dream if not given."""
    evolution: int = 150
    """Generations of CMA-ES for that, 64 drivers each."""
    generations: int = 200
    """Generations of MAP-Elites, 100 drivers each."""
    rollouts: int = 16
    """Dreams for each driver."""
    confirm: int = 4
    """Real episodes for each elite."""
    episodes: int = 8
    """Real episodes of each elite that its frames are taken from."""
    least: float = 200.0
    """Mean return in the real game from which on an elite's frames are taken."""
    films: int = 150
    """Decisions of each elite's film; 0 for no films."""
    vision_steps: int = 2500
    """Gradient steps of each eye."""
    memory_steps: int = 3000
    """Gradient steps of each memory."""
    dream_steps: int = 1_000_000
    """Dreamed decisions of each driver."""
    score_episodes: int = 100
    """Episodes of each driver's score."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training of everything for each; none to end with the map."""
    ship: Path | None = None
    """Folder for car-racing-elite-vqvae, its memory and its driver, of the first seed."""
    workers: int | None = None
    """Processes that play; one a core if not given."""
    device: str = "auto"
    """Where the models run: auto, cpu, cuda …"""


HELD_OUT = 0.1
"""Share of the episodes that eyes are judged on."""

EYES = {"elite": "elites' frames", "random": "random driving"}
"""Eyes that are compared, by what they have seen."""


def main(args: Args) -> None:
    """Does what is not done yet, and writes pages, pictures and tables."""
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_report, write_text

    if args.ship is not None and not args.seeds:
        raise ValueError("ship: expected seeds, whose first is shipped, got none")
    check_seeds(args.seeds, optional=True)
    check_counts(
        evolution=args.evolution,
        generations=args.generations,
        rollouts=args.rollouts,
        confirm=args.confirm,
        episodes=args.episodes,
        vision_steps=args.vision_steps,
        memory_steps=args.memory_steps,
        dream_steps=args.dream_steps,
        score_episodes=args.score_episodes,
    )
    if args.films < 0:
        raise ValueError(f"films: expected at least 0, got {args.films}")
    drivers = _find(args)
    args.out.mkdir(parents=True, exist_ok=True)
    _show(args, drivers)
    rows, about = _compare(args, drivers) if args.seeds else ([], {})
    search = _about_search(args, drivers) | about.pop("search", {})
    report = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "versions": package_versions("gymnasium", "stable-baselines3"),
        "search": search,
        **about,
        "trials": rows,
    }
    write_report(args.out / "results.json", report)
    table = write_table(search, rows)
    write_text(args.out / "table.md", table)
    if args.ship is not None:
        _ship(args, args.ship, rows, about)
    print(table)


def _find(args: Args) -> "EliteDrivers":
    from dataclasses import replace

    from wmrl.agents.controller import ControllerAgent
    from wmrl.envs.world_model import Eye
    from wmrl.scripts.reproduce.drivers.experiment import DriverSearchConfig, find_drivers

    eye = Eye.open(args.task, args.vision, args.memory, device=args.device)
    init = _evolve(args, eye) if args.init is None else ControllerAgent.load(args.init)
    config = DriverSearchConfig()
    return find_drivers(
        args.work / "elites",
        eye=eye,
        config=replace(
            config,
            dream=replace(config.dream, rollouts=args.rollouts),
            search=replace(config.search, generations=args.generations),
            real=replace(config.real, rollouts=args.confirm),
        ),
        init=init,
        workers=args.workers,
    )


def _evolve(args: Args, eye: "Eye") -> "ControllerAgent":
    """A driver that CMA-ES makes in the dream."""
    from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
    from wmrl.agents.policy_search.fitness import DreamFitness, DreamFitnessConfig

    # Noise on the actions keeps it from exploiting what the dream gets wrong.
    tried = DreamFitnessConfig(rollouts=16, decisions=50, dropout=True, action_noise=0.2)
    config = CMAESConfig(generations=args.evolution, population=64)
    with CMAES(DreamFitness(eye, tried), config, path=args.work / "evolution") as learner:
        return learner.learn().agent


def _show(args: Args, drivers: "EliteDrivers") -> None:
    """Maps of the dream and of the game, and the page with a film in each cell."""
    import numpy as np

    from wmrl.agents.quality_diversity.heatmap import film_map, write_map
    from wmrl.scripts.reproduce.drivers.experiment import SNAPSHOTS
    from wmrl.scripts.reproduce.drivers.web_page import write_page

    archive, measures = drivers.problem.archive, drivers.problem.config.measures
    write_map(args.out / "dream.png", archive, drivers.dreamed, title="return in the dream")
    write_map(args.out / "real.png", archive, drivers.real, title="return in the real game")
    film_map(args.out / "dream.mp4", archive, np.load(args.work / "elites" / SNAPSHOTS))
    films = _film(args, drivers) if args.films else {}
    write_page(
        args.out / "map.html",
        archive,
        drivers.real,
        films,
        title="Elites that drive",
        measures=measures,
        text=(
            "Linear controllers that were the best of their kind in the dream, placed by how they "
            "drive in the real game: to the right those that steer more, upwards those that use "
            f"more gas. The brighter, the higher the mean return of {args.confirm} episodes, which "
            "also chose the best of each cell."
        )
        + (" A click shows how one drives." if films else ""),
    )


def _film(args: Args, drivers: "EliteDrivers") -> dict[int, str]:
    """A film of each elite in the real game: by its cell, where it is below ``args.out``."""
    from wmrl.core.device import torch_threads
    from wmrl.scripts.reproduce.driver_videos import DriveFilmConfig, film_drive

    config = DriveFilmConfig(decisions=args.films)
    kept: dict[str, Path] = {}
    with torch_threads(1):  # frames come one by one: threads would only wait for each other
        for row, cell in enumerate(drivers.real.cells):
            # By what they show: those of other drivers are not taken for these.
            agent = drivers.agent(row)
            digest = sha256(agent.parameters.tobytes()).hexdigest()[:12]
            film = args.work / "films" / f"{digest}-{args.films}.mp4"
            if not film.exists():
                film_drive(agent, film, eye=drivers.eye, config=config)
            kept[f"cell-{cell}.mp4"] = film
    shown = args.out / "films"
    shown.mkdir(exist_ok=True)
    for name, film in kept.items():
        shutil.copyfile(film, shown / name)
    for film in shown.iterdir():
        if film.name not in kept:  # of a cell that is empty now
            film.unlink()
    return {int(cell): f"films/cell-{cell}.mp4" for cell in drivers.real.cells}


def _compare(args: Args, drivers: "EliteDrivers") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each eye and seed, and what they learned from."""
    from wmrl.agents.rollouts.collection import collect
    from wmrl.data.split import split_episodes
    from wmrl.scripts.reproduce.drivers.experiment import drive
    from wmrl.scripts.reproduce.drivers.vision_trial import try_eye
    from wmrl.vision.evaluation import pick_frames

    data, task = args.work / "data", drivers.eye.task
    driven = {"episodes": args.episodes, "least": args.least, "workers": args.workers}
    elite = drive(drivers, data / "elite", seed=0, **driven)  # type: ignore[arg-type]
    frames = sum(s.length for store in elite for s in store.summaries) * task.frame_skip
    random = collect(
        task, data / "random", frames=frames, workers=args.workers, seed=0, device=args.device
    )
    stores = {"elite": elite, "random": [random]}
    # Episodes that no eye learns from.
    judged = {
        name: pick_frames(split_episodes(own, held_out=HELD_OUT).held_out, count=2000)
        for name, own in stores.items()
    }
    rows = []
    for seed in args.seeds:
        for name in EYES:
            row = try_eye(
                args.work / f"eye-{name}-{seed}",
                task=task,
                seen=stores[name],
                world=[*elite, random],
                judged=judged,
                config=_trial(args),
                seed=seed,
                workers=args.workers,
                device=args.device,
            )
            rows.append({"data": name, **{k: v for k, v in row.items() if k != "asked"}})
            print(json.dumps(rows[-1]["eye"]), f"{row['mean']:.1f} ± {row['std']:.1f}")
    about = {
        name: {
            "episodes": sum(len(store.summaries) for store in own),
            "frames": sum(s.length + 1 for store in own for s in store.summaries),
            "hashes": [store.content_hash() for store in own],
        }
        for name, own in stores.items()
    }
    return rows, {"data": about, "search": {"again": _again(args, drivers, elite)}}


def _again(
    args: Args, drivers: "EliteDrivers", stores: Sequence["RolloutStore"]
) -> dict[str, float]:
    """Figures of the elites that were let drive, on episodes that did not choose them."""
    import numpy as np

    chosen = drivers.real.objectives[drivers.real.objectives >= args.least]
    means = [float(np.mean([each.reward for each in store.summaries])) for store in stores]
    return {
        "drivers": len(means),
        "chosen_by": float(chosen.mean()),
        "mean": float(np.mean(means)),
        "best": max(means),
        "episodes": args.episodes,
    }


def _trial(args: Args) -> "EyeTrialConfig":
    from dataclasses import replace

    from wmrl.scripts.reproduce.drivers.vision_trial import EyeTrialConfig

    config = EyeTrialConfig()
    return replace(
        config,
        vision_training=replace(config.vision_training, steps=args.vision_steps, held_out=HELD_OUT),
        memory_training=replace(config.memory_training, steps=args.memory_steps),
        dream=replace(config.dream, steps=args.dream_steps),
        episodes=args.score_episodes,
    )


def _ship(args: Args, out: Path, rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    """Artifacts of the first seed's eye that saw elites."""
    from wmrl.scripts.release.elite_vision import ship
    from wmrl.storage.artifact import package_versions

    seed = args.seeds[0]
    row = next(row for row in rows if (row["data"], row["seed"]) == ("elite", seed))
    made = {
        "command": "wmrl reproduce drivers",
        "seed": seed,
        "data": about["data"],
        "versions": package_versions("gymnasium", "stable-baselines3"),
    }
    ship(args.work / f"eye-elite-{seed}", out, row, made)


def _about_search(args: Args, drivers: "EliteDrivers") -> dict[str, Any]:
    """Figures of both maps."""
    import numpy as np

    dreamed, real = drivers.dreamed, drivers.real
    cells = drivers.problem.archive.cell_count
    return {
        "cells": cells,
        "decisions": drivers.problem.fitness.config.decisions,
        "episodes": args.confirm,
        "dreamed": _figures(dreamed.objectives, cells),
        "real": _figures(real.objectives, cells),
        "above_500": int(np.sum(real.objectives >= 500.0)),
    }


def _figures(objectives: "np.ndarray", cells: int) -> dict[str, float]:
    return {
        "coverage": len(objectives) / cells,
        "mean": float(objectives.mean()),
        "best": float(objectives.max()),
    }


def write_table(search: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """What came out, as Markdown."""
    lines = [
        "# Elites that drive",
        "",
        "Linear controllers, by how much they steer and how they use the pedals, searched for in",
        "the dream and confirmed in the real game ([map with films](map.html)).",
        "",
        "| map | cells filled | mean return | best |",
        "| --- | --- | --- | --- |",
    ]
    titles = {"dreamed": f"the dream, {search['decisions']} decisions", "real": "the real game"}
    for name, title in titles.items():
        own = search[name]
        lines.append(f"| {title} | {own['coverage']:.1%} | {own['mean']:.1f} | {own['best']:.1f} |")
    lines += [
        "",
        f"For real, {search['above_500']} elites have a mean return of 500 or more in the",
        f"{search['episodes']} episodes that also chose the best of each cell, and so flatter "
        "them.",
    ]
    if again := search.get("again"):
        lines += [
            f"The {again['drivers']} whose frames were taken, {again['chosen_by']:.1f} on average "
            "in",
            f"those, have {again['mean']:.1f} in {again['episodes']} others each (the best",
            f"{again['best']:.1f}), which end early where a car is lost.",
        ]
    if not rows:
        return "\n".join([*lines, ""])
    lines += [
        "",
        "## What an eye's training data is worth",
        "",
        "VQ-VAEs of the same size and budget; mean ± standard deviation over",
        f"{len({row['seed'] for row in rows})} seeds of training everything. Squared errors are",
        "summed over a held-out frame's pixels in [0, 1]. The memory learns from the same frames",
        "under either eye, the driver in that dream alone. Its score is that of",
        f"{len(rows[0]['returns'])} episodes of {rows[0]['base']}. Made by",
        "`wmrl reproduce drivers`; every run is in [results.json](results.json).",
        "",
        "| the eye saw | error on elites' frames | on random frames | codes used there | and there "
        "| effective rank there | and there | score |",
        "| --- " * 8 + "|",
    ]
    for name, title in EYES.items():
        own = [row for row in rows if row["data"] == name]
        cells = [
            mean_and_spread([row["eye"][kind][key] for row in own], form)
            for key, form in (
                ("squared_error", ".2f"),
                ("utilisation", ".1%"),
                ("encoder_rank", ".1f"),
            )
            for kind in EYES
        ]
        score = mean_and_spread([row["mean"] for row in own], ".1f")
        lines.append(f"| {' | '.join([title, *cells, score])} |")
    return "\n".join([*lines, ""])
