"""Measures whether VQ-VAE codes learned from elites align along a few directions.

VQ-VAEs are trained on elite poses of a planar arm with 20 joints and, as a control, on random
poses. There are two sets of settings: those of an earlier experiment and those of this project.
Each set is used unchanged and with small changes, to find out which settings affect the alignment.
If the command is interrupted, repeat it to continue. The output folder contains table.md,
results.json and codes.png.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

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

GROUPS = {"earlier": "The earlier experiment's", "ours": "This project's"}
"""Headings of the tables, keyed by the prefix of the names of the variants in a table."""

COLUMNS = {
    "explained": ("variance explained", ".1%"),
    "used": ("codes used", ".0f"),
    "rank": ("effective rank", ".2f"),
    "mean_cosine": ("mean |cos|", ".2f"),
    "median_cosine": ("median", ".2f"),
    "first_share": ("first direction's share", ".0%"),
}
"""Title and number format of each metric. The last four metrics are computed twice: for the codes,
and for the codes minus their mean."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce codebook``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/codebook")
    """Output folder of the table, the results and the image."""
    work: Path = Path("runs/reproduce-codebook")
    """Folder of the searches and training runs; finished ones are not repeated."""
    variants: tuple[str, ...] = ()
    """Codebooks to train: any of earlier, earlier-dense, earlier-warmup, earlier-ema, earlier-fsq,
    earlier-random, ours, ours-cold, ours-gradient and ours-random; all if not given."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds. For each seed, elites are searched for and each codebook is trained once."""
    evaluations: int = 30_000
    """Number of evaluations in each search for elites."""
    epochs: int | None = None
    """Number of training epochs of each codebook; if not given, each variant has its own number."""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {"seeds": (0,), "evaluations": 5000, "epochs": 10}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Trains the codebooks and writes the table, the results and the image."""
    from wmrl.envs.rendering.contact_sheet import draw_contact_sheet
    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.reproduce.codebook.experiment import (
        VARIANTS,
        find_poses,
        train_codebook,
        used_codes,
    )
    from wmrl.scripts.reproduce.codebook.figures import draw_directions
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_image, write_json

    args = quick_args(args, QUICK)
    names = args.variants or tuple(VARIANTS)
    check_names("variants", names, VARIANTS)
    check_seeds(args.seeds)
    check_counts(evaluations=args.evaluations, epochs=args.epochs)
    write_options(args, args.out, command="reproduce codebook")
    rows: list[dict[str, Any]] = []
    images = {}
    for seed in stages(args.seeds, lambda seed: f"seed {seed}"):
        poses = find_poses(args.work / f"poses-{seed}", seed=seed, evaluations=args.evaluations)
        for name in stages(names, lambda name: f"{name}, seed {seed}"):  # noqa: B023 - used at once
            variant = VARIANTS[name]
            if args.epochs is not None:
                training = replace(variant.training, epochs=args.epochs)
                variant = replace(variant, training=training)
            model, metrics = train_codebook(variant, poses, args.work / f"{name}-{seed}", seed=seed)
            sizes = {"codebook_size": model.codebook_size, "code_dim": model.quantizer.code_dim}
            rows.append({"variant": name, "seed": seed, **sizes, **metrics})
            print(json.dumps(rows[-1]))
            if seed == args.seeds[0]:
                codes = used_codes(model, poses[variant.data])
                images[name] = draw_directions(
                    codes, title=variant.title, caption=_caption(rows[-1]), size=260
                )
    groups = [[images[n] for n in names if n.startswith(group)] for group in GROUPS]
    write_image(args.out / "codes.png", draw_contact_sheet([group for group in groups if group]))
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "quick": args.quick,
        "versions": package_versions(),
    }
    write_json(args.out / "results.json", {**about, "codebooks": rows})
    table = write_table(rows)
    finish(args.out, table, command="reproduce codebook", quick=args.quick)


def _caption(row: dict[str, Any]) -> str:
    raw = row["raw"]
    if raw is None:
        return "one code is used"
    return f"rank {raw['rank']:.2f} of {row['code_dim']}, |cos| {raw['mean_cosine']:.2f}"


def write_table(rows: Sequence[dict[str, Any]]) -> str:
    """Formats the metrics as Markdown tables, with mean and standard deviation over seeds.

    Args:
        rows: metrics of the trained codebooks, one row for each variant and seed.
    """
    from wmrl.scripts.reproduce.codebook.experiment import VARIANTS

    lines = [
        "# Do codes align?",
        "",
        "Codebooks of poses of a planar arm with 20 joints, by their training data and settings;",
        f"mean ± standard deviation over {len({row['seed'] for row in rows})} seeds. The metrics",
        "are those of the codes in use: effective rank, |cos| of the angles of all pairs, and the",
        "share of the sum of squares along the first direction; then the same after subtracting",
        "the codes' mean. Made by `wmrl reproduce codebook`; all codebooks are in",
        "[results.json](results.json), those of the first seed are in [codes.png](codes.png).",
    ]
    for group, heading in GROUPS.items():
        own = [row for row in rows if row["variant"].startswith(group)]
        if not own:
            continue
        dim = own[0]["code_dim"]
        lines += [
            "",
            f"## {heading}: {own[0]['codebook_size']} codes of {dim} numbers",
            "",
            f"Random directions have a mean |cos| of {random_cosine(dim):.2f}.",
            "",
        ]
        titles = [title for title, _ in COLUMNS.values()]
        centered = [f"{title}, centered" for title in titles[2:]]
        heads = ["codebook", *titles, *centered]
        heads = [head.replace("|", "\\|") for head in heads]  # a plain bar would end the cell
        lines += [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
        for name in dict.fromkeys(row["variant"] for row in own):
            found = [row for row in own if row["variant"] == name]
            cells = [_cell(found, key) for key in COLUMNS]
            cells += [_cell(found, key, "centered") for key in list(COLUMNS)[2:]]
            lines.append(f"| {' | '.join([VARIANTS[name].title, *cells])} |")
    return "\n".join([*lines, ""])


def random_cosine(dim: int) -> float:
    """Returns the mean |cos| of the angle between two random directions in ``dim`` dimensions.

    With D = ``dim``, this mean is Γ(D/2) / (√π Γ((D + 1)/2)). It is also the mean absolute value of
    a coordinate of a random unit vector.
    """
    from math import gamma, pi, sqrt

    return gamma(dim / 2) / (sqrt(pi) * gamma((dim + 1) / 2))


def _cell(rows: Sequence[dict[str, Any]], key: str, part: str = "raw") -> str:
    form = COLUMNS[key][1]
    if key in rows[0]:
        return mean_and_spread([row[key] for row in rows], form)
    values = [row[part][key] for row in rows if row[part] is not None]
    return mean_and_spread(values, form) if len(values) == len(rows) else "one code"
