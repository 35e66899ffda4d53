"""Asks whether the codes of elites align along a few directions, and what keeps them apart.

VQ-VAEs learn from the elites of a planar arm with 20 joints and from random arms: in the
configuration of the experiment that this project goes back to, and in this project's, each with a
few things changed. Killed at any moment, the same command goes on. The folder ends up with
table.md, results.json and codes.png.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from wmrl.scripts.tables import check_counts, check_names, check_seeds, mean_and_spread

ROWS = {"earlier": "The earlier experiment's", "ours": "This project's"}
"""Tables, by how the names of their variants begin."""

COLUMNS = {
    "explained": ("variance explained", ".1%"),
    "used": ("codes used", ".0f"),
    "rank": ("effective rank", ".2f"),
    "mean_cosine": ("mean |cos|", ".2f"),
    "median_cosine": ("median", ".2f"),
    "first_share": ("first direction's share", ".0%"),
}
"""Figures: their title and format. Those from ``rank`` on are of codes, with and without mean."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce codebook``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/codebook")
    """Where the table goes."""
    work: Path = Path("runs/reproduce-codebook")
    """Where everything is made; what is there is not made again."""
    variants: tuple[str, ...] = ()
    """Codebooks to learn, of earlier, earlier-dense, earlier-warmup, earlier-ema, earlier-fsq,
    earlier-random, ours, ours-cold, ours-gradient and ours-random; all of them if none."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One search for elites and one training of each codebook for each."""
    evaluations: int = 30_000
    """Of each search for elites."""


def main(args: Args) -> None:
    """Learns the codebooks that are not learned yet, and writes the table."""
    from wmrl.envs.rendering.contact_sheet import draw_contact_sheet, write_picture
    from wmrl.scripts.reproduce.codebook.experiment import (
        VARIANTS,
        find_poses,
        learn_codebook,
        used_codes,
    )
    from wmrl.scripts.reproduce.codebook.figures import draw_directions
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_report, write_text

    names = args.variants or tuple(VARIANTS)
    check_names("variants", names, VARIANTS)
    check_seeds(args.seeds)
    check_counts(evaluations=args.evaluations)
    rows: list[dict[str, Any]] = []
    pictures = {}
    for seed in args.seeds:
        poses = find_poses(args.work / f"poses-{seed}", seed=seed, evaluations=args.evaluations)
        for name in names:
            variant = VARIANTS[name]
            model, figures = learn_codebook(variant, poses, args.work / f"{name}-{seed}", seed=seed)
            sizes = {"codes": model.code_count, "code_size": model.quantiser.size}
            rows.append({"variant": name, "seed": seed, **sizes, **figures})
            print(json.dumps(rows[-1]))
            if seed == args.seeds[0]:
                codes = used_codes(model, poses[variant.data])
                pictures[name] = draw_directions(
                    codes, title=variant.title, caption=_caption(rows[-1]), size=260
                )
    args.out.mkdir(parents=True, exist_ok=True)
    groups = [[pictures[n] for n in names if n.startswith(group)] for group in ROWS]
    write_picture(args.out / "codes.png", draw_contact_sheet([group for group in groups if group]))
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "versions": package_versions(),
    }
    write_report(args.out / "results.json", {**about, "codebooks": rows})
    table = write_table(rows)
    write_text(args.out / "table.md", table)
    print(table)


def _caption(row: dict[str, Any]) -> str:
    found = row["raw"]
    if found is None:
        return "one code is used"
    return f"rank {found['rank']:.2f} of {row['code_size']}, |cos| {found['mean_cosine']:.2f}"


def write_table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    from wmrl.scripts.reproduce.codebook.experiment import VARIANTS

    lines = [
        "# Do codes align?",
        "",
        "Codebooks of poses of a planar arm with 20 joints, by what they learned from and how;",
        f"mean ± standard deviation over {len({row['seed'] for row in rows})} seeds. Figures are",
        "those of the codes that occur: effective rank, |cos| of the angles of all pairs, and the",
        "share of the sum of squares along the first direction; then the same without the codes'",
        "mean. Made by `wmrl reproduce codebook`; every codebook is in",
        "[results.json](results.json), the first seed's are drawn in [codes.png](codes.png).",
    ]
    for group, heading in ROWS.items():
        own = [row for row in rows if row["variant"].startswith(group)]
        if not own:
            continue
        size = own[0]["code_size"]
        lines += [
            "",
            f"## {heading}: {own[0]['codes']} codes of {size} numbers",
            "",
            f"Directions that are random would have a mean |cos| of {random_cosine(size):.2f}.",
            "",
        ]
        titles = [title for title, _ in COLUMNS.values()]
        centred = [f"{title}, centred" for title in titles[2:]]
        heads = ["codebook", *titles, *centred]
        heads = [head.replace("|", "\\|") for head in heads]  # else it would end a cell
        lines += [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
        for name in dict.fromkeys(row["variant"] for row in own):
            found = [row for row in own if row["variant"] == name]
            cells = [_cell(found, key) for key in COLUMNS]
            cells += [_cell(found, key, "centred") for key in list(COLUMNS)[2:]]
            lines.append(f"| {' | '.join([VARIANTS[name].title, *cells])} |")
    return "\n".join([*lines, ""])


def random_cosine(size: int) -> float:
    """Mean |cos| of the angle of two random directions of ``size`` numbers.

    Γ(D/2) / (√π Γ((D + 1)/2)), as one number of a random unit vector.
    """
    from math import gamma, pi, sqrt

    return gamma(size / 2) / (sqrt(pi) * gamma((size + 1) / 2))


def _cell(rows: Sequence[dict[str, Any]], key: str, part: str = "raw") -> str:
    form = COLUMNS[key][1]
    if key in rows[0]:
        return mean_and_spread([row[key] for row in rows], form)
    values = [row[part][key] for row in rows if row[part] is not None]
    return mean_and_spread(values, form) if len(values) == len(rows) else "one code"
