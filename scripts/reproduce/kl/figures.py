"""Figures and videos of ``wmrl reproduce kl``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from wmrl.scripts.reproduce.kl.experiment import KLTrace
    from wmrl.scripts.reproduce.kl.gaussian import Gaussian

_FRAMES, _FPS = 100, 20
_VIEW = (-1.0, 9.0, 2.0)  # left, right and top limits of the axes; q may exceed the top
_TARGET, _START, _NOW, _SPAN = "tab:green", "tab:gray", "tab:blue", "tab:orange"
_SHOWN = 400  # maximum number of points of a curve


def draw_curves(traces: "Mapping[str, Sequence[KLTrace]]", path: Path) -> None:
    """Plots the exact KL(q‖p) over steps, with one panel per run and one line per seed.

    A line ends in an × if the run was stopped because a step made q invalid.
    """
    from wmrl.scripts.reproduce.kl.experiment import CONVERGED, select_steps

    figure, panels = _panels(len(traces), sharey=True)
    for panel, (name, seeds) in zip(panels, traces.items(), strict=True):
        for trace in seeds:
            steps = select_steps(trace.steps, _SHOWN)
            values = trace.kl[steps]
            alpha = 1.0 if len(seeds) == 1 else 0.35
            panel.plot(steps, values, color=_NOW, alpha=alpha, linewidth=1.2)
            if trace.rejected is not None:
                panel.plot(steps[-1], values[-1], "x", color="tab:red")
        panel.axhline(CONVERGED, color="black", linewidth=0.8, linestyle=":")
        panel.set(yscale="log", ylim=(1e-6, 1e3), xlim=(0, seeds[0].run.steps))
        panel.set_title(f"{name}:\n{seeds[0].run.title}", fontsize="medium")
        panel.grid(alpha=0.3)
    figure.supxlabel("step", fontsize="medium")
    figure.supylabel("exact KL(q‖p), nats; × where a run stopped", fontsize="medium")
    figure.savefig(path, dpi=90)


def draw_densities(traces: "Mapping[str, KLTrace]", path: Path) -> None:
    """Plots the initial q, the final q and the target of each run, with one panel per run."""
    figure, panels = _panels(len(traces))
    for panel, (name, trace) in zip(panels, traces.items(), strict=True):
        q, run, points = trace.end, trace.run, _points()
        _show_target(panel, trace)
        panel.plot(points, run.start.density(points), "--", color=_START, label="q at the start")
        panel.plot(points, q.density(points), color=_NOW, label="q at the end")
        _show_interval(panel, trace, q)
        panel.set_title(
            f"{name}: {trace.verdict}\n{_state_label(trace.steps, q)}", fontsize="medium"
        )
        _set_view(panel)
    panels[0].legend(fontsize="small", loc="upper right")
    figure.savefig(path, dpi=90)


def frames(name: str, trace: "KLTrace", *, limit: int = _FRAMES) -> "Iterator[np.ndarray]":
    """Yields images ``(270, 480, 3) uint8`` of the densities in the course of a run.

    Args:
        name: name of the run, for the title.
        trace: trajectory of q in the run.
        limit: maximum number of images; each shows q after a different number of steps.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from wmrl.scripts.reproduce.kl.experiment import select_steps

    figure = Figure(figsize=(4.8, 2.7), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panel = figure.subplots()
    points, kl = _points(), trace.kl
    _show_target(panel, trace)
    (line,) = panel.plot(points, points, color=_NOW, label="q")
    shade = _show_interval(panel, trace, trace.run.start)
    title = panel.set_title("", fontsize="small", family="monospace")
    panel.legend(fontsize="x-small", loc="upper right")
    _set_view(panel)
    for step in select_steps(trace.steps, limit):
        q = trace[step]
        line.set_ydata(q.density(points))
        interval = trace.run.interval(q)
        if shade is not None and interval is not None:
            shade.set_x(interval[0])
            shade.set_width(interval[1] - interval[0])
        title.set_text(f"{name}, {_state_label(step, q)}, KL {kl[step]:.2g}")
        canvas.draw()
        if step == 0:
            figure.set_layout_engine("none")  # keep the layout of the first frame
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_run_video(name: str, trace: "KLTrace", path: Path) -> None:
    """Writes a video of the densities in the course of a run; the last frame stays for a second."""
    from itertools import repeat

    from wmrl.envs.rendering.video import write_video

    shown = list(frames(name, trace))
    write_video(path, [*shown, *repeat(shown[-1], _FPS)], fps=_FPS, crf=26)


def _points() -> "np.ndarray":
    import numpy as np

    return np.linspace(*_VIEW[:2], 1001)


def _panels(count: int, *, sharey: bool = False) -> "tuple[Figure, list[Axes]]":
    """Creates a figure with ``count`` panels in at most three columns."""
    from matplotlib.figure import Figure

    columns = min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.6 * columns, 2.9 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel())
    for panel in panels[count:]:
        panel.remove()
    return figure, panels[:count]


def _show_target(panel: "Axes", trace: "KLTrace") -> None:
    points = _points()
    density = trace.run.target.density(points)
    panel.fill_between(points, density, color=_TARGET, alpha=0.4, label="target p")


def _show_interval(panel: "Axes", trace: "KLTrace", q: "Gaussian") -> "Rectangle | None":
    interval = trace.run.interval(q)
    if interval is None:
        return None
    shade: Rectangle = panel.axvspan(*interval, color=_SPAN, alpha=0.15, label="points of the sum")
    return shade


def _set_view(panel: "Axes") -> None:
    left, right, height = _VIEW
    panel.set(xlim=(left, right), ylim=(0, height))


def _state_label(step: int, q: "Gaussian") -> str:
    return f"step {step:>5}, mean {q.mean:5.2f}, std {q.std:5.3f}"
