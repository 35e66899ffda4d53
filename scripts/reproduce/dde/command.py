"""Compares Data-Driven Encodings (DDE) with searches of pyribs and with an oracle.

The searches look for elite poses of planar arms. With 20 and 200 joints, the objective is −std of
the angles, and the archive is a disc of 1950 cells. With 1000 joints, the objective is
100 (1 − variance), and the archive is a grid of 100 × 100 cells. All searches of an arm start from
random poses, and have the same archive and budget. With 20 and 200 joints, an oracle uses gradients
of the arm's equations to find the smallest possible std at the center of each cell.

If the command is interrupted, repeat it to continue. The output folder contains table.md and a
report for each arm and method. The table also includes reports that earlier calls wrote to the
folder, so that the work can be split between several calls. For the searches with the full budget
and the first seed, the folder also contains heatmaps and, if the method is dde, videos of the
archive.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import (
    check_counts,
    check_names,
    check_seeds,
    finish,
    mean_and_spread,
    quick_args,
)
from wmrl.training.progress import stages

if TYPE_CHECKING:
    from wmrl.agents.quality_diversity.archive import Elites
    from wmrl.agents.quality_diversity.presets import SearchPreset

COLUMNS = {
    "coverage": ("coverage", ".1%"),
    "mean_fitness": ("mean fitness", ".4f"),
    "qd_score": ("QD score", ".0f"),
    "std": ("std where the oracle has one", ".4f"),
    "oracle_gap": ("above the oracle's", ".4f"),
    "seconds": ("seconds", ".0f"),
    "training_seconds": ("of that training", ".0f"),
}
"""Title and number format of each metric of a search."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce dde``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/dde")
    """Output folder of the table, the reports, the heatmaps and the videos."""
    work: Path = Path("runs/reproduce-dde")
    """Folder of the searches; finished ones are not repeated."""
    tasks: tuple[str, ...] = ("20-joints", "200-joints", "1000-joints")
    """Arms to compare the searches on: any of 20-joints, 200-joints and 1000-joints."""
    methods: tuple[str, ...] = ()
    """Searches to compare: any of iso, line, cma-me, cma-mae, dde-published, dde-none, dde,
    dde-fine, dde-vqvae and dde-fsq; all if not given."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the searches with the reduced budget, and of the races. A race is a search with the
    arm of 200 joints. It ends once the coverage is at least 95 % and the mean std of the elites'
    joint angles is at most 0.06 radians."""
    full_seeds: tuple[int, ...] = (0,)
    """Seeds of the searches with the full budget."""
    reduced: int = 100_000
    """Number of evaluations in each search with the reduced budget."""
    full: int | None = None
    """Number of evaluations in each search with the full budget. By default, each arm has its
    published budget."""
    race: int = 5_000_000
    """Maximum number of evaluations in a race."""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {"tasks": ("20-joints",), "seeds": (0,), "full_seeds": (), "reduced": 3000}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Runs the searches and writes the table, the reports, the heatmaps and the videos."""
    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.reproduce.dde.experiment import METHODS, TASKS
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json
    from wmrl.storage.reading import read_json

    args = quick_args(args, QUICK)
    methods = args.methods or tuple(METHODS)
    check_names("tasks", args.tasks, TASKS)
    check_names("methods", methods, METHODS)
    check_seeds(args.seeds, optional=True)
    check_seeds(args.full_seeds, "full_seeds", optional=True)
    if not (args.seeds or args.full_seeds):
        raise ValueError(
            "seeds: expected at least one seed in seeds or full_seeds, got none; pass --seeds or "
            "--full-seeds"
        )
    check_counts(reduced=args.reduced, full=args.full, race=args.race)
    write_options(args, args.out, command="reproduce dde")
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "quick": args.quick,
        "versions": package_versions(),
    }
    pairs = [(name, method) for name in args.tasks for method in methods]
    for name, method in stages(pairs, ", ".join):
        found = {
            "searches": _search(args, name, method),
            "races": _race(args, method) if name == "200-joints" else [],
        }
        write_json(args.out / f"{name}-{method}.json", {**about, **found})
    paths = [args.out / f"{name}-{method}.json" for name in TASKS for method in METHODS]
    found_reports = [read_json(path) for path in paths if path.exists()]
    reports = [each for each in found_reports if each.get("quick", False) == args.quick]
    table = write_table(
        [row for report in reports for row in report["searches"]],
        [race for report in reports for race in report["races"]],
    )
    finish(args.out, table, command="reproduce dde", quick=args.quick)


def _search(args: Args, name: str, method: str) -> list[dict[str, Any]]:
    """Runs all searches of one arm with one method; returns one row of metrics per search."""
    from wmrl.scripts.reproduce.dde.experiment import TASKS, oracle_gap, oracle_stds, run_search

    preset, work = TASKS[name], args.work / name
    # The oracle minimizes the std; solving it for all cells of the disc takes seconds.
    stds = oracle_stds(preset, work) if preset.problem.objective == "std" else None
    full = preset.evaluations if args.full is None else args.full
    budgets = [(full, seed) for seed in args.full_seeds]
    budgets += [(args.reduced, seed) for seed in args.seeds]
    budgets = list(dict.fromkeys(budgets))
    rows = []
    for evaluations, seed in budgets:
        path = work / method / f"{evaluations}-{seed}"
        found, elites = run_search(
            preset,
            method,  # type: ignore[arg-type]
            path,
            evaluations=evaluations,
            seed=seed,
        )
        gap = {} if stds is None else oracle_gap(elites, stds)
        metrics = {**found["rows"][-1], **gap}
        times = {key: found[key] for key in ("seconds", "training_seconds")}
        settings = {"task": name, "method": method, "budget": evaluations, "seed": seed}
        rows.append({**settings, **metrics, **times})
        print(json.dumps(rows[-1]))
        if evaluations == full and seed in args.full_seeds[:1]:
            _draw(preset, method, elites, path, args.out, name)
    return rows


def _race(args: Args, method: str) -> list[dict[str, Any]]:
    """Runs the races of a method, one for each seed.

    A race is a search that stops as soon as it reaches the goal of
    :func:`~wmrl.scripts.reproduce.dde.experiment.is_reached`. No races are run for CMA-ME and
    CMA-MAE, because these methods stay far from the goal.

    Returns:
        One row for each race, with ``method``, ``seed`` and ``evaluations``. ``evaluations`` is the
        number of evaluations until the goal was reached, or None if the goal was not reached.
    """
    from wmrl.scripts.reproduce.dde.experiment import (
        TASKS,
        evaluations_until,
        is_reached,
        run_search,
    )

    races = []
    # The evolution strategies are far from the goal at the full budget.
    for seed in args.seeds if not method.startswith("cma") else ():
        found, _ = run_search(
            TASKS["200-joints"],
            method,  # type: ignore[arg-type]
            args.work / "race" / method / f"{args.race}-{seed}",
            evaluations=args.race,
            seed=seed,
            until=is_reached,
        )
        reached = evaluations_until(found["rows"])
        races.append({"method": method, "seed": seed, "evaluations": reached})
        print(json.dumps(races[-1]))
    return races


def _draw(
    preset: "SearchPreset", method: str, elites: "Elites", path: Path, out: Path, name: str
) -> None:
    """Writes a heatmap of the elites and, if the method is ``"dde"``, a video of the archive."""
    import numpy as np

    from wmrl.agents.quality_diversity.heatmap import write_map, write_map_video
    from wmrl.scripts.reproduce.dde.experiment import METHODS, SNAPSHOTS

    archive, title = preset.problem.archive, f"{name}, {METHODS[method]}"  # type: ignore[index]
    write_map(out / f"{name}-{method}.png", archive, elites, title=title)
    if method == "dde":
        write_map_video(out / f"{name}-{method}.mp4", archive, np.load(path / SNAPSHOTS))


def write_table(rows: Sequence[dict[str, Any]], races: Sequence[dict[str, Any]]) -> str:
    """Formats the results as Markdown tables, with mean and standard deviation over seeds.

    Args:
        rows: metrics of the searches, one row for each arm, method, budget and seed.
        races: one row for each race, which is a search that stops as soon as it reaches a goal.
            A row contains the number of evaluations until the goal was reached, or None if it was
            not reached.
    """
    from wmrl.scripts.reproduce.dde.experiment import METHODS

    titles = {str(method): title for method, title in METHODS.items()}
    lines = [
        "# Data-Driven Encodings",
        "",
        "Searches for elites among the poses of planar arms, all from random poses and with the",
        "same archive; mean ± standard deviation over seeds, if there are several. Budgets are",
        "exceeded by less than a batch; the initialization of DDE, 100 to 300 poses, is not",
        "included. Stds are in radians, over the cells whose center the oracle, which knows the",
        "arm's gradients, reaches; an elite may be anywhere in its cell, so that a gap may be",
        "negative. Seconds are wall time on one core, possibly shared. Made by",
        "`wmrl reproduce dde`; all runs are in the JSON files of this folder.",
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        for budget in dict.fromkeys(row["budget"] for row in rows if row["task"] == task):
            own = [row for row in rows if (row["task"], row["budget"]) == (task, budget)]
            columns = {key: value for key, value in COLUMNS.items() if key in own[0]}
            lines += ["", f"## {task}: {budget:,} evaluations", ""]
            heads = ["search", "seeds", *(title for title, _ in columns.values())]
            lines += [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
            for method in dict.fromkeys(row["method"] for row in own):
                found = [row for row in own if row["method"] == method]
                cells = [
                    mean_and_spread([row[key] for row in found], form)
                    for key, (_, form) in columns.items()
                ]
                lines.append(f"| {' | '.join([titles[method], str(len(found)), *cells])} |")
    if races:
        lines += ["", "## 200-joints: evaluations to 95 % of the cells at a mean std of 0.06", ""]
        lines += ["The goal is checked every 5,000 evaluations; smaller differences mean nothing."]
        lines += ["CMA-ME and CMA-MAE, far from the goal at the full budget, are left out.", ""]
        lines += ["| search | seeds | evaluations |", "| --- | --- | --- |"]
        for method in dict.fromkeys(row["method"] for row in races):
            each = [row["evaluations"] for row in races if row["method"] == method]
            missing = sum(evaluations is None for evaluations in each)
            taken = f"not reached, {missing} of {len(each)} times"
            cell = taken if missing else mean_and_spread(each, ",.0f")
            lines.append(f"| {titles[method]} | {len(each)} | {cell} |")
    return "\n".join([*lines, ""])
