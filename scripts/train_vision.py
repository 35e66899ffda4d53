"""Trains the eye, which turns frames into latents and back: a VAE, or a VQ-VAE that sees in codes.

Killed at any moment, the same command resumes it. The folder ends up with artifact/, report.json
(held-out squared error; KL and active dimensions, or perplexity, utilisation and effective ranks),
reconstructions.png, of a VQ-VAE codebook.png (each code's mean decoded patch, from the most
frequent to the rarest), and metrics.csv, whose columns are means over the last steps: loss,
squared_error (summed over a frame's pixels in [0, 1]), and kl (nats a frame) or commitment (squared
distance of a frame's vectors to their codes).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from wmrl.vision.vae import VAEConfig
    from wmrl.vision.vqvae import VQVAEConfig


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl train-vision``."""

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Rollout stores of one task (made by wmrl collect)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the run."""
    kind: Literal["vae", "vqvae"] = "vae"
    """What it is."""
    width: int = 16
    """Channels of the first convolution; the paper's VAE has 32."""
    latent_size: int = 32
    """VAE: Z, the number of latent dimensions."""
    kl_floor: float = 0.5
    """VAE: nats a dimension that the divergence from the prior may cost for free."""
    quantiser: Literal["ema", "gradient", "fsq"] = "ema"
    """VQ-VAE: moving averages, a codebook learned by gradients, or finite scalar quantisation."""
    codes: int = 512
    """VQ-VAE: K, the size of a learned codebook."""
    code_size: int = 16
    """VQ-VAE: D, numbers of a code's vector."""
    levels: tuple[int, ...] = (8, 8, 8)
    """VQ-VAE: levels of each number, of finite scalar quantisation."""
    downsamplings: int = 4
    """VQ-VAE: how often height and width are halved; a code is left for each place."""
    warmup_steps: int = 500
    """VQ-VAE: first steps without a codebook."""
    steps: int = 5000
    """Gradient steps."""
    batch_size: int = 100
    """Frames in a batch."""
    learning_rate: float = 1e-3
    """Adam's at the start; it falls along half a cosine."""
    minutes: float | None = None
    """End early after so many minutes of training."""
    init: str | None = None
    """Artifact, by name or path, to start from."""
    seed: int = 0
    """Root of all randomness."""
    device: str = "auto"
    """Where to train: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains, and prints the held-out figures."""
    from wmrl.data.store import RolloutStore
    from wmrl.training.trainer import TrainingConfig
    from wmrl.vision.training import train_vision

    train_vision(
        [RolloutStore(path) for path in args.stores],
        args.out,
        config=_model(args),
        training=TrainingConfig(
            steps=args.steps,
            batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            max_seconds=None if args.minutes is None else 60.0 * args.minutes,
            seed=args.seed,
        ),
        init=args.init,
        device=args.device,
    )
    print((args.out / "report.json").read_text())
    print(f"vision: {args.out / 'artifact'}")


def _model(args: Args) -> "VAEConfig | VQVAEConfig":
    from wmrl.vision.vae import VAEConfig
    from wmrl.vision.vqvae import VQVAEConfig

    if args.kind == "vae":
        return VAEConfig(width=args.width, latent_size=args.latent_size, kl_floor=args.kl_floor)
    return VQVAEConfig(
        width=args.width,
        quantiser=args.quantiser,
        codes=args.codes,
        code_size=args.code_size,
        levels=args.levels,
        downsamplings=args.downsamplings,
        warmup_steps=args.warmup_steps,
    )
