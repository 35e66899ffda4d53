"""Fits a normal distribution q to a normal distribution p, by gradient descent on KL(q‖p).

The initial q is N(5, 0.8²), and p is N(1, 0.3²). Some runs approximate KL(q‖p) by a Riemann sum
over an interval around q, p or both. The other runs estimate the gradient of KL(q‖p) from samples,
by reparameterization or with the score function. The output folder contains table.md, results.json,
curves.png, densities.png, and a video of the densities of each run.
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
    need,
    quick_args,
)
from wmrl.training.progress import stages

if TYPE_CHECKING:
    from wmrl.scripts.reproduce.kl.experiment import KLRun, KLTrace

_CURVE_POINTS = 60  # maximum number of points of a curve in results.json
_ESTIMATES = 500  # number of estimates for the mean and the spread of a gradient


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce kl``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/kl")
    """Output folder of the table, figures and videos."""
    runs: tuple[str, ...] = ()
    """Runs to carry out: any of span-q, span-q-moving, span-p, span-both, reparameterized, score,
    score-slow, score-plain and score-plain-slow; all if not given."""
    seeds: tuple[int, ...] = tuple(range(20))
    """Seeds of the runs that draw samples. The other runs are deterministic and have no seed."""
    steps: int | None = None
    """Maximum number of steps of each run, for a quick look. By default, each run has its own
    number of steps."""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {"seeds": (0, 1, 2), "steps": 300}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Carries out the runs, and writes the table, figures and videos."""
    from dataclasses import replace

    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.reproduce.kl.experiment import RUNS, descend
    from wmrl.scripts.reproduce.kl.figures import draw_curves, draw_densities, write_run_video
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json

    args = quick_args(args, QUICK)
    need("matplotlib")
    names = args.runs or tuple(RUNS)
    check_names("runs", names, RUNS)
    check_seeds(args.seeds)
    check_counts(steps=args.steps)
    write_options(args, args.out, command="reproduce kl")
    rows: list[dict[str, Any]] = []
    traces: dict[str, list[KLTrace]] = {}
    gradients = {}
    for name in stages(names, str):
        run = RUNS[name]
        if args.steps is not None:
            run = replace(run, steps=min(args.steps, run.steps))
        traces[name] = [descend(run, seed=seed) for seed in (args.seeds if run.random else (0,))]
        for seed, trace in zip(args.seeds, traces[name], strict=False):
            rows.append({"run": name, "seed": seed if run.random else None, **run_metrics(trace)})
        gradients[name] = start_gradient(run)
        print(json.dumps({"run": name, "verdicts": [each.verdict for each in traces[name]]}))
    first = {name: found[0] for name, found in traces.items()}
    draw_curves(traces, args.out / "curves.png")
    draw_densities(first, args.out / "densities.png")
    for name, trace in first.items():
        write_run_video(name, trace, args.out / f"{name}.mp4")
    about = {
        "args": {**asdict(args), "out": str(args.out)},
        "quick": args.quick,
        "versions": package_versions("matplotlib"),
        "runs": {name: asdict(found[0].run) for name, found in traces.items()},
    }
    curves = [{"run": name, **_curve(trace)} for name, trace in first.items()]
    report = {**about, "gradients": gradients, "rows": rows, "curves": curves}
    write_json(args.out / "results.json", report)
    table = write_table(rows, gradients)
    finish(args.out, table, command="reproduce kl", quick=args.quick)


def run_metrics(trace: "KLTrace") -> dict[str, Any]:
    """Computes metrics of a run.

    Returns:
        A dictionary of metrics:

        - ``verdict``: outcome of the run: ``"converged"``, ``"did not converge"`` or ``"stopped"``.
        - ``steps``: number of steps taken.
        - ``last_gradient``: norm of the last gradient.
        - ``rejected``: invalid mean and std that stopped the run; None if the run was not stopped.
        - ``start`` and ``end``: two dictionaries, with metrics of the first q and of the last q.

        The metrics of a q are:

        - ``mean`` and ``std``: parameters of q.
        - ``kl``: exact KL(q‖p).
        - ``sum``: value of the Riemann sum; None without a Riemann sum.
        - ``mass``: probability that q assigns to the interval that the points of the Riemann sum
          span; None without a Riemann sum.
    """
    import numpy as np

    from wmrl.scripts.reproduce.kl.gaussian import kl_divergence

    found: dict[str, Any] = {
        "verdict": trace.verdict,
        "steps": trace.steps,
        "last_gradient": float(np.linalg.norm(trace.gradients[-1])),
        "rejected": trace.rejected,
    }
    for at, q in (("start", trace.run.start), ("end", trace.end)):
        interval = trace.run.interval(q)
        found[at] = {
            "mean": q.mean,
            "std": q.std,
            "kl": kl_divergence(q, trace.run.target),
            "sum": trace.run.objective(q),
            "mass": None if interval is None else q.mass(*interval),
        }
    return found


def start_gradient(run: "KLRun") -> dict[str, list[float]]:
    """Compares the exact gradient of KL(q‖p) at the initial q with a run's estimates of it.

    Returns:
        A dictionary of pairs. The first number of a pair is for the derivative with respect to the
        mean of q, and the second is for the derivative with respect to the std of q.

        - ``exact``: exact gradient.
        - ``mean``: mean of the run's gradient estimates.
        - ``spread``: standard deviation of the run's gradient estimates.
    """
    from wmrl.scripts.reproduce.kl.experiment import gradient_spread
    from wmrl.scripts.reproduce.kl.gaussian import kl_divergence_gradient

    mean, spread = gradient_spread(run, count=_ESTIMATES if run.random else 2)
    exact = kl_divergence_gradient(run.start, run.target)
    return {"exact": list(exact), "mean": mean.tolist(), "spread": spread.tolist()}


def write_table(rows: Sequence[dict[str, Any]], gradients: dict[str, Any]) -> str:
    """Formats two Markdown tables: the outcomes of the runs, and the causes of these outcomes.

    Args:
        rows: results of :func:`run_metrics`, one row for each run and seed. Each row also contains
            ``run``, the name of the run.
        gradients: result of :func:`start_gradient` for each run, keyed by the run's name.
    """
    from wmrl.scripts.reproduce.kl.experiment import CONVERGED, RUNS

    names = list(dict.fromkeys(row["run"] for row in rows))
    own = {name: [row for row in rows if row["run"] == name] for name in names}
    seeds = max(map(len, own.values()))
    lines = [
        "# Fitting a normal distribution to another",
        "",
        "q is N(5, 0.8²) initially and is fitted to p = N(1, 0.3²) by minimizing KL(q‖p) over its",
        "mean and standard deviation themselves: SGD with momentum 0.9. KL is exact, in nats;",
        f"a run has converged if it ends below {CONVERGED}, and has stopped if a step would make",
        "the standard deviation negative. Random runs have 10 samples a step: mean ± standard",
        "deviation over the seeds that did not stop; Rao-Blackwellization changes nothing, as",
        f"there is only one variable. Shares are of few runs: half of {seeds} has a standard error",
        f"of {0.5 / seeds**0.5:.0%}. Made by `wmrl reproduce kl`; every run is in",
        "[results.json](results.json) and [curves.png](curves.png), the first seed's in",
        "[densities.png](densities.png) and the videos.",
        "",
        "| run | minimized | rate | steps | mean | std | KL at the end | converged | stopped |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        ends = [row["end"] for row in own[name] if row["verdict"] != "stopped"]
        cells = [name, RUNS[name].title, f"{RUNS[name].learning_rate:g}", _steps(own[name])]
        cells += [_cell([end[key] for end in ends], form) for key, form in _ENDS.items()]
        lines.append(f"| {' | '.join([*cells, *_outcomes(own[name])])} |")
    lines += ["", *_why(own, gradients)]
    return "\n".join([*lines, ""])


_ENDS = {"mean": ".3f", "std": ".3f", "kl": ".3g"}


def _why(own: dict[str, list[dict[str, Any]]], gradients: dict[str, Any]) -> list[str]:
    exact = next(iter(gradients.values()))["exact"]
    lines = [
        "## Causes",
        "",
        f"KL is {next(iter(own.values()))[0]['start']['kl']:.2f} at the start, and its gradient",
        f"({exact[0]:.2f}, {exact[1]:.2f}) by mean and standard deviation; for random runs the",
        f"table has mean ± standard deviation of {_ESTIMATES} estimates of it. Next are the norm",
        "of the last step's gradient, and for Riemann sums the minimized sum, which is not a KL",
        "if negative, and q's mass on the interval of the points, at the start → at the end.",
        "",
        "| run | gradient by mean | gradient by std | last gradient's norm | sum | mass |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, rows in own.items():
        start, end = rows[0]["start"], rows[0]["end"]
        found, spread = gradients[name]["mean"], gradients[name]["spread"]
        noise = ["" if start["sum"] is not None else f" ± {each:.3g}" for each in spread]
        cells = [name, *(f"{each:.3g}{more}" for each, more in zip(found, noise, strict=True))]
        norms = [row["last_gradient"] for row in rows if row["verdict"] != "stopped"]
        cells.append(_cell(norms, ".2g"))
        for key in ("sum", "mass"):
            has = start[key] is not None
            cells.append(f"{start[key]:.4g} → {end[key]:.4g}" if has else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _steps(rows: Sequence[dict[str, Any]]) -> str:
    return str(max(row["steps"] for row in rows))


def _outcomes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Formats two table cells: one about the converged runs, and one about the stopped runs.

    Args:
        rows: results of :func:`run_metrics` for the same run with different seeds.
    """
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
    from wmrl.scripts.reproduce.kl.experiment import select_steps

    steps = select_steps(trace.steps, _CURVE_POINTS)
    kl = trace.kl
    columns = {"mean": trace.means, "std": trace.stds, "kl": kl}
    return {
        "step": steps,
        **{
            name: [float(f"{values[step]:.5g}") for step in steps]
            for name, values in columns.items()
        },
    }
