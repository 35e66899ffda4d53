"""Trains a memory model, which generates the dream.

The model predicts the next latent, reward and termination. After an interruption, the same command
resumes the training. With more --steps or --minutes, the command continues a finished run. The
learning rate then follows the schedule for the new number of steps. The folder of the run
contains artifact/ (the model), report.json and metrics.csv. For an ensemble, metrics.csv is in the
folders of the members: member-0/ and so on.

report.json contains metrics on held-out episodes: the likelihood, the R² of rewards, the quality of
predicted terminations, and a comparison of dreams with recordings.

Each row of metrics.csv contains means over the steps since the previous row. The columns are:

- loss: weighted sum of the columns below.
- nll: negative log-likelihood, in nats per latent dimension or per code.
- reward_error: squared error of scaled rewards.
- termination_loss: cross-entropy of the predicted terminations, in nats per step.
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
    """Rollout stores of one task (written by wmrl collect)."""
    vision: Annotated[str, tyro.conf.arg(aliases=["-v"])]
    """Vision model: a shipped name, a path, or hf://user/name."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the run."""
    kind: Literal["mdn", "codes"] = "mdn"
    """Kind of model: "mdn" for an MDN-RNN, "codes" for a model over the codes of a VQ-VAE."""
    hidden_dim: int | None = None
    """Number of hidden units of the sequence model, H; 256 if not given."""
    num_mixtures: int = 5
    """MDN-RNN: number of Gaussians per latent dimension."""
    sequence_model: Literal["lstm", "transformer"] = "lstm"
    """Model over codes: kind of sequence model."""
    decoding: Literal["parallel", "sequential"] = "parallel"
    """Model over codes: predict the codes of a frame all at once (parallel) or one by one
    (sequential)."""
    token_dim: int = 128
    """Model over codes: number of features of each position in the grid of codes."""
    kernel_size: tuple[int, int] = (3, 3)
    """Model over codes: height and width of the convolution over the current codes, two odd
    numbers. It should cover how far objects move in one agent step."""
    history: int = 1
    """Model over codes: number of successive frames whose codes the convolution sees. With two
    frames, it sees how objects move."""
    modulation: bool = False
    """Model over codes: scale the features of the convolution by factors that depend on the actions
    so far."""
    dropout: float = 0.1
    """Dropout rate of the memory state h in training, and in dreams that enable dropout."""
    reward_weight: float = 2.0
    """Weight of the squared reward error in the loss. The negative log-likelihood (nll) has weight
    1."""
    positive_weight: float = 1.0
    """Weight of terminal steps in the termination loss, relative to other steps. If the weight is
    above 1, dreams end too often."""
    num_members: int = 1
    """Number of memory models to train; 2 or more form an ensemble."""
    pessimism: float = 1.0
    """Ensemble: factor k. The reward in a dream is the mean of the rewards that the members
    predict, minus k times the standard deviation of these rewards."""
    noise_floor: float = 0.0
    """Ensemble of MDN-RNNs: lower bound of the standard deviations of all Gaussians in dreams."""
    steps: int = 2500
    """Number of gradient steps; for an ensemble, per member."""
    batch_size: int | None = None
    """Sequences per batch; if not given, 48 for an MDN-RNN and 16 for a model over codes."""
    sequence_length: int = 48
    """Transitions per sequence."""
    learning_rate: float | None = None
    """Initial learning rate of Adam, with cosine decay; if not given, 1e-3 for an MDN-RNN and 3e-3
    for a model over codes."""
    minutes: float | None = None
    """Time limit of training, in minutes; for an ensemble, per member."""
    burn_in: int = 12
    """Number of recorded agent steps from which the memory state h at the start of a dream is
    computed."""
    start_window: int | None = None
    """Number of recorded agent steps before the start of a dream, of which at least one must have a
    positive reward; 0 for no such condition. If not given, the number of the task that was
    recorded."""
    init: str | None = None
    """Memory model to initialize from: a shipped name, a path, or hf://user/name. Not supported for
    ensembles."""
    seed: int = 0
    """Root seed."""
    device: str = "auto"
    """Device to train on: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains the model and prints its metrics on held-out episodes."""
    from wmrl.data.store import RolloutStore
    from wmrl.memory.ensemble_training import train_ensemble
    from wmrl.memory.training import train_memory
    from wmrl.scripts.config_file import recorded
    from wmrl.vision.base import load_vision

    if args.num_members > 1 and args.init is not None:
        raise ValueError(
            f"init: expected no value for an ensemble, got {args.init!r}; leave --init or "
            "--num-members out, because the members of an ensemble are trained from scratch"
        )
    stores = [RolloutStore(path) for path in args.stores]
    if not stores:
        raise ValueError(
            "stores: expected at least one rollout store, got none; record one with wmrl collect"
        )
    vision = load_vision(args.vision, device=args.device)
    config, training = _model(args, stores[0].metadata.task), _training(args)
    with recorded(args, args.out, command="train-memory"):
        if args.num_members > 1:
            train_ensemble(
                stores,
                args.out,
                vision=vision,
                num_members=args.num_members,
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


def _model(args: Args, task: str) -> "MDNRNNConfig | CodeMemoryConfig":
    from wmrl.agents.pipeline.presets import preset_of
    from wmrl.memory.code_memory import CodeMemoryConfig
    from wmrl.memory.mdn_rnn import MDNRNNConfig

    shared: dict[str, Any] = {
        "dropout": args.dropout,
        "reward_scale": preset_of(task).reward_scale,
        "reward_weight": args.reward_weight,
        "positive_weight": args.positive_weight,
    }
    if args.hidden_dim is not None:
        shared["hidden_dim"] = args.hidden_dim
    if args.kind == "mdn":
        return MDNRNNConfig(num_mixtures=args.num_mixtures, **shared)
    return CodeMemoryConfig(
        sequence_model=args.sequence_model,
        decoding=args.decoding,
        token_dim=args.token_dim,
        kernel_size=args.kernel_size,
        history=args.history,
        modulation=args.modulation,
        **shared,
    )


def _training(args: Args) -> "MemoryTrainingConfig":
    from wmrl.memory.start_states import StartStatesConfig
    from wmrl.memory.training import MemoryTrainingConfig

    given: dict[str, Any] = {"batch_size": args.batch_size, "learning_rate": args.learning_rate}
    make = MemoryTrainingConfig if args.kind == "mdn" else MemoryTrainingConfig.discrete
    return make(
        **{name: value for name, value in given.items() if value is not None},
        steps=args.steps,
        sequence_length=args.sequence_length,
        max_seconds=None if args.minutes is None else 60.0 * args.minutes,
        start_states=StartStatesConfig(burn_in=args.burn_in, window=args.start_window),
        seed=args.seed,
    )
