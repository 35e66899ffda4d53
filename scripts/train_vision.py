"""Trains a vision model, which maps frames to latents and back: a VAE or a VQ-VAE.

After an interruption, the same command resumes the training. The folder of the run contains
artifact/, reconstructions.png, report.json (held-out squared error, and KL and active dimensions of
a VAE, or perplexity, utilization and effective ranks of a VQ-VAE), for a VQ-VAE also codebook.png
(the mean decoded patch of each code, from the most to the least frequent), and metrics.csv. The
columns of metrics.csv are means over the last steps: loss, squared_error (summed over a frame's
pixels in [0, 1]), and kl (VAE, nats per frame) or commitment (VQ-VAE, squared distance of a frame's
vectors to their codes).
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
    """Rollout stores of one task (written by wmrl collect)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the run."""
    kind: Literal["vae", "vqvae"] = "vae"
    """Kind of model."""
    base_channels: int = 16
    """Channels of the first convolution; the VAE of the World Models paper has 32."""
    latent_dim: int = 32
    """VAE: number of latent dimensions, Z."""
    kl_floor: float = 0.5
    """VAE: KL divergence from the prior, in nats per dimension, that is not penalized."""
    quantizer: Literal["ema", "gradient", "fsq"] = "ema"
    """VQ-VAE: codebook learned by moving averages (ema) or gradients, or finite scalar quantization
    (fsq)."""
    codebook_size: int = 512
    """VQ-VAE: number of codes of a learned codebook, K."""
    code_dim: int = 16
    """VQ-VAE: dimension of a code's vector, D."""
    levels: tuple[int, ...] = (8, 8, 8)
    """VQ-VAE: number of levels in each dimension of finite scalar quantization."""
    num_downsamplings: int = 4
    """VQ-VAE: number of times that height and width are halved; each cell then has a code."""
    warmup_steps: int = 500
    """VQ-VAE: number of initial steps trained as an autoencoder, without quantization."""
    steps: int = 5000
    """Gradient steps."""
    batch_size: int = 100
    """Frames per batch."""
    learning_rate: float = 1e-3
    """Initial learning rate of Adam; it decays along half a cosine."""
    minutes: float | None = None
    """Time limit of training, in minutes."""
    init: str | None = None
    """Name or path of an artifact to initialize from."""
    seed: int = 0
    """Root seed."""
    device: str = "auto"
    """Device to train on: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains the model and prints its held-out metrics."""
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
        return VAEConfig(
            base_channels=args.base_channels, latent_dim=args.latent_dim, kl_floor=args.kl_floor
        )
    return VQVAEConfig(
        base_channels=args.base_channels,
        quantizer=args.quantizer,
        codebook_size=args.codebook_size,
        code_dim=args.code_dim,
        levels=args.levels,
        num_downsamplings=args.num_downsamplings,
        warmup_steps=args.warmup_steps,
    )
