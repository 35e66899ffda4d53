"""Trains the memory: what comes next after a latent and an action, which is the dream.

Killed at any moment, the same command resumes it. The folder ends up with artifact/, report.json
(held-out likelihood, reward R², termination quality, and dreams against recordings) and
metrics.csv, whose columns are means over the last steps: loss, nll (nats per latent dimension, or
per code), reward_error (squared, of scaled rewards) and termination_loss (nats a step).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from wmrl.memory.code_memory import CodeMemoryConfig
    from wmrl.memory.mdn_rnn import MDNRNNConfig
    from wmrl.memory.training import MemoryTrainingConfig


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl train-memory``."""

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Rollout stores of one task (made by wmrl collect)."""
    vision: Annotated[str, tyro.conf.arg(aliases=["-v"])]
    """The eye: a shipped name, or the path of an artifact."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the run."""
    kind: Literal["mdn", "codes"] = "mdn"
    """An MDN-RNN, or a memory in symbols, which needs a VQ-VAE."""
    hidden_size: int | None = None
    """H, units of the core; 256 if not given."""
    mixtures: int = 5
    """MDN-RNN: Gaussians for each latent dimension."""
    core: Literal["lstm", "transformer"] = "lstm"
    """In symbols: what remembers."""
    decoding: Literal["parallel", "sequential"] = "parallel"
    """In symbols: a frame's codes all at once, or one after the other."""
    dropout: float = 0.1
    """Share of h that is dropped in training, and in dreams that ask for it."""
    reward_weight: float = 2.0
    """Weight of the reward's squared error beside the likelihood per dimension."""
    positive_weight: float = 1.0
    """Weight of terminations among all steps; above 1 the dream ends too often."""
    members: int = 1
    """Above 1, an ensemble of so many memories."""
    pessimism: float = 1.0
    """Of an ensemble: standard deviations over members taken off the mean reward."""
    noise_floor: float = 0.0
    """Of an ensemble: floor under every Gaussian's scale in the dream."""
    steps: int = 2500
    """Gradient steps, of each member."""
    batch_size: int | None = None
    """Sequences in a batch; 48, and in symbols 16."""
    sequence_length: int = 48
    """Transitions in a sequence."""
    learning_rate: float | None = None
    """Adam's at the start, from which it falls along half a cosine; 1e-3, and in symbols 3e-3."""
    minutes: float | None = None
    """End early after so many minutes of training, each member."""
    burn_in: int = 12
    """Recorded decisions before a dream's start, which fill h."""
    start_window: int = 6
    """Dreams start in states that scored within so many decisions."""
    init: str | None = None
    """Artifact, by name or path, to start from (not for ensembles)."""
    seed: int = 0
    """Root of all randomness."""
    device: str = "auto"
    """Where to train: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains, and prints the held-out figures."""
    from wmrl.data.store import RolloutStore
    from wmrl.memory.training import train_ensemble, train_memory
    from wmrl.vision.base import load_vision

    if args.members > 1 and args.init is not None:
        raise ValueError("init: an ensemble's members start afresh; leave --init or --members out")
    stores = [RolloutStore(path) for path in args.stores]
    if not stores:
        raise ValueError("stores: expected at least one rollout store; make one by wmrl collect")
    vision = load_vision(args.vision, device=args.device)
    config, training = _model(args), _training(args)
    if args.members > 1:
        train_ensemble(
            stores,
            args.out,
            vision=vision,
            members=args.members,
            pessimism=args.pessimism,
            noise_floor=args.noise_floor,
            config=config,
            training=training,
            device=args.device,
        )
    else:
        train_memory(
            stores,
            args.out,
            vision=vision,
            config=config,
            training=training,
            init=args.init,
            device=args.device,
        )
    print((args.out / "report.json").read_text())
    print(f"memory: {args.out / 'artifact'}")


def _model(args: Args) -> "MDNRNNConfig | CodeMemoryConfig":
    from wmrl.memory.code_memory import CodeMemoryConfig
    from wmrl.memory.mdn_rnn import MDNRNNConfig

    shared: dict[str, Any] = {
        "dropout": args.dropout,
        "reward_weight": args.reward_weight,
        "positive_weight": args.positive_weight,
    }
    if args.hidden_size is not None:
        shared["hidden_size"] = args.hidden_size
    if args.kind == "mdn":
        return MDNRNNConfig(mixtures=args.mixtures, **shared)
    return CodeMemoryConfig(core=args.core, decoding=args.decoding, **shared)


def _training(args: Args) -> "MemoryTrainingConfig":
    from wmrl.memory.start_states import DreamStartsConfig
    from wmrl.memory.training import MemoryTrainingConfig

    given: dict[str, Any] = {"batch_size": args.batch_size, "learning_rate": args.learning_rate}
    make = MemoryTrainingConfig if args.kind == "mdn" else MemoryTrainingConfig.symbols
    return make(
        **{name: value for name, value in given.items() if value is not None},
        steps=args.steps,
        sequence_length=args.sequence_length,
        max_seconds=None if args.minutes is None else 60.0 * args.minutes,
        starts=DreamStartsConfig(burn_in=args.burn_in, window=args.start_window),
        seed=args.seed,
    )
