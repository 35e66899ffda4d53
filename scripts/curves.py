"""Plots training curves of one or more runs, with one panel per column of metrics.csv.

Runs that differ only by their seed are drawn as one curve: their mean, with a band of one standard
error of the mean on both sides.

The command needs matplotlib, which is not installed by default: pip install "wmrl[reproduce]".
"""

import os
import sys
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from wmrl.scripts.tables import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from wmrl.training.curves import RunGroup

_MARK = "wmrl curves"  # in the metadata of the plots, so that they can be replaced


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl curves``."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders that contain runs."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("curves.png")
    """Image file to write: .png, .svg or .pdf."""
    columns: tuple[str, ...] = ()
    """Columns of metrics.csv to plot; all if not given."""
    log: bool = False
    """Use a logarithmic y axis."""
    group: Literal["seed", "folder", "none"] = "seed"
    """Runs that are drawn as one curve, their mean: runs of the same command whose options in
    run.toml differ only by the seed; or runs whose folders are in the same folder; or none."""


def main(args: Args) -> None:
    """Writes the plot and prints its path."""
    from wmrl.storage.recognition import recognize
    from wmrl.training.curves import RunGroup, group_by_folder, group_by_seed
    from wmrl.training.metrics import read_metrics

    need("matplotlib")
    from matplotlib.figure import Figure

    # Unlike Path.rglob, os.walk passes over folders that other processes remove meanwhile.
    folders = [entry for run in args.runs for entry in os.walk(run)]
    runs = sorted({Path(folder) for folder, _, names in folders if "metrics.csv" in names})
    if not runs:
        given = ", ".join(f"{run} ({recognize(run).description})" for run in args.runs) or "none"
        raise ValueError(f"runs: expected folders with a metrics.csv at any depth, got {given}")
    _check_out(args.out)
    found = {run: read_metrics(run / "metrics.csv") for run in runs}
    if not any(found.values()):
        raise ValueError(
            f"runs: expected metrics of at least one step, got none yet in "
            f"{', '.join(map(str, runs))}; wait until the runs have written metrics"
        )
    names = dict.fromkeys(name for rows in found.values() for row in rows for name in row)
    shown = {
        name
        for rows in found.values()
        for row in rows
        for name, value in row.items()
        if isfinite(value) and (value > 0 or not args.log)
    }
    wanted = args.columns or tuple(name for name in names if name != "step")
    columns = tuple(name for name in wanted if name in shown)
    unknown = [column for column in wanted if column not in names]
    if unknown:
        raise ValueError(f"columns: expected names from {sorted(names)}, got {unknown}")
    if not columns:
        what = "positive values, as --log requires" if args.log else "finite values"
        raise ValueError(
            f"columns: expected columns with {what}, got only columns without them: "
            f"{', '.join(wanted)}; choose other columns"
        )
    if empty := [name for name in wanted if name not in shown]:
        print(
            f"columns left out, because they have no values to draw: {', '.join(empty)}",
            file=sys.stderr,
        )
    figure = Figure(figsize=(7, 3.2 * len(columns)), layout="constrained")
    panels = figure.subplots(len(columns), 1, squeeze=False)[:, 0]
    grouped = {"seed": group_by_seed, "folder": group_by_folder}.get(args.group)
    groups = grouped(runs) if grouped else [RunGroup(str(run), (run,)) for run in runs]
    for column, panel in zip(columns, panels, strict=True):
        for group in groups:
            draw_group(panel, group, column)
        panel.set(title=column, xlabel="step", yscale="log" if args.log else "linear")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    key = "Software" if args.out.suffix == ".png" else "Creator"
    figure.savefig(args.out, dpi=100, metadata={key: _MARK})
    print(f"curves: {args.out}")


def _check_out(out: Path) -> None:
    """Checks the suffix of the output path, and that the path is new or holds an earlier plot."""
    if out.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"out: expected a name ending in .png, .svg or .pdf, got {out}")
    if out.exists() and not (out.is_file() and _MARK.encode() in out.read_bytes()):
        raise FileExistsError(
            f"out: expected a new file or an earlier plot of wmrl curves, got {out}, which is "
            "neither; choose another name with --out"
        )


def draw_group(panel: "Axes", group: "RunGroup", column: str) -> None:
    """Plots the mean of one column of the metrics of some runs, with a band of its standard error.

    A single run, and runs that have no steps in common, are plotted each by itself.

    Args:
        panel: Matplotlib axes.
        group: the runs. Those that do not have the column are left out.
        column: name of the column in metrics.csv.
    """
    from wmrl.training.curves import mean_curve
    from wmrl.training.metrics import read_metrics

    curves = []
    for run in group.runs:
        rows = [row for row in read_metrics(run / "metrics.csv") if isfinite(row.get(column, nan))]
        if rows:
            steps, values = (np.array([row[key] for row in rows]) for key in ("step", column))
            curves.append((steps, values))
    mean = mean_curve(curves) if len(curves) > 1 else None
    if mean is None:
        for run in group.runs:
            draw_curve(panel, run, column, str(run))
        return
    marker = "o" if len(mean.steps) == 1 else None
    label = f"{group.label} (mean ± standard error)"
    (line,) = panel.plot(mean.steps, mean.mean, label=label, linewidth=1, marker=marker)
    low, high = mean.mean - mean.error, mean.mean + mean.error
    panel.fill_between(mean.steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def draw_curve(panel: "Axes", run: Path, column: str, label: str, style: str = "-") -> None:
    """Plots one column of the metrics of a run over the training steps.

    If the run does not have the column, nothing is plotted.

    Args:
        panel: Matplotlib axes.
        run: folder of the run.
        column: name of the column in metrics.csv.
        label: label in the legend.
        style: Matplotlib format string of the line, such as ``"--"`` for a dashed line.
    """
    from wmrl.training.metrics import read_metrics

    rows = [row for row in read_metrics(run / "metrics.csv") if column in row]
    if rows:
        steps, values = ([row[key] for row in rows] for key in ("step", column))
        marker = "o" if len(rows) == 1 else None  # a line of one point would be invisible
        panel.plot(steps, values, style, label=label, linewidth=1, marker=marker)
