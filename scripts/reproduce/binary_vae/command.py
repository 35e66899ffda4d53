"""Trains a VAE for binary vectors with two learning-rate schedules.

The data are 1,000 points from a mixture of three Gaussians. Each point is observed as 100 bits. Its
class is the Gaussian that it is drawn from. A VAE with two latent dimensions and a full-covariance
posterior is trained without labels: once with a low, constant learning rate, and once with a high
learning rate that decays. The results are bounds on the log evidence of held-out points, and
measures of how well the latents separate the classes. The output folder contains table.md,
results.json, and images of the data, latents and posteriors for the first seed.
"""

import json
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
    from wmrl.scripts.reproduce.binary_vae.data import BinaryPoints
    from wmrl.scripts.reproduce.binary_vae.model import BinaryVAE

COLUMNS = ("elbo", "log_evidence", "silhouette", "probe_accuracy")


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl reproduce binary-vae``."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/binary-vae")
    """Output folder of the table and images."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds. For each seed, a mixture and its points are drawn, and one model is trained with
    each learning-rate schedule."""
    points: int = 1000
    """Number of training points; there are as many held-out points."""
    epochs: int | None = None
    """Number of epochs; 500 if not given."""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {"seeds": (0,), "epochs": 30}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Trains the models, and writes the table and images."""
    from dataclasses import replace

    from wmrl.scripts.config_file import write_options
    from wmrl.scripts.reproduce.binary_vae.data import BinaryMixture
    from wmrl.scripts.reproduce.binary_vae.model import REGIMES, bounds, train_binary_vae
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json

    args = quick_args(args, QUICK)
    need("matplotlib", "sklearn")
    check_seeds(args.seeds)
    write_options(args, args.out, command="reproduce binary-vae")
    rows: list[dict[str, Any]] = []
    for seed in args.seeds:
        mixture = BinaryMixture.random(seed=seed)
        data = mixture.sample(args.points, seed=2 * seed)
        held_out = mixture.sample(args.points, seed=2 * seed + 1)
        trained = {}
        for name, regime in stages(
            list(REGIMES.items()),
            lambda regime: f"{regime[0]}, seed {seed}",  # noqa: B023 - used at once
        ):
            training = regime if args.epochs is None else replace(regime, epochs=args.epochs)
            vae, curve = train_binary_vae(data.vectors, training=training, seed=seed, progress=True)
            trained[name] = vae, curve
            metrics = bounds(vae, held_out.vectors, seed=seed) | separation(vae, data, held_out)
            rows.append({"regime": name, "seed": seed, **metrics})
            print(json.dumps(rows[-1]))
        if seed == args.seeds[0]:
            _draw_data(data, args.out / "data.png")
            for name, (vae, curve) in trained.items():
                _draw_latents(vae, data, curve, args.out / f"{name}.png")
    about = {
        "args": _plain(args),
        "quick": args.quick,
        "versions": package_versions("scikit-learn"),
    }
    write_json(args.out / "results.json", {**about, "rows": rows})
    table = write_table(rows)
    finish(args.out, table, command="reproduce binary-vae", quick=args.quick)


def separation(
    vae: "BinaryVAE", data: "BinaryPoints", held_out: "BinaryPoints"
) -> dict[str, float]:
    """Measures how well the posterior means of a VAE separate the classes.

    Args:
        vae: trained VAE.
        data: labeled points. A linear classifier is trained to predict the labels from the
            posterior means of these points.
        held_out: points on which the separation is measured.

    Returns:
        A dictionary of metrics:

        - ``silhouette``: silhouette score of the held-out points' posterior means, with the classes
          as clusters.
        - ``probe_accuracy``: accuracy of the linear classifier on the held-out points.
    """
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import silhouette_score

    with torch.no_grad():
        known, unknown = (vae.posterior(p.vectors).mean.numpy() for p in (data, held_out))
    probe = LogisticRegression(max_iter=1000).fit(known, data.labels)
    return {
        "silhouette": float(silhouette_score(unknown, held_out.labels)),
        "probe_accuracy": float(probe.score(unknown, held_out.labels)),
    }


def write_table(rows: list[dict[str, Any]]) -> str:
    """Formats the results as a Markdown table, with mean and standard deviation over seeds.

    Args:
        rows: metrics of the trained models, one row for each learning-rate schedule and seed.
    """
    lines = [
        "# Binary VAE",
        "",
        "Held-out points; mean ± standard deviation over seeds. Bounds in nats per vector. Made by",
        "`wmrl reproduce binary-vae`; every run is in [results.json](results.json).",
        "",
        "| regime | seeds | ELBO | log p(x) (importance-sampled) | silhouette | linear probe |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for regime in dict.fromkeys(row["regime"] for row in rows):
        mine = [row for row in rows if row["regime"] == regime]
        cells = [mean_and_spread([row[column] for row in mine], ".3f") for column in COLUMNS]
        lines.append(f"| {regime} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _draw_data(data: "BinaryPoints", path: Path) -> None:
    """Plots the points and their bits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    points, bits = figure.subplots(1, 2)
    points.scatter(*data.points.T, c=data.labels, cmap="viridis", s=6)
    points.set(title="points of three Gaussians", aspect="equal")
    order = data.labels.argsort(kind="stable")
    bits.imshow(data.vectors.numpy()[order], aspect="auto", cmap="gray", interpolation="nearest")
    bits.set(title="observed bits, by class", xlabel="bit", ylabel="point")
    figure.savefig(path, dpi=100)


def _draw_latents(vae: "BinaryVAE", data: "BinaryPoints", curve: list[float], path: Path) -> None:
    """Plots the training curve, the posterior means, and the average posterior of each class."""
    import numpy as np
    import torch
    from matplotlib.figure import Figure

    with torch.no_grad():
        posterior = vae.posterior(data.vectors)
        mean = posterior.mean.numpy()
        reach = 1.1 * np.abs(mean).max() + 0.5
        axis = torch.linspace(-float(reach), float(reach), 120)
        grid = torch.cartesian_prod(axis, axis)[:, None]  # (14400, 1, 2)
        density = posterior.log_density(grid).exp().numpy()  # (14400, N)
    figure = Figure(figsize=(16, 3.6), layout="constrained")
    panels = figure.subplots(1, 5)
    panels[0].plot(curve)
    panels[0].set(title="ELBO (nats per vector)", xlabel="epoch")
    panels[1].scatter(*mean.T, c=data.labels, cmap="viridis", s=6)
    panels[1].set(title="latents' means, by class", aspect="equal")
    for label, panel in enumerate(panels[2:]):
        averaged = density[:, data.labels == label].mean(1).reshape(120, 120).T
        panel.imshow(averaged, origin="lower", extent=(-reach, reach, -reach, reach))
        panel.set(title=f"averaged posterior of class {label}")
    figure.savefig(path, dpi=100)


def _plain(args: Args) -> dict[str, Any]:
    """Converts the options to a dictionary of values that can be written as JSON."""
    return {**asdict(args), "out": str(args.out)}
