"""Repeats the earliest experiment: a Gaussian learns to be another by minimising KL(q‖p).

q starts as N(5, 0.8²) and p is N(1, 0.3²). KL(q‖p) is a Riemann sum over q's span, p's or both, or
is estimated from draws, reparameterised or by their scores. The folder ends up with table.md,
results.json, curves.png, densities.png, and a film of the densities for each run.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import check_counts, check_names, check_seeds, mean_and_spread, need

if TYPE_CHECKING:
    from wmrl.scripts.reproduce.kl.experiment import KLRun, KLTrace

_SHOWN = 60  # points of a curve in results.json
_ESTIMATES = 500  # by which a gradient's noise is known


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce kl``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/kl")
    """Where tables, pictures and films go."""
    runs: tuple[str, ...] = ()
    """Runs to make, of span-q, span-q-moving, span-p, span-both, reparameterised, score,
    score-slow, score-plain and score-plain-slow; all of them if none."""
    seeds: tuple[int, ...] = tuple(range(20))
    """Of the runs with draws; those without are made once."""
    steps: int | None = None
    """At most, for a glance; as many as each run needs if None."""


def main(args: Args) -> None:
    """Makes the runs, and writes tables, pictures and films."""
    from dataclasses import replace

    from wmrl.scripts.reproduce.kl.experiment import RUNS, descend
    from wmrl.scripts.reproduce.kl.figures import draw_curves, draw_densities, film
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_report, write_text

    need("matplotlib")
    names = args.runs or tuple(RUNS)
    check_names("runs", names, RUNS)
    check_seeds(args.seeds)
    check_counts(steps=args.steps)
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    traces: dict[str, list[KLTrace]] = {}
    gradients = {}
    for name in names:
        run = RUNS[name]
        if args.steps is not None:
            run = replace(run, steps=min(args.steps, run.steps))
        traces[name] = [descend(run, seed=seed) for seed in (args.seeds if run.random else (0,))]
        for seed, trace in zip(args.seeds, traces[name], strict=False):
            rows.append({"run": name, "seed": seed if run.random else None, **figures(trace)})
        gradients[name] = start_gradient(run)
        print(json.dumps({"run": name, "verdicts": [each.verdict for each in traces[name]]}))
    first = {name: found[0] for name, found in traces.items()}
    draw_curves(traces, args.out / "curves.png")
    draw_densities(first, args.out / "densities.png")
    for name, trace in first.items():
        film(name, trace, args.out / f"{name}.mp4")
    about = {
        "args": {**asdict(args), "out": str(args.out)},
        "versions": package_versions("matplotlib"),
        "runs": {name: asdict(found[0].run) for name, found in traces.items()},
    }
    curves = [{"run": name, **_curve(trace)} for name, trace in first.items()]
    report = {**about, "gradients": gradients, "rows": rows, "curves": curves}
    write_report(args.out / "results.json", report)
    table = write_table(rows, gradients)
    write_text(args.out / "table.md", table)
    print(table)


def figures(trace: "KLTrace") -> dict[str, Any]:
    """A run's figures, at its start and its end.

    Returns:
        ``verdict``, ``steps``, and for both ends ``mean``, ``std``, ``kl``, and of a Riemann sum
        ``sum`` and ``mass``, q's probability of the interval; ``last_gradient``, the norm of the
        one that the last step was taken by; and ``left``, mean and std that a run stopped at.
    """
    import numpy as np

    from wmrl.scripts.reproduce.kl.gaussian import gaussian_kl

    found: dict[str, Any] = {
        "verdict": trace.verdict,
        "steps": trace.steps,
        "last_gradient": float(np.linalg.norm(trace.gradients[-1])),
        "left": trace.left,
    }
    for at, q in (("start", trace.run.start), ("end", trace.end)):
        interval = trace.run.interval(q)
        found[at] = {
            "mean": q.mean,
            "std": q.std,
            "kl": gaussian_kl(q, trace.run.target),
            "sum": trace.run.objective(q),
            "mass": None if interval is None else q.mass(*interval),
        }
    return found


def start_gradient(run: "KLRun") -> dict[str, list[float]]:
    """The gradient at the start by mean and std: ``exact``, and ``mean`` and ``spread`` of it."""
    from wmrl.scripts.reproduce.kl.experiment import gradient_spread
    from wmrl.scripts.reproduce.kl.gaussian import gaussian_kl_gradient

    mean, spread = gradient_spread(run, count=_ESTIMATES if run.random else 2)
    exact = gaussian_kl_gradient(run.start, run.target)
    return {"exact": list(exact), "mean": mean.tolist(), "spread": spread.tolist()}


def write_table(rows: Sequence[dict[str, Any]], gradients: dict[str, Any]) -> str:
    """What became of q, and why, as Markdown."""
    from wmrl.scripts.reproduce.kl.experiment import CONVERGED, RUNS

    names = list(dict.fromkeys(row["run"] for row in rows))
    own = {name: [row for row in rows if row["run"] == name] for name in names}
    seeds = max(map(len, own.values()))
    lines = [
        "# A Gaussian learns to be another",
        "",
        "q starts as N(5, 0.8²) and is to become p = N(1, 0.3²) by minimising KL(q‖p) over its",
        "mean and its standard deviation themselves: SGD with momentum 0.9. KL is exact, in nats;",
        f"a run has converged where it ends below {CONVERGED}, and has stopped where a step would",
        "take the standard deviation below 0. Runs with draws, 10 a step: mean ± standard",
        "deviation over those seeds that did not stop; Rao-Blackwellisation changes nothing, as",
        f"there is one variable only. Shares are of few runs: half of {seeds} has a standard error",
        f"of {0.5 / seeds**0.5:.0%}. Made by `wmrl reproduce kl`; every run is in",
        "[results.json](results.json) and [curves.png](curves.png), the first seed's in",
        "[densities.png](densities.png) and the films.",
        "",
        "| run | minimised | rate | steps | mean | std | KL at the end | converged | stopped |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        went = [row["end"] for row in own[name] if row["verdict"] != "stopped"]
        cells = [name, RUNS[name].title, f"{RUNS[name].learning_rate:g}", _steps(own[name])]
        cells += [_cell([end[key] for end in went], form) for key, form in _ENDS.items()]
        lines.append(f"| {' | '.join([*cells, *_outcomes(own[name])])} |")
    lines += ["", *_why(own, gradients)]
    return "\n".join([*lines, ""])


_ENDS = {"mean": ".3f", "std": ".3f", "kl": ".3g"}


def _why(own: dict[str, list[dict[str, Any]]], gradients: dict[str, Any]) -> list[str]:
    exact = next(iter(gradients.values()))["exact"]
    lines = [
        "## Why",
        "",
        f"KL is {next(iter(own.values()))[0]['start']['kl']:.2f} at the start, and its gradient",
        f"({exact[0]:.2f}, {exact[1]:.2f}) by mean and standard deviation; of draws the table has",
        f"mean ± spread of {_ESTIMATES} estimates of it. Then the norm of the gradient that the",
        "last step was taken by, and of sums what is minimised, which is no KL where it is below",
        "0, and q's mass on the interval that the points span, at the start → at the end.",
        "",
        "| run | gradient by mean | gradient by std | last gradient's norm | sum | mass |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, rows in own.items():
        start, end = rows[0]["start"], rows[0]["end"]
        found, spread = gradients[name]["mean"], gradients[name]["spread"]
        noise = ["" if start["sum"] is not None else f" ± {each:.3g}" for each in spread]
        cells = [name, *(f"{each:.3g}{more}" for each, more in zip(found, noise, strict=True))]
        went = [row["last_gradient"] for row in rows if row["verdict"] != "stopped"]
        cells.append(_cell(went, ".2g"))
        for key in ("sum", "mass"):
            has = start[key] is not None
            cells.append(f"{start[key]:.4g} → {end[key]:.4g}" if has else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _steps(rows: Sequence[dict[str, Any]]) -> str:
    return str(max(row["steps"] for row in rows))


def _outcomes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """How many converged, and how many stopped and when."""
    converged = sum(row["verdict"] == "converged" for row in rows)
    stops = [row["steps"] for row in rows if row["verdict"] == "stopped"]
    span = " to ".join(str(each) for each in sorted({min(stops), max(stops)})) if stops else ""
    when = f", after {span} steps" if stops else ""
    return [f"{converged} of {len(rows)}", f"{len(stops)}{when}"]


def _cell(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    return f"{values[0]:{form}}" if len(values) == 1 else mean_and_spread(values, form)


def _curve(trace: "KLTrace") -> dict[str, Any]:
    from wmrl.scripts.reproduce.kl.experiment import spread_steps

    steps = spread_steps(trace.steps, _SHOWN)
    kl = trace.kl
    columns = {"mean": trace.means, "std": trace.stds, "kl": kl}
    return {
        "step": steps,
        **{
            name: [float(f"{values[step]:.5g}") for step in steps]
            for name, values in columns.items()
        },
    }
