"""Plots training curves of one or more runs, with one panel per column of metrics.csv."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from wmrl.scripts.tables import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl curves``."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders that contain runs."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("curves.png")
    """Image file to write, .png, .svg or .pdf."""
    columns: tuple[str, ...] = ()
    """Columns of metrics.csv to plot; all if not given."""
    log: bool = False
    """Use a logarithmic y axis."""


def main(args: Args) -> None:
    """Writes the plot and prints its path."""
    from wmrl.storage.recognition import recognize
    from wmrl.training.metrics import read_metrics

    need("matplotlib")
    from matplotlib.figure import Figure

    runs = sorted({file.parent for run in args.runs for file in run.rglob("metrics.csv")})
    if not runs:
        given = ", ".join(f"{run} ({recognize(run).description})" for run in args.runs) or "none"
        raise ValueError(f"runs: expected folders with a metrics.csv at any depth, got {given}")
    found = {run: read_metrics(run / "metrics.csv") for run in runs}
    names = dict.fromkeys(name for rows in found.values() for row in rows for name in row)
    columns = args.columns or tuple(name for name in names if name != "step")
    unknown = [column for column in columns if column not in names]
    if unknown or not columns:
        raise ValueError(f"columns: expected some of {sorted(names)}, got {unknown}")
    figure = Figure(figsize=(7, 3.2 * len(columns)), layout="constrained")
    panels = figure.subplots(len(columns), 1, squeeze=False)[:, 0]
    for column, panel in zip(columns, panels, strict=True):
        for run in runs:
            draw_curve(panel, run, column, str(run))
        panel.set(title=column, xlabel="step", yscale="log" if args.log else "linear")
        panel.grid(alpha=0.3)
        if panel.lines:  # a run of very few steps has no curve
            panel.legend(fontsize="small")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=100)
    print(args.out)


def draw_curve(panel: "Axes", run: Path, column: str, label: str, style: str = "-") -> None:
    """Plots one column of the metrics of a run over the training steps.

    If the run does not have the column, nothing is plotted.

    Args:
        panel: Matplotlib axes.
        run: folder of the run.
        column: name of the column in metrics.csv.
        label: label in the legend.
        style: Matplotlib format of the line.
    """
    from wmrl.training.metrics import read_metrics

    rows = [row for row in read_metrics(run / "metrics.csv") if column in row]
    if rows:
        steps, values = ([row[key] for row in rows] for key in ("step", column))
        panel.plot(steps, values, style, label=label, linewidth=1)
