"""Uses again what elites taught: an arm of 200 joints reaches targets in a learned encoding.

A search for elites makes the poses that a VAE and a VQ-VAE learn from; as a control, the same two
learn from as many random poses. Then each target is searched for by CMA-ES on the angles, by CMA-ES
on latents, and by estimating the distribution of codes, on the elites' own problem and on changed
ones. Killed at any moment, the same command goes on. The folder ends up with table.md, results.json
and poses.png.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import check_counts, check_seeds, mean_and_spread

if TYPE_CHECKING:
    import numpy as np

    from wmrl.agents.quality_diversity.archive import Elites
    from wmrl.encodings.base import Encoding

KINDS = ("vae", "vqvae")
DATA = {"elites": "elites", "random": "random arms"}


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce reuse``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/reuse")
    """Where the table goes."""
    work: Path = Path("runs/reproduce-reuse")
    """Where everything is made; what is there is not made again."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One search for elites, one training of each encoding and one search of each target for
    each."""
    elites: int = 1_000_000
    """Evaluations of the search for elites."""
    epochs: int = 1000
    """Passes over the poses that an encoding learns from."""
    targets: int = 18
    """Targets, evenly over the disc that the arm reaches."""
    evaluations: int = 5000
    """Of each search for a target."""
    ship: Path | None = None
    """Folder for planar-arm-vae and planar-arm-vqvae, the encodings of the first seed's elites."""


def main(args: Args) -> None:
    """Does what is not done yet, and writes the table."""
    from wmrl.scripts.reproduce.dde.experiment import TASKS
    from wmrl.scripts.reproduce.reuse.experiment import METHODS, least_stds, problems, targets_for
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_report, write_text

    check_seeds(args.seeds)
    check_counts(
        elites=args.elites,
        epochs=args.epochs,
        targets=args.targets,
        evaluations=args.evaluations,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    joints = TASKS["200-joints"].problem.arm.joints
    learned: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    oracle: dict[str, float | None] = {}
    for seed in args.seeds:
        elites, encodings = _learn(args, seed, learned)
        for name, arm in problems(joints).items():
            targets = targets_for(arm, args.targets)
            if name not in oracle:
                oracle[name] = _median(least_stds(arm, targets))
            for method in METHODS:
                rows.append(_search(args, seed, name, method, elites, encodings))
                print(json.dumps({k: v for k, v in rows[-1].items() if k != "targets"}))
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "versions": package_versions(),
        "oracle": oracle,
    }
    write_report(args.out / "results.json", {**about, "encodings": learned, "searches": rows})
    table = write_table(learned, rows, oracle, elites=args.elites, joints=joints)
    write_text(args.out / "table.md", table)
    _draw(args)
    if args.ship is not None:
        _ship(args, learned, rows)
    print(table)


def _learn(
    args: Args, seed: int, learned: list[dict[str, Any]]
) -> "tuple[Elites, dict[tuple[str, str], Encoding]]":
    """Elites; and encodings by kind and by what they saw, with figures added to ``learned``."""
    from dataclasses import replace

    from wmrl.core.seeding import numpy_generator
    from wmrl.scripts.reproduce.dde.experiment import TASKS, run_search
    from wmrl.scripts.reproduce.reuse.encodings import TRAINING, learn_encoding, reuse_config

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
            encoding, figures = learn_encoding(
                reuse_config(kind, shape[1]),
                poses[data],
                args.work / f"{kind}-{data}-{seed}",
                seed=seed,
                training=replace(TRAINING, epochs=args.epochs),
            )
            encodings[kind, data] = encoding
            made = {"digest": encoding.digest, "poses": shape[0] - shape[0] // 10}
            learned.append({"kind": kind, "data": data, "seed": seed, **made, **figures})
    return elites, encodings


def _search(
    args: Args,
    seed: int,
    problem: str,
    method: str,
    elites: "Elites",
    encodings: "dict[tuple[str, str], Encoding]",
) -> dict[str, Any]:
    """One row: all targets of a problem by a method."""
    from wmrl.scripts.reproduce.dde.experiment import TASKS
    from wmrl.scripts.reproduce.reuse.experiment import (
        METHODS,
        nearest_elites,
        problems,
        search_targets,
        summary,
        targets_for,
    )

    way, arm = METHODS[method], problems(TASKS["200-joints"].problem.arm.joints)[problem]
    targets, on_angles = targets_for(arm, args.targets), way.space == "angles"
    found = search_targets(
        way,
        arm,
        targets,
        args.work / "searches" / problem / f"{method}-{seed}",
        encoding=None if on_angles or way.data is None else encodings[way.space, way.data],
        starts=nearest_elites(elites, arm, targets) if on_angles and way.data else None,
        evaluations=args.evaluations,
        seed=seed,
    )
    return {"problem": problem, "method": method, "seed": seed, **summary(found), "targets": found}


def _median(values: "np.ndarray") -> float | None:
    """Of what the oracle solves; None if that is nothing."""
    import numpy as np

    return float(np.nanmedian(values)) if np.isfinite(values).any() else None


def write_table(
    learned: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    oracle: dict[str, float | None],
    *,
    elites: int,
    joints: int,
) -> str:
    """Means and standard deviations over seeds, as Markdown."""
    from wmrl.scripts.reproduce.reuse.experiment import METHODS

    seeds = len({row["seed"] for row in rows})
    targets = {row["problem"]: len(row["targets"]) for row in rows}
    lines = [
        "# What elites teach, used again",
        "",
        f"An arm of {joints} joints reaches targets, {rows[0]['targets'][0]['evaluations']:,}",
        f"evaluations each; medians over the targets, mean ± standard deviation over {seeds} seeds",
        "(each with elites, encodings and searches of its own). Distances are in units of the",
        "arm's length, stds of the angles in radians. At equal distance: the least std of all",
        "poses within 0.01 of the target, where a target that was not reached counts as infinite.",
        "Not counted: the evaluations of the plain problem that elites took before,",
        f"{elites:,} a seed, and the encodings' training.",
        "The oracle knows the arm's gradients, but sees no obstacles. Made by",
        "`wmrl reproduce reuse`; every search is in [results.json](results.json), some of their",
        "poses are in [poses.png](poses.png).",
        "",
        "## Encodings",
        "",
        "On poses held out: how far arms' ends move at the median, and stds before and after.",
        "",
        "| encoding | learned from | variance explained | end moved | std | reconstructed |",
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
        least = "" if bound is None else f"; the oracle's std {bound:.4f}"
        lines += ["", f"## {problem}: {count} targets{least}", ""]
        lines += [
            "| search | distance | std | reached | evaluations until | std at equal distance |",
            "| --- " * 6 + "|",
        ]
        for method, way in METHODS.items():
            own = [row for row in rows if (row["problem"], row["method"]) == (problem, method)]
            cells = [
                _spread([row[key] for row in own], form)
                for key, form in (
                    ("distance", ".4f"),
                    ("std", ".4f"),
                    ("there", ".0%"),
                    ("evaluations_until", ",.0f"),
                    ("std_there", ".4f"),
                )
            ]
            lines.append(f"| {' | '.join([way.title, *cells])} |")
    return "\n".join([*lines, ""])


def _spread(values: Sequence[float | None], form: str) -> str:
    """Of medians that are infinite, how many are."""
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    return f"not reached, {missing} of {len(values)}" if missing else mean_and_spread(known, form)


def _draw(args: Args) -> None:
    """Poses of the first seed: a row for each search, a column for some targets."""
    import numpy as np

    from wmrl.envs.planar_arm.rendering import draw_arm
    from wmrl.envs.rendering.contact_sheet import draw_contact_sheet, write_picture
    from wmrl.scripts.reproduce.dde.experiment import TASKS
    from wmrl.scripts.reproduce.reuse.experiment import POSES, problems, targets_for

    shown = (("plain", 1), ("plain", -2), ("obstacles", 2), ("locked", 5), ("lengths", 8))
    arms = problems(TASKS["200-joints"].problem.arm.joints)
    rows = []
    for method in ("direct", "direct-0.005", "elite", "vae", "vqvae", "vae-random", "vqvae-random"):
        pictures = []
        for name, number in shown:
            arm, folder = arms[name], args.work / "searches" / name
            targets = targets_for(arm, args.targets)
            row = number % len(targets)
            pose = np.load(folder / f"{method}-{args.seeds[0]}" / POSES)[[row]]
            pictures.append(
                draw_arm(
                    arm,
                    arm.joint_positions(pose)[0],
                    target=targets[row],
                    collides=not arm.evaluate(pose).feasible[0],
                    caption=f"{method}: {name}",
                    size=220,
                )
            )
        rows.append(pictures)
    write_picture(args.out / "poses.png", draw_contact_sheet(rows))


def _ship(args: Args, learned: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> None:
    """Encodings of the first seed's elites, with model cards."""
    from wmrl.encodings.base import load_encoding
    from wmrl.storage.artifact import load_artifact, package_versions

    assert args.ship is not None
    seed = args.seeds[0]
    for kind in KINDS:
        path = args.work / f"{kind}-elites-{seed}"
        figures = next(
            each
            for each in learned
            if (each["kind"], each["data"], each["seed"]) == (kind, "elites", seed)
        )
        score = next(
            {key: row[key] for key in ("std", "distance", "there", "std_there")}
            for row in rows
            if (row["problem"], row["method"], row["seed"]) == ("plain", kind, seed)
        )
        made = {
            "command": "wmrl reproduce reuse",
            "seed": seed,
            "data": load_artifact(args.work / f"elites-{seed}" / "elites").digest,
            "versions": package_versions(),
            "held_out": {k: v for k, v in figures.items() if k not in ("kind", "data", "digest")},
            "score": score,
        }
        encoding = load_encoding(path / "artifact", device="cpu")
        encoding.save(
            args.ship / f"planar-arm-{kind}",
            provenance=load_artifact(path / "artifact").provenance | made,
            card=encoding_card(kind, figures, score, evaluations=args.evaluations),
        )


def encoding_card(
    kind: str, figures: dict[str, Any], score: dict[str, Any], *, evaluations: int
) -> str:
    """The model card of a shipped encoding."""
    what = {"vae": "VAE with 32 latents", "vqvae": "VQ-VAE with 8 codes of 64"}[kind]
    budget, there = f"{evaluations:,} evaluations", score["std_there"]
    said = "not reached at the median" if there is None else f"{there:.4f} rad"
    return f"""# planar-arm-{kind}

A {what}, for poses of the planar arm with 200 joints: `vsg/PlanarArmLatent-v0`. It learned from
{figures["poses"]} elites of a search that rewards even angles. Made by `wmrl reproduce reuse`
(seed {figures["seed"]}).

Held-out elites: {figures["explained"]:.1%} of their variance explained, ends moved by
{figures["moved"]:.3f} of the arm's length at the median. Searches in it ({budget}, evenly
spread targets) reach {score["there"]:.0%} of the targets; std of the angles there: {said}.
"""
