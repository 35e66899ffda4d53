"""Trains the eye: a VAE that turns frames into latents and back.

Killed at any moment, the same command resumes it. The folder ends up with artifact/, report.json
(held-out squared error, KL, active dimensions), reconstructions.png and metrics.csv, whose
columns are means over the last steps: loss, squared_error (summed over a frame's pixels in
[0, 1]) and kl (nats a frame).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl train-vision``."""

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Rollout stores of one task (made by wmrl collect)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the run."""
    width: int = 16
    """Channels of the first convolution; the paper's is 32."""
    latent_size: int = 32
    """Z, the number of latent dimensions."""
    kl_floor: float = 0.5
    """Nats a dimension that the divergence from the prior may cost for free."""
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
    from wmrl.store import RolloutStore
    from wmrl.train_vision import train_vision
    from wmrl.training import TrainingConfig
    from wmrl.vae import VAEConfig

    train_vision(
        [RolloutStore(path) for path in args.stores],
        args.out,
        config=VAEConfig(width=args.width, latent_size=args.latent_size, kl_floor=args.kl_floor),
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
