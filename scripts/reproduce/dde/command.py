"""Repeats Data-Driven Encodings on planar arms, beside the searches of ribs and a gradient oracle.

Three arms: 20 and 200 joints (−std of the angles, a disc of 1950 cells) and 1000 joints
(100 (1 − variance), a grid of 100 × 100). Each search begins with random arms, has the same
archive and the same budget. Killed at any moment, the same command goes on. The folder ends up
with table.md, a report for each arm and method (so that several calls may share the work), and for
the first seed a map of each search and a film of DDE's.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import check_counts, check_names, check_seeds, mean_and_spread

if TYPE_CHECKING:
    from wmrl.agents.quality_diversity.archive import Elites
    from wmrl.agents.quality_diversity.presets import EliteTask

COLUMNS = {
    "coverage": ("coverage", ".1%"),
    "mean_fitness": ("mean fitness", ".4f"),
    "qd_score": ("QD score", ".0f"),
    "std": ("std where the oracle has one", ".4f"),
    "oracle_gap": ("of it beyond the oracle's", ".4f"),
    "seconds": ("seconds", ".0f"),
    "training_seconds": ("of them training", ".0f"),
}
"""Figures of a search: their title and format."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce dde``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/dde")
    """Where tables, maps and films go."""
    work: Path = Path("runs/reproduce-dde")
    """Where the searches are made; what is there is not made again."""
    tasks: tuple[str, ...] = ("20-joints", "200-joints", "1000-joints")
    """Arms to search."""
    methods: tuple[str, ...] = ()
    """Searches to compare, of iso, line, cma-me, cma-mae, dde-published, dde-none, dde, dde-fine,
    dde-vqvae and dde-fsq; all of them if none."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One search at the reduced budget for each, and a race to 95 % at 200 joints."""
    full_seeds: tuple[int, ...] = (0,)
    """One search at the full budget for each."""
    reduced: int = 100_000
    """Evaluations of the reduced budget."""
    full: int | None = None
    """Evaluations of the full budget; the paper's if None."""
    race: int = 5_000_000
    """Evaluations after which a race is given up."""


def main(args: Args) -> None:
    """Makes the searches that are not made yet, and writes tables, maps and films."""
    from wmrl.scripts.reproduce.dde.experiment import METHODS, TASKS
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_report, write_text

    methods = args.methods or tuple(METHODS)
    check_names("tasks", args.tasks, TASKS)
    check_names("methods", methods, METHODS)
    check_seeds(args.seeds, optional=True)
    check_seeds(args.full_seeds, "full_seeds", optional=True)
    if not (args.seeds or args.full_seeds):
        raise ValueError("seeds: expected at least one, here or in full_seeds, got none")
    check_counts(reduced=args.reduced, full=args.full, race=args.race)
    args.out.mkdir(parents=True, exist_ok=True)
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "versions": package_versions(),
    }
    for name in args.tasks:
        for method in methods:
            found = {
                "searches": _search(args, name, method),
                "races": _race(args, method) if name == "200-joints" else [],
            }
            write_report(args.out / f"{name}-{method}.json", {**about, **found})
    kept = [args.out / f"{name}-{method}.json" for name in TASKS for method in METHODS]
    reports = [json.loads(path.read_text()) for path in kept if path.exists()]
    table = write_table(
        [row for report in reports for row in report["searches"]],
        [race for report in reports for race in report["races"]],
    )
    write_text(args.out / "table.md", table)
    print(table)


def _search(args: Args, name: str, method: str) -> list[dict[str, Any]]:
    """A row for each search of an arm by a method."""
    from wmrl.scripts.reproduce.dde.experiment import TASKS, least_stds, oracle_gap, run_search

    task, work = TASKS[name], args.work / name
    # In units of std, and with a map small enough to be solved in seconds.
    least = least_stds(task, work) if task.problem.objective == "std" else None
    full = task.evaluations if args.full is None else args.full
    budgets = [(full, seed) for seed in args.full_seeds]
    budgets += [(args.reduced, seed) for seed in args.seeds]
    budgets = list(dict.fromkeys(budgets))
    rows = []
    for evaluations, seed in budgets:
        path = work / method / f"{evaluations}-{seed}"
        found, elites = run_search(
            task,
            method,  # type: ignore[arg-type]
            path,
            evaluations=evaluations,
            seed=seed,
        )
        gap = {} if least is None else oracle_gap(elites, least)
        figures = {**found["rows"][-1], **gap}
        times = {key: found[key] for key in ("seconds", "training_seconds")}
        asked = {"task": name, "method": method, "budget": evaluations, "seed": seed}
        rows.append({**asked, **figures, **times})
        print(json.dumps(rows[-1]))
        if evaluations == full and seed in args.full_seeds[:1]:
            _draw(task, method, elites, path, args.out, name)
    return rows


def _race(args: Args, method: str) -> list[dict[str, Any]]:
    """How many evaluations a search takes to the goal, at 200 joints."""
    from wmrl.scripts.reproduce.dde.experiment import (
        TASKS,
        evaluations_until,
        is_reached,
        run_search,
    )

    races = []
    # The evolution strategies are far from it at the full budget.
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
    task: "EliteTask", method: str, elites: "Elites", path: Path, out: Path, name: str
) -> None:
    """The map of a search, and the film of DDE's."""
    import numpy as np

    from wmrl.agents.quality_diversity.heatmap import film_map, write_map
    from wmrl.scripts.reproduce.dde.experiment import METHODS, SNAPSHOTS

    archive, title = task.problem.archive, f"{name}, {METHODS[method]}"  # type: ignore[index]
    write_map(out / f"{name}-{method}.png", archive, elites, title=title)
    if method == "dde":
        film_map(out / f"{name}-{method}.mp4", archive, np.load(path / SNAPSHOTS))


def write_table(rows: Sequence[dict[str, Any]], races: Sequence[dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    from wmrl.scripts.reproduce.dde.experiment import METHODS

    titles = {str(method): title for method, title in METHODS.items()}
    lines = [
        "# Data-Driven Encodings",
        "",
        "Searches for elites among the poses of planar arms, all from random arms and with the",
        "same archive; mean ± standard deviation over seeds, where there are several. Budgets",
        "are up to a batch; what DDE begins with, 100 to 300 arms, comes on top of its own.",
        "Stds are in radians, on the cells that the oracle, which knows the arm's gradients,",
        "reaches the centre of; an elite is anywhere in its cell, so that a gap may be",
        "negative. Seconds are wall time on one core, which may have had other work. Made by",
        "`wmrl reproduce dde`; every run is in the JSON files of this folder.",
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
        lines += [
            "Searches are looked at every 5,000 evaluations: differences below that are none."
        ]
        lines += ["CMA-ME and CMA-MAE, far from it at the full budget, are not in the race.", ""]
        lines += ["| search | seeds | evaluations |", "| --- | --- | --- |"]
        for method in dict.fromkeys(row["method"] for row in races):
            each = [row["evaluations"] for row in races if row["method"] == method]
            missing = sum(found is None for found in each)
            taken = f"not there, {missing} of {len(each)} times"
            cell = taken if missing else mean_and_spread(each, ",.0f")
            lines.append(f"| {titles[method]} | {len(each)} | {cell} |")
    return "\n".join([*lines, ""])
