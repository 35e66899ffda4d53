"""Trains a vision model (a VAE or a VQ-VAE), which maps frames to latents and back.

After an interruption, the same command resumes the training. With more --steps or --minutes, the
command continues a finished run. The learning rate then follows the schedule for the new number
of steps. The folder of the run contains artifact/ (the model), reconstructions.png,
report.json and metrics.csv. For a VQ-VAE, it also contains codebook.png: the mean decoded patch of
each code, from the most to the least frequent code.

report.json contains metrics on held-out frames. The squared error is given for both kinds of model.
A VAE also has the KL divergence and the number of active dimensions. A VQ-VAE also has the
perplexity and the utilization of its codebook, and the effective ranks of the codebook and of the
encoder outputs.

Each row of metrics.csv contains means over the steps since the previous row. The columns are:

- loss: the value that the training minimizes.
- squared_error: error of the reconstruction, summed over pixels with values in [0, 1].
- kl (for a VAE): KL divergence from the prior, in nats per frame.
- commitment (for a VQ-VAE): squared distance of encoder outputs to codes, summed over a frame.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from wmrl.agents.pipeline.presets import TaskPreset
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
    """Kind of vision model."""
    base_channels: int = 16
    """Channels of the first convolution; the VAE of the World Models paper has 32."""
    latent_dim: int = 32
    """VAE: number of latent dimensions, Z."""
    kl_floor: float = 0.5
    """VAE: KL divergence from the prior, in nats per latent dimension, up to which there is no
    penalty."""
    pixel_variance: float | Literal["calibrated"] | None = None
    """VAE: variance of a pixel, given the latents; with 0.5, the loss is that of the paper. The
    smaller the variance, the better small objects are kept. "calibrated" stands for the mean
    squared error of each batch. If not given, as in wmrl train: 0.5 for car-racing, 0.05 for
    take-cover, and calibrated for games without tuned settings."""
    mean_frame: bool | None = None
    """VAE: encode and decode the difference from the mean frame, so that objects on a background
    that does not change are learned soon. If not given, as in the model of --init, or without it
    as in wmrl train: yes for games without tuned settings, no for car-racing and take-cover."""
    quantizer: Literal["ema", "gradient", "fsq"] = "ema"
    """VQ-VAE: kind of quantizer. "ema" and "gradient" learn a codebook, by moving averages or by
    gradient descent; "fsq" is finite scalar quantization."""
    codebook_size: int = 512
    """VQ-VAE: number of codes in a learned codebook, K."""
    code_dim: int = 16
    """VQ-VAE: dimension of a code's vector, D."""
    levels: tuple[int, ...] = (8, 8, 8)
    """VQ-VAE with finite scalar quantization: number of levels of each dimension."""
    num_downsamplings: int = 4
    """VQ-VAE: number of times that height and width are halved. Each cell of the resulting grid has
    one code."""
    warmup_steps: int = 500
    """VQ-VAE: number of initial steps that train a plain autoencoder, without quantization."""
    steps: int = 5000
    """Number of gradient steps."""
    batch_size: int = 100
    """Frames per batch."""
    learning_rate: float = 1e-3
    """Initial learning rate of Adam, with cosine decay."""
    minutes: float | None = None
    """Time limit of training, in minutes."""
    init: str | None = None
    """Vision model to initialize from: a shipped name, a path, or hf://user/name."""
    seed: int = 0
    """Root seed."""
    device: str = "auto"
    """Device to train on: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains the model and prints its metrics on held-out frames."""
    from wmrl.data.store import RolloutStore
    from wmrl.scripts.config_file import recorded
    from wmrl.training.trainer import TrainingConfig
    from wmrl.vision.training import train_vision

    stores = [RolloutStore(path) for path in args.stores]
    with recorded(args, args.out, command="train-vision"):
        train_vision(
            stores,
            args.out,
            config=_model(args, stores[0].metadata.task if stores else ""),
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


def _model(args: Args, task: str) -> "VAEConfig | VQVAEConfig":
    from wmrl.agents.pipeline.presets import preset_of
    from wmrl.vision.vae import VAEConfig
    from wmrl.vision.vqvae import VQVAEConfig

    if args.kind == "vae":
        preset = preset_of(task)
        variance = args.pixel_variance or preset.pixel_variance
        return VAEConfig(
            base_channels=args.base_channels,
            latent_dim=args.latent_dim,
            kl_floor=args.kl_floor,
            pixel_variance=None if variance == "calibrated" else variance,
            mean_frame=_mean_frame(args, preset),
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


def _mean_frame(args: Args, preset: "TaskPreset") -> bool:
    from wmrl.vision.base import load_vision
    from wmrl.vision.vae import VAE

    if args.mean_frame is not None:
        return args.mean_frame
    if args.init is not None:
        init = load_vision(args.init, device="cpu")
        return isinstance(init, VAE) and init.config.mean_frame
    return preset.mean_frame
