"""Reuses encodings learned from elites to reach targets with an arm of 200 joints.

A VAE and a VQ-VAE are trained on the elites of a search and, as a control, on as many random poses.
Poses that reach given targets are then searched for in three spaces. CMA-ES searches the joint
angles and the latents of the VAE. An estimation of distribution algorithm searches the codes of the
VQ-VAE. All searches are run for the problem of the elites, and for three changed problems: with
obstacles, with a locked joint, and with other link lengths. If the command is interrupted, repeat
it to continue. The output folder contains table.md, results.json and poses.png.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import (
    check_counts,
    check_seeds,
    finish,
    mean_and_spread,
    quick_args,
)
from wmrl.training.progress import stages

if TYPE_CHECKING:
    import numpy as np

    from wmrl.agents.quality_diversity.archive import Elites
    from wmrl.encodings.base import Encoding

KINDS = ("vae", "vqvae")
DATA = {"elites": "elites", "random": "random poses"}


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce reuse``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/reuse")
    """Output folder of the table, the results and the image."""
    work: Path = Path("runs/reproduce-reuse")
    """Folder of the searches and training runs; finished ones are not repeated."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds. For each seed, elites are searched for, each encoding is trained once, and all
    searches for poses are run."""
    elites: int = 1_000_000
    """Number of evaluations in each search for elites."""
    epochs: int = 1000
    """Number of training epochs of each encoding."""
    targets: int = 18
    """Number of targets, spread evenly over the arm's reach. Those in obstacles are left out."""
    evaluations: int = 5000
    """Number of evaluations in each search for a pose."""
    ship: Path | None = None
    """Folder in which to write the artifacts planar-arm-vae and planar-arm-vqvae. They are the
    encodings trained on the elites of the first seed. By default, they are not written."""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {
    "seeds": (0,),
    "elites": 10_000,
    "epochs": 20,
    "targets": 6,
    "evaluations": 200,
}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Runs the searches and the training, and writes the table, the results and the image."""
    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.reproduce.dde.experiment import TASKS
    from wmrl.scripts.reproduce.reuse.experiment import (
        METHODS,
        oracle_stds_of_targets,
        problems,
        targets_for,
    )
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json

    args = quick_args(args, QUICK)
    check_seeds(args.seeds)
    check_counts(
        elites=args.elites,
        epochs=args.epochs,
        targets=args.targets,
        evaluations=args.evaluations,
    )
    write_options(args, args.out, command="reproduce reuse")
    num_joints = TASKS["200-joints"].problem.arm.num_joints
    learned: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    oracle: dict[str, float | None] = {}
    for seed in stages(args.seeds, lambda seed: f"seed {seed}"):
        elites, encodings = _train(args, seed, learned)
        for name, arm in problems(num_joints).items():
            targets = targets_for(arm, args.targets)
            if name not in oracle:
                oracle[name] = _median(oracle_stds_of_targets(arm, targets))
            for method in stages(
                list(METHODS),
                lambda method: f"seed {seed}, {name}: {method}",  # noqa: B023 - used at once
            ):
                rows.append(_search(args, seed, name, method, elites, encodings))
                print(json.dumps({k: v for k, v in rows[-1].items() if k != "targets"}))
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "quick": args.quick,
        "versions": package_versions(),
        "oracle": oracle,
    }
    write_json(args.out / "results.json", {**about, "encodings": learned, "searches": rows})
    table = write_table(learned, rows, oracle, elites=args.elites, num_joints=num_joints)
    _draw(args)
    if args.ship is not None:
        _ship(args, learned, rows)
    finish(args.out, table, command="reproduce reuse", quick=args.quick)


def _train(
    args: Args, seed: int, learned: list[dict[str, Any]]
) -> "tuple[Elites, dict[tuple[str, str], Encoding]]":
    """Searches for elites and trains all encodings of a seed.

    The metrics of the encodings are appended to ``learned``.

    Returns:
        The elites, and a dictionary of the encodings, keyed by kind and training data.
    """
    from dataclasses import replace

    from wmrl.core.seeding import numpy_generator
    from wmrl.scripts.reproduce.dde.experiment import TASKS, run_search
    from wmrl.scripts.reproduce.reuse.encodings import TRAINING, reuse_config, train_encoding

    _, elites = run_search(
        TASKS["200-joints"],
        "dde",
        args.work / f"elites-{seed}",
        evaluations=args.elites,
        seed=seed,
    )
    drawn = numpy_generator(seed, "reuse", "random-arms")
    shape = elites.solutions.shape
    poses = {"elites": elites.solutions, "random": drawn.uniform(-1.0, 1.0, shape)}
    encodings = {}
    for kind in KINDS:
        for data in DATA:
            encoding, metrics = train_encoding(
                reuse_config(kind, shape[1]),
                poses[data],
                args.work / f"{kind}-{data}-{seed}",
                seed=seed,
                training=replace(TRAINING, epochs=args.epochs),
            )
            encodings[kind, data] = encoding
            made = {"digest": encoding.digest, "poses": shape[0] - shape[0] // 10}
            learned.append({"kind": kind, "data": data, "seed": seed, **made, **metrics})
    return elites, encodings


def _search(
    args: Args,
    seed: int,
    problem: str,
    method: str,
    elites: "Elites",
    encodings: "dict[tuple[str, str], Encoding]",
) -> dict[str, Any]:
    """Searches for a pose at each target of a problem, and returns the results of all searches."""
    from wmrl.scripts.reproduce.dde.experiment import TASKS
    from wmrl.scripts.reproduce.reuse.experiment import (
        METHODS,
        nearest_elites,
        problems,
        search_targets,
        summary,
        targets_for,
    )

    how, arm = METHODS[method], problems(TASKS["200-joints"].problem.arm.num_joints)[problem]
    targets, on_angles = targets_for(arm, args.targets), how.space == "angles"
    found = search_targets(
        how,
        arm,
        targets,
        args.work / "searches" / problem / f"{method}-{seed}",
        encoding=None if on_angles or how.data is None else encodings[how.space, how.data],
        starts=nearest_elites(elites, arm, targets) if on_angles and how.data else None,
        evaluations=args.evaluations,
        seed=seed,
    )
    return {"problem": problem, "method": method, "seed": seed, **summary(found), "targets": found}


def _median(values: "np.ndarray") -> float | None:
    """Returns the median of the values, ignoring NaN, or None if there is no finite value."""
    import numpy as np

    return float(np.nanmedian(values)) if np.isfinite(values).any() else None


def write_table(
    learned: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    oracle: dict[str, float | None],
    *,
    elites: int,
    num_joints: int,
) -> str:
    """Formats the results as Markdown tables, with mean and standard deviation over seeds.

    Args:
        learned: metrics of the encodings, one row for each kind, training data and seed.
        rows: results of the searches, one row for each problem, method and seed.
        oracle: smallest std of the joint angles that an oracle finds, in radians, keyed by problem.
            Each value is the median over the targets, or None if the oracle reaches no target.
        elites: number of evaluations in each search for elites.
        num_joints: number of joints of the arm.
    """
    from wmrl.scripts.reproduce.reuse.experiment import METHODS

    seeds = len({row["seed"] for row in rows})
    targets = {row["problem"]: len(row["targets"]) for row in rows}
    lines = [
        "# Reuse of encodings learned from elites",
        "",
        f"An arm of {num_joints} joints reaches targets, {rows[0]['targets'][0]['evaluations']:,}",
        f"evaluations each; medians over the targets, mean ± standard deviation over {seeds} seeds",
        "(each with its own elites, encodings and searches). Distances are in units of the arm's",
        "length, stds of the angles in radians. Std at the target: the least std of all poses",
        "within 0.01 of the target; targets that were not reached count as infinite. Not",
        "included: the evaluations of the search for elites on the plain problem,",
        f"{elites:,} per seed, and the training of the encodings.",
        "The oracle knows the arm's gradients, but ignores obstacles. Made by",
        "`wmrl reproduce reuse`; all searches are in [results.json](results.json), some of their",
        "poses are in [poses.png](poses.png).",
        "",
        "## Encodings",
        "",
        "On held-out poses: the median displacement of the end, and stds before and after.",
        "",
        "| encoding | trained on | variance explained | end moved | std | reconstructed |",
        "| --- " * 6 + "|",
    ]
    for kind in KINDS:
        for data, title in DATA.items():
            own = [each for each in learned if (each["kind"], each["data"]) == (kind, data)]
            cells = [
                mean_and_spread([each[key] for each in own], form)
                for key, form in (
                    ("explained", ".1%"),
                    ("moved", ".3f"),
                    ("std", ".4f"),
                    ("std_reconstructed", ".4f"),
                )
            ]
            lines.append(f"| {kind} | {title} | {' | '.join(cells)} |")
    for problem, count in targets.items():
        bound = oracle[problem]
        oracle_std = "" if bound is None else f"; the oracle's std {bound:.4f}"
        lines += ["", f"## {problem}: {count} targets{oracle_std}", ""]
        lines += [
            "| search | distance | std | reached | evaluations to target | std at target |",
            "| --- " * 6 + "|",
        ]
        for method, how in METHODS.items():
            own = [row for row in rows if (row["problem"], row["method"]) == (problem, method)]
            cells = [
                _spread([row[key] for row in own], form)
                for key, form in (
                    ("distance", ".4f"),
                    ("std", ".4f"),
                    ("reached", ".0%"),
                    ("evaluations_to_target", ",.0f"),
                    ("std_at_target", ".4f"),
                )
            ]
            lines.append(f"| {' | '.join([how.title, *cells])} |")
    return "\n".join([*lines, ""])


def _spread(values: Sequence[float | None], form: str) -> str:
    """Formats the mean and standard deviation of a metric over seeds.

    A value of None stands for an infinite metric. If any value is None, there is no mean. The
    result then tells how many values are None, as in ``"not reached, 1 of 3"``.
    """
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    return f"not reached, {missing} of {len(values)}" if missing else mean_and_spread(known, form)


def _draw(args: Args) -> None:
    """Writes an image of poses of the first seed, with a row per method and a column per target."""
    import numpy as np

    from wmrl.envs.planar_arm.rendering import draw_arm
    from wmrl.envs.rendering.contact_sheet import draw_contact_sheet
    from wmrl.scripts.reproduce.dde.experiment import TASKS
    from wmrl.scripts.reproduce.reuse.experiment import POSES, problems, targets_for
    from wmrl.storage.files import write_image

    shown = (("plain", 1), ("plain", -2), ("obstacles", 2), ("locked", 5), ("lengths", 8))
    arms = problems(TASKS["200-joints"].problem.arm.num_joints)
    rows = []
    for method in ("direct", "direct-0.005", "elite", "vae", "vqvae", "vae-random", "vqvae-random"):
        images = []
        for name, number in shown:
            arm, folder = arms[name], args.work / "searches" / name
            targets = targets_for(arm, args.targets)
            row = number % len(targets)
            pose = np.load(folder / f"{method}-{args.seeds[0]}" / POSES)[[row]]
            images.append(
                draw_arm(
                    arm,
                    arm.joint_positions(pose)[0],
                    target=targets[row],
                    collides=not arm.evaluate(pose).feasible[0],
                    caption=f"{method}: {name}",
                    size=220,
                )
            )
        rows.append(images)
    write_image(args.out / "poses.png", draw_contact_sheet(rows))


def _ship(args: Args, learned: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> None:
    """Writes the encodings trained on elites of the first seed, as artifacts with model cards."""
    from wmrl.encodings.base import load_encoding
    from wmrl.storage.artifact import load_artifact, package_versions

    assert args.ship is not None
    seed = args.seeds[0]
    for kind in KINDS:
        path = args.work / f"{kind}-elites-{seed}"
        metrics = next(
            each
            for each in learned
            if (each["kind"], each["data"], each["seed"]) == (kind, "elites", seed)
        )
        score = next(
            {key: row[key] for key in ("std", "distance", "reached", "std_at_target")}
            for row in rows
            if (row["problem"], row["method"], row["seed"]) == ("plain", kind, seed)
        )
        made = {
            "command": "wmrl reproduce reuse",
            "seed": seed,
            "data": load_artifact(args.work / f"elites-{seed}" / "elites").digest,
            "versions": package_versions(),
            "held_out": {k: v for k, v in metrics.items() if k not in ("kind", "data", "digest")},
            "score": score,
        }
        encoding = load_encoding(path / "artifact", device="cpu")
        encoding.save(
            args.ship / f"planar-arm-{kind}",
            provenance=load_artifact(path / "artifact").provenance | made,
            card=encoding_card(kind, metrics, score, evaluations=args.evaluations),
        )


def encoding_card(
    kind: str, metrics: dict[str, Any], score: dict[str, Any], *, evaluations: int
) -> str:
    """Returns the model card of an encoding.

    Args:
        kind: ``"vae"`` or ``"vqvae"``.
        metrics: metrics of the encoding on held-out elites.
        score: results of the searches in the latents or codes of the encoding.
        evaluations: number of evaluations in each search.
    """
    what = {"vae": "VAE with 32 latents", "vqvae": "VQ-VAE with 8 codes of 64"}[kind]
    budget, median = f"{evaluations:,} evaluations", score["std_at_target"]
    std = "not reached at the median" if median is None else f"{median:.4f} rad"
    return f"""# planar-arm-{kind}

A {what}, for poses of the planar arm with 200 joints: `vsg/PlanarArmLatent-v0`. It was trained on
{metrics["poses"]} elites of a search that rewards even angles. Made by `wmrl reproduce reuse`
(seed {metrics["seed"]}).

Held-out elites: {metrics["explained"]:.1%} of their variance explained, ends moved by
{metrics["moved"]:.3f} of the arm's length at the median. Searches in it ({budget}, evenly
spread targets) reach {score["reached"]:.0%} of the targets; std of the angles there: {std}.
"""
