"""Images and plots of ``wmrl reproduce vqvae``."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from wmrl.scripts.reproduce.vqvae.experiment import Experiment

_SHOWN = 16  # number of images per row


def draw_all(experiment: "Experiment", out: Path, name: str) -> None:
    """Writes images of codebooks, reconstructions, samples of the priors, and training curves.

    Args:
        experiment: experiment with the models.
        out: folder of the images.
        name: prefix of the names of the image files.
    """
    from wmrl.scripts.reproduce.vqvae.experiment import BASELINE, OURS
    from wmrl.storage.files import write_image
    from wmrl.training.loggers import log_images
    from wmrl.vision.codebook_plot import code_use, draw_codebook

    images = {
        f"codebook-{variant}": draw_codebook(
            code_use(experiment.vision(variant), experiment.held_out.images)
        )
        for variant in (BASELINE, OURS)
    }
    images |= {"reconstructions": reconstructions(experiment), "samples": samples(experiment)}
    for title, image in images.items():
        write_image(out / f"{name}-{title}.png", image)
    log_images(experiment.path, images)
    draw_curves(experiment, out / f"{name}-curves.png")


def reconstructions(experiment: "Experiment") -> "np.ndarray":
    """Renders held-out images with their reconstructions below, ``(H, W, 3) uint8``.

    There is a row of reconstructions for each variant of the VQ-VAE.
    """
    from wmrl.scripts.reproduce.vqvae.experiment import VARIANTS

    images = experiment.held_out.images[:_SHOWN]
    rows = [("held out", images)]
    for variant in VARIANTS:
        vision = experiment.vision(variant)
        rows.append((variant, vision.decode_numpy(vision.encode_numpy(images))))
    return _rows(rows)


def samples(experiment: "Experiment") -> "np.ndarray":
    """Renders images sampled from the priors, ``(H, W, 3) uint8``.

    Samples of a class-conditional prior cycle through the classes.
    """
    import numpy as np
    import torch

    from wmrl.core.seeding import torch_generator
    from wmrl.scripts.reproduce.vqvae.experiment import BASELINE, OURS, PRIORS
    from wmrl.vision.image_training import decode_codes, encode_images

    rows = [("images", experiment.images.images[:_SHOWN])]
    for variant in (BASELINE, OURS):
        vision = experiment.vision(variant)
        count = min(experiment.config.prior_images, len(experiment.images))
        train_codes = encode_images(vision, experiment.images.images[:count])
        for prior in PRIORS:
            trained = experiment.prior(variant, prior, train_codes)
            classes = trained.config.num_classes
            labels = torch.arange(_SHOWN, device=trained.device) % classes if classes else None
            generator = torch_generator(experiment.seed, "samples", device=trained.device)
            codes = trained.sample(_SHOWN, labels=labels, generator=generator).cpu()
            pixels = decode_codes(vision, codes).clamp(0.0, 1.0).numpy()
            rows.append((f"{variant}, {prior}", np.round(255 * pixels).astype(np.uint8)))
    return _rows(rows)


def draw_curves(experiment: "Experiment", path: Path) -> None:
    """Plots the training curves of the VQ-VAEs and of the priors."""
    from matplotlib.figure import Figure

    from wmrl.scripts.curves import draw_curve
    from wmrl.scripts.reproduce.vqvae.experiment import BASELINE, OURS, PRIORS, VARIANTS

    figure = Figure(figsize=(11, 4), layout="constrained")
    visions, priors = figure.subplots(1, 2)
    for variant in VARIANTS:
        draw_curve(visions, experiment.path / variant, "squared_error", variant)
    visions.set(title="VQ-VAEs: squared error of a batch", xlabel="step", yscale="log")
    for variant, style in ((BASELINE, "--"), (OURS, "-")):
        for prior in PRIORS:
            label = f"{variant}, {prior}"
            draw_curve(priors, experiment.path / f"{variant}-{prior}", "loss", label, style)
    priors.set(title="priors: nats per image of a batch", xlabel="step")
    for panel in (visions, priors):
        if panel.lines:  # runs of very few steps have no curve
            panel.legend(fontsize="small")
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def _rows(rows: "list[tuple[str, np.ndarray]]") -> "np.ndarray":
    """Renders labeled rows of images ``(N, H, W, 1) uint8``, magnified by a factor of 2."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    scale, margin = 2, 220
    height, width = (scale * size for size in rows[0][1].shape[1:3])
    sheet = Image.new("RGB", (margin + _SHOWN * width, len(rows) * (height + 4)), (18, 20, 26))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (label, images) in enumerate(rows):
        top = number * (height + 4)
        draw.text((8, top + height // 2), label, (238, 240, 244), font, anchor="lm")
        strip = np.concatenate(list(images[:, :, :, 0]), 1).repeat(scale, 0).repeat(scale, 1)
        sheet.paste(Image.fromarray(strip).convert("RGB"), (margin, top))
    return np.asarray(sheet)
