"""Searches for elite drivers in the dream, and trains a vision model on frames of these drivers.

MAP-Elites searches for linear controllers that differ in how much they steer and how they use the
pedals. The elites are then evaluated in the real game. After that, two VQ-VAEs of the same size and
training budget are compared: one is trained on frames of the elites, the other on frames of random
driving. Both VQ-VAEs are evaluated on both kinds of frames. In addition, for each VQ-VAE, a memory
model is trained, and a driver is trained in their dream and scored in the real
game. If the command is interrupted, repeat it to continue. The output folder contains map.html (a
heatmap of the elites with links to their videos), images of the heatmaps, table.md and
results.json.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.core.validation import check_int
from wmrl.scripts.tables import (
    check_counts,
    check_seeds,
    finish,
    mean_and_spread,
    quick_args,
)
from wmrl.training.progress import stage, stages

if TYPE_CHECKING:
    import numpy as np

    from wmrl.agents.controller import ControllerAgent
    from wmrl.data.store import RolloutStore
    from wmrl.envs.world_model import WorldModel
    from wmrl.scripts.reproduce.drivers.experiment import EliteDrivers
    from wmrl.scripts.reproduce.drivers.vision_trial import VisionTrialConfig


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce drivers``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/drivers")
    """Output folder of the heatmaps, videos, table and results."""
    work: Path = Path("runs/reproduce-drivers")
    """Folder of the searches and training runs; finished ones are not repeated."""
    vision: str = "car-racing-vae"
    """Vision model with which the elites drive: a shipped name, a path, or hf://user/name."""
    memory: str = "auto"
    """Memory model with which the elites drive: a shipped name, a path, or hf://user/name; "auto"
    for the one shipped with the vision model."""
    task: str = "car-racing"
    """Task: a registered name, the id of an environment such as ALE/Boxing-v5, or module:ATTRIBUTE
    for a task of your own."""
    init: str | None = None
    """Path of a linear controller to start from; if not given, one is trained by CMA-ES in the
    dream."""
    evolution: int = 150
    """Number of generations of CMA-ES that train the initial controller, with 64 candidates each.
    With --init, this option has no effect."""
    generations: int = 200
    """Number of generations of MAP-Elites, with 100 solutions each."""
    cells: tuple[int, int] = (12, 12)
    """Numbers of cells of the archive along its two measures: steering, and use of the pedals."""
    num_rollouts: int = 16
    """Number of rollouts of each solution in the dream."""
    confirm: int = 4
    """Number of episodes of each elite in the real game. These episodes determine the best elite of
    each cell."""
    episodes: int = 8
    """Number of further episodes of each elite in the real game, which provide training frames."""
    min_return: float = 200.0
    """Minimum mean return in the real game of the elites whose frames are used in training."""
    videos: int = 150
    """Length of each elite's video, in agent steps; 0 for no videos."""
    vision_steps: int = 2500
    """Number of gradient steps for each vision model."""
    memory_steps: int = 3000
    """Number of gradient steps for each memory model."""
    dream_steps: int = 1_000_000
    """Number of agent steps for which each driver is trained in the dream."""
    score_episodes: int = 100
    """Number of episodes in the score of each driver."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds of the comparison of vision models; if empty, no vision models are trained."""
    ship: Path | None = None
    """Folder in which to write the vision model car-racing-elite-vqvae, its memory model and its
    driver, all from the first seed. By default, they are not written."""
    workers: int | None = None
    """Number of worker processes; one per core if not given. Affects speed only."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda …"""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


HELD_OUT = 0.1
"""Share of the episodes that is held out to evaluate the vision models."""

VISIONS = {"elite": "elites' frames", "random": "random driving"}
"""Titles of the compared vision models in tables, keyed by their training data."""


QUICK: dict[str, Any] = {
    "evolution": 2,
    "generations": 2,
    "cells": (4, 4),
    "num_rollouts": 2,
    "confirm": 1,
    "episodes": 1,
    "min_return": -1000.0,
    "videos": 0,
    "vision_steps": 20,
    "memory_steps": 20,
    "dream_steps": 10_000,
    "score_episodes": 2,
    "seeds": (0,),
}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Runs the searches and the comparison, and writes the heatmaps, videos, table and results."""
    from wmrl.scripts.config_file import write_options
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json

    args = quick_args(args, QUICK)
    if args.ship is not None and not args.seeds:
        raise ValueError(
            "seeds: expected at least one seed with --ship, got none; pass --seeds, because the "
            "models of the first seed are shipped"
        )
    check_seeds(args.seeds, optional=True)
    check_counts(
        evolution=args.evolution,
        generations=args.generations,
        num_rollouts=args.num_rollouts,
        confirm=args.confirm,
        episodes=args.episodes,
        vision_steps=args.vision_steps,
        memory_steps=args.memory_steps,
        dream_steps=args.dream_steps,
        score_episodes=args.score_episodes,
    )
    check_int("videos", args.videos, at_least=0)
    write_options(args, args.out, command="reproduce drivers")
    with stage("elites", following="heatmaps and videos"):
        drivers = _find(args)
    with stage("heatmaps and videos", following="vision models" if args.seeds else ""):
        _draw(args, drivers)
    rows, about = _compare(args, drivers) if args.seeds else ([], {})
    search = _search_metrics(args, drivers) | about.pop("search", {})
    report = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "quick": args.quick,
        "versions": package_versions("gymnasium", "stable-baselines3"),
        "search": search,
        **about,
        "trials": rows,
    }
    write_json(args.out / "results.json", report)
    table = write_table(search, rows)
    if args.ship is not None:
        _ship(args, args.ship, rows, about)
    finish(args.out, table, command="reproduce drivers", quick=args.quick)


def _find(args: Args) -> "EliteDrivers":
    from dataclasses import replace

    from wmrl.agents.controller import ControllerAgent
    from wmrl.envs.world_model import WorldModel
    from wmrl.scripts.options import find_task_aloud
    from wmrl.scripts.reproduce.drivers.experiment import DriverSearchConfig, find_drivers

    task = find_task_aloud(args.task)
    world_model = WorldModel.open(task, args.vision, args.memory, device=args.device)
    init = _evolve(args, world_model) if args.init is None else ControllerAgent.load(args.init)
    config = DriverSearchConfig()
    archive = replace(config.problem.archive, dims=args.cells)
    return find_drivers(
        args.work / "elites",
        world_model=world_model,
        config=replace(
            config,
            problem=replace(config.problem, archive=archive),
            dream=replace(config.dream, num_rollouts=args.num_rollouts),
            search=replace(config.search, generations=args.generations),
            real=replace(config.real, num_rollouts=args.confirm),
        ),
        init=init,
        workers=args.workers,
    )


def _evolve(args: Args, world_model: "WorldModel") -> "ControllerAgent":
    """Returns a controller trained by CMA-ES in the dream."""
    from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
    from wmrl.agents.policy_search.fitness import DreamFitness, DreamFitnessConfig

    # Action noise keeps the controller from exploiting errors of the dream.
    fitness = DreamFitnessConfig(num_rollouts=16, agent_steps=50, dropout=True, action_noise=0.2)
    config = CMAESConfig(generations=args.evolution, population_size=64)
    with CMAES(DreamFitness(world_model, fitness), config, path=args.work / "evolution") as learner:
        return learner.learn().agent


def _draw(args: Args, drivers: "EliteDrivers") -> None:
    """Writes heatmaps of the elites in the dream and in the game, and a web page with videos."""
    import numpy as np

    from wmrl.agents.quality_diversity.heatmap import write_map, write_map_video
    from wmrl.scripts.reproduce.drivers.experiment import SNAPSHOTS
    from wmrl.scripts.reproduce.drivers.web_page import write_page

    archive, measures = drivers.problem.archive, drivers.problem.config.measures
    write_map(args.out / "dream.png", archive, drivers.dreamed, title="return in the dream")
    write_map(args.out / "real.png", archive, drivers.real, title="return in the real game")
    write_map_video(args.out / "dream.mp4", archive, np.load(args.work / "elites" / SNAPSHOTS))
    videos = _write_videos(args, drivers) if args.videos else {}
    write_page(
        args.out / "map.html",
        archive,
        drivers.real,
        videos,
        title="Elites that drive",
        measures=measures,
        text=(
            "Linear controllers that were elites in the dream, by their driving in the real game: "
            "those that steer more are on the right, those that use more gas are at the top. "
            f"Brighter colors are higher mean returns of {args.confirm} episodes, by which the "
            "best of each cell was selected."
        )
        + (" Click a cell for a video." if videos else ""),
    )


def _write_videos(args: Args, drivers: "EliteDrivers") -> dict[int, str]:
    """Writes a video of each elite in the real game.

    Returns:
        Paths of the videos, keyed by cell index.
    """
    from wmrl.core.device import torch_threads
    from wmrl.core.hashing import array_digest
    from wmrl.scripts.reproduce.driver_videos import DriverVideoConfig, write_driver_video

    config = DriverVideoConfig(agent_steps=args.videos)
    videos: dict[str, Path] = {}
    with torch_threads(1):  # more threads are slower on single frames
        for row, cell in enumerate(drivers.real.cells):
            # Files are named by the parameters, so that videos of other drivers are not reused.
            agent = drivers.agent(row)
            digest = array_digest(agent.parameters)[:12]
            video = args.work / "videos" / f"{digest}-{args.videos}.mp4"
            if not video.exists():
                write_driver_video(agent, video, world_model=drivers.world_model, config=config)
            videos[f"cell-{cell}.mp4"] = video
    folder = args.out / "videos"
    folder.mkdir(exist_ok=True)
    for name, video in videos.items():
        shutil.copyfile(video, folder / name)
    for video in folder.iterdir():
        if video.name not in videos:  # left from an earlier run
            video.unlink()
    return {int(cell): f"videos/cell-{cell}.mp4" for cell in drivers.real.cells}


def _compare(args: Args, drivers: "EliteDrivers") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Trains and compares the vision models.

    Returns:
        One row of results for each vision model and seed, and a dictionary that describes the
        training data and the elites.
    """
    from wmrl.agents.rollouts.collection import collect
    from wmrl.data.split import split_episodes
    from wmrl.scripts.reproduce.drivers.experiment import evaluate_elites
    from wmrl.scripts.reproduce.drivers.vision_trial import try_vision
    from wmrl.vision.evaluation import pick_frames

    data, task = args.work / "data", drivers.world_model.task
    elite = evaluate_elites(
        drivers,
        data / "elite",
        episodes=args.episodes,
        min_return=args.min_return,
        seed=0,
        workers=args.workers,
    )
    frames = sum(s.length for store in elite for s in store.summaries) * task.frame_skip
    random = collect(
        task, data / "random", frames=frames, workers=args.workers, seed=0, device=args.device
    )
    stores = {"elite": elite, "random": [random]}
    # Frames of episodes that no vision model is trained on.
    held_out = {
        name: pick_frames(split_episodes(own, held_out=HELD_OUT).held_out, count=2000)
        for name, own in stores.items()
    }
    rows = []
    for seed in args.seeds:
        for name in stages(
            list(VISIONS),
            lambda name: f"vision model of {VISIONS[name]}, seed {seed}",  # noqa: B023
        ):
            row = try_vision(
                args.work / f"vision-{name}-{seed}",
                task=task,
                vision_data=stores[name],
                memory_data=[*elite, random],
                held_out=held_out,
                config=_trial(args),
                seed=seed,
                workers=args.workers,
                device=args.device,
            )
            rows.append({"data": name, **{k: v for k, v in row.items() if k != "key"}})
            print(json.dumps(rows[-1]["vision"]), f"{row['mean']:.1f} ± {row['std']:.1f}")
    about = {
        name: {
            "episodes": sum(len(store.summaries) for store in own),
            "frames": sum(s.length + 1 for store in own for s in store.summaries),
            "hashes": [store.content_hash() for store in own],
        }
        for name, own in stores.items()
    }
    return rows, {"data": about, "search": {"evaluated": _evaluated(args, drivers, elite)}}


def _evaluated(
    args: Args, drivers: "EliteDrivers", stores: Sequence["RolloutStore"]
) -> dict[str, float]:
    """Computes statistics of the elites whose frames are used for training.

    Returns:
        A dictionary of statistics:

        - ``drivers``: number of elites whose frames are used.
        - ``mean`` and ``best``: average and maximum of the elites' mean returns in ``stores``. No
          episode in ``stores`` was used to select the elites.
        - ``selected_by``: average of the elites' mean returns in the earlier episodes by which the
          elites were selected.
        - ``episodes``: number of episodes of each elite in ``stores``.
    """
    import numpy as np

    selected = drivers.real.objectives[drivers.real.objectives >= args.min_return]
    means = [float(np.mean([each.reward for each in store.summaries])) for store in stores]
    return {
        "drivers": len(means),
        "selected_by": float(selected.mean()),
        "mean": float(np.mean(means)),
        "best": max(means),
        "episodes": args.episodes,
    }


def _trial(args: Args) -> "VisionTrialConfig":
    from dataclasses import replace

    from wmrl.scripts.reproduce.drivers.vision_trial import VisionTrialConfig

    config = VisionTrialConfig()
    # A short training still has steps after the warm-up.
    warmup_steps = min(config.vision.warmup_steps, args.vision_steps // 2)
    return replace(
        config,
        vision=replace(config.vision, warmup_steps=warmup_steps),
        vision_training=replace(config.vision_training, steps=args.vision_steps, held_out=HELD_OUT),
        memory_training=replace(config.memory_training, steps=args.memory_steps),
        dream=replace(config.dream, steps=args.dream_steps),
        episodes=args.score_episodes,
    )


def _ship(args: Args, out: Path, rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    """Writes the vision model, the memory model and the driver of one trial as artifacts.

    The trial is the one whose vision model was trained on frames of elites, with the first seed.
    """
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
    ship(args.work / f"vision-elite-{seed}", out, row, made)


def _search_metrics(args: Args, drivers: "EliteDrivers") -> dict[str, Any]:
    """Computes metrics of the elites in the dream and in the real game."""
    import numpy as np

    dreamed, real = drivers.dreamed, drivers.real
    cells = drivers.problem.archive.num_cells
    return {
        "cells": cells,
        "agent_steps": drivers.problem.fitness.config.agent_steps,
        "episodes": args.confirm,
        "dreamed": _metrics(dreamed.objectives, cells),
        "real": _metrics(real.objectives, cells),
        "above_500": int(np.sum(real.objectives >= 500.0)),
    }


def _metrics(objectives: "np.ndarray", cells: int) -> dict[str, float]:
    return {
        "coverage": len(objectives) / cells,
        "mean": float(objectives.mean()),
        "best": float(objectives.max()),
    }


def write_table(search: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """Formats the results as Markdown tables.

    Args:
        search: metrics of the elites in the dream and in the real game.
        rows: results of the comparison, one row for each vision model and seed.
    """
    lines = [
        "# Elites that drive",
        "",
        "Linear controllers, by how much they steer and how they use the pedals, searched for in",
        "the dream and evaluated in the real game ([heatmap with videos](map.html)).",
        "",
        "| elites in | cells filled | mean return | best |",
        "| --- | --- | --- | --- |",
    ]
    titles = {"dreamed": f"the dream, {search['agent_steps']} agent steps", "real": "the real game"}
    for name, title in titles.items():
        own = search[name]
        lines.append(f"| {title} | {own['coverage']:.1%} | {own['mean']:.1f} | {own['best']:.1f} |")
    lines += [
        "",
        f"In the real game, {search['above_500']} elites have a mean return of 500 or more in the",
        f"{search['episodes']} episodes that also selected the best of each cell, which are biased "
        "upwards.",
    ]
    if evaluated := search.get("evaluated"):
        lines += [
            f"The {evaluated['drivers']} whose frames were taken have a mean return of "
            f"{evaluated['selected_by']:.1f} in",
            f"those, and of {evaluated['mean']:.1f} in {evaluated['episodes']} others each (the "
            "best",
            f"{evaluated['best']:.1f}), which end early if a car is lost.",
        ]
    if not rows:
        return "\n".join([*lines, ""])
    lines += [
        "",
        "## Training data of the vision model",
        "",
        "VQ-VAEs of the same size and budget; mean ± standard deviation over",
        f"{len({row['seed'] for row in rows})} seeds of training everything. Squared errors are",
        "summed over a held-out frame's pixels in [0, 1]. The memories are trained on the same",
        "frames with either vision model, the driver in their dream alone. Its score is that of",
        f"{len(rows[0]['returns'])} episodes of {rows[0]['base']}. Made by",
        "`wmrl reproduce drivers`; all runs are in [results.json](results.json).",
        "",
        "| trained on | error: elites' frames | random frames | codes used: elites' | random "
        "| effective rank: elites' | random | score |",
        "| --- " * 8 + "|",
    ]
    for name, title in VISIONS.items():
        own = [row for row in rows if row["data"] == name]
        cells = [
            mean_and_spread([row["vision"][kind][key] for row in own], form)
            for key, form in (
                ("squared_error", ".2f"),
                ("utilization", ".1%"),
                ("encoder_rank", ".1f"),
            )
            for kind in VISIONS
        ]
        score = mean_and_spread([row["mean"] for row in own], ".1f")
        lines.append(f"| {' | '.join([title, *cells, score])} |")
    return "\n".join([*lines, ""])
