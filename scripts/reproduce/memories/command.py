"""Compares the predictions of memory models that are trained on the same rollouts.

The models with discrete latents are an LSTM and a Transformer. Each of the two is trained twice:
once to predict all codes of a frame at the same time, and once to predict them one by one. The
baselines for these models are bigram counts and a copy of the last frame. The model with
continuous latents is an MDN-RNN over the latents of a VAE. All models are trained for the same
number of steps. If the command is interrupted, repeat it to continue. The output folder contains
table.md and results.json.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import (
    check_seeds,
    finish,
    mean_and_spread,
    quick_args,
)
from wmrl.training.progress import stages

if TYPE_CHECKING:
    from wmrl.memory.code_memory import CodeMemoryConfig
    from wmrl.memory.mdn_rnn import MDNRNNConfig
    from wmrl.memory.training import MemoryTrainingConfig

MDN = "MDN-RNN"
HORIZONS = ("1", "10")
"""Numbers of agent steps, as strings. The errors of open-loop dreams are reported after these
numbers of steps."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl compare-memories``."""

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Rollout stores of one task (written by wmrl collect)."""
    vqvae: str = "car-racing-vqvae"
    """VQ-VAE: a shipped name, a path, or hf://user/name."""
    vae: str = "car-racing-vae"
    """VAE: a shipped name, a path, or hf://user/name."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/memories")
    """Output folder of the table and the results."""
    work: Path = Path("runs/compare-memories")
    """Folder of the training runs; finished ones are not repeated."""
    steps: int = 1500
    """Number of gradient steps per model; the batch size is the default of each kind of model."""
    sequence_length: int = 48
    """Number of transitions per training sequence."""
    num_dreams: int = 1024
    """Maximum number of dreams over which errors are averaged. The dreams of all models start at
    the same steps of held-out episodes."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Root seeds; each model is trained once per seed."""
    device: str = "auto"
    """Device to train on: auto, cpu, cuda …"""
    quick: bool = False
    """Finish within a few minutes. Some options have smaller defaults, the default folders get the
    suffix -quick, and the results are marked as those of a quick run."""


QUICK: dict[str, Any] = {"steps": 20, "num_dreams": 16, "seeds": (0,)}
"""Default values of options in a quick run, keyed by the name of the option."""


def main(args: Args) -> None:
    """Trains the models that are missing, and writes the table and the results."""
    from wmrl.agents.pipeline.presets import preset_of
    from wmrl.data.split import split_episodes
    from wmrl.data.store import RolloutStore
    from wmrl.memory.dataset import load_latents
    from wmrl.memory.open_loop import open_loop_report
    from wmrl.memory.training import train_memory
    from wmrl.scripts.config_file import write_options
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_json
    from wmrl.storage.reading import read_json
    from wmrl.vision.base import load_vision
    from wmrl.vision.vqvae import VQVAE

    args = quick_args(args, QUICK)
    check_seeds(args.seeds)
    stores = [RolloutStore(path) for path in args.stores]
    if not stores:
        raise ValueError(
            "stores: expected at least one rollout store, got none; record one with wmrl collect"
        )
    visions = {name: load_vision(name, device=args.device) for name in (args.vqvae, args.vae)}
    if not isinstance(visions[args.vqvae], VQVAE):
        raise ValueError(f"vqvae: expected a VQ-VAE, got {type(visions[args.vqvae]).__name__}")
    write_options(args, args.out, command="compare-memories")
    rows: list[dict[str, Any]] = []
    for seed in args.seeds:
        for name, vision, config in stages(
            list(_memories(args, preset_of(stores[0].metadata.task).reward_scale)),
            lambda memory: f"{memory[0]}, seed {seed}",  # noqa: B023 - used at once
        ):
            run = args.work / f"{name.replace(', ', '-')}-{seed}"
            training = _training(args, seed, discrete=name != MDN)
            memory = train_memory(
                stores,
                run,
                vision=visions[vision],
                config=config,
                training=training,
                device=args.device,
            )
            report = read_json(run / "report.json")
            split = split_episodes(stores, held_out=training.held_out)
            judged = split.held_out or split.train
            latents = load_latents(judged, visions[vision])
            report["held_out"]["open_loop"] = open_loop_report(
                memory, visions[vision], judged, latents, num_dreams=args.num_dreams
            )
            parameters = sum(weight.numel() for weight in memory.parameters())
            rows.append({"memory": name, "seed": seed, "parameters": parameters, **report})
            print(f"{name}, seed {seed}: {json.dumps(report['held_out'])}")
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "data": [store.content_hash() for store in stores],
        "quick": args.quick,
        "versions": package_versions(),
    }
    write_json(args.out / "results.json", {**about, "rows": rows})
    table = write_table(rows)
    finish(args.out, table, command="compare-memories", quick=args.quick)


def _memories(
    args: Args, reward_scale: float | None
) -> "Iterator[tuple[str, str, CodeMemoryConfig | MDNRNNConfig]]":
    """Yields the name, vision model and configuration of each memory model."""
    from wmrl.memory.code_memory import CodeMemoryConfig
    from wmrl.memory.mdn_rnn import MDNRNNConfig

    yield MDN, args.vae, MDNRNNConfig(reward_scale=reward_scale)
    for sequence_model in ("lstm", "transformer"):
        for decoding in ("parallel", "sequential"):
            config = CodeMemoryConfig(
                sequence_model=sequence_model, decoding=decoding, reward_scale=reward_scale
            )
            yield f"{sequence_model}, {decoding}", args.vqvae, config


def _training(args: Args, seed: int, *, discrete: bool) -> "MemoryTrainingConfig":
    from wmrl.memory.training import MemoryTrainingConfig

    make = MemoryTrainingConfig.discrete if discrete else MemoryTrainingConfig
    return make(steps=args.steps, sequence_length=args.sequence_length, seed=seed)


def write_table(rows: Sequence[dict[str, Any]]) -> str:
    """Formats the results as a Markdown table, with mean and standard deviation over seeds.

    Args:
        rows: metrics of the memory models, one row for each model and seed.
    """
    import numpy as np

    heads = ["memory", "parameters", "steps", "nats per frame", "correct codes"]
    heads += ["reward R²"]
    heads += [f"{name}, after {n}" for n in HORIZONS for name in ("dream", "most likely")]
    heads += ["reconstruction"]
    lines = [
        "# Memory models",
        "",
        f"Held-out episodes; mean ± standard deviation over {len({r['seed'] for r in rows})} seeds",
        "of training. Errors of open-loop dreams (sampled at temperature 1, or always taking the",
        "most likely next latent) are squared and summed over a frame's pixels in [0, 1]; the copy",
        "repeats the first frame of the dream. Made by `wmrl compare-memories`; every run is in",
        "[results.json](results.json).",
        "",
        f"| {' | '.join(heads)} |",
        "| --- " * len(heads) + "|",
    ]

    def error(judged: Sequence[dict[str, Any]], horizon: str, guess: str) -> str:
        found = [j["open_loop"][horizon][guess] for j in judged if horizon in j["open_loop"]]
        return mean_and_spread(found, ".0f") if found else "–"  # no held-out episode is that long

    for name in dict.fromkeys(row["memory"] for row in rows):
        own = [row for row in rows if row["memory"] == name]
        judged = [row["held_out"] for row in own]
        discrete = "accuracy" in judged[0]
        known = [j["reward_r2"] for j in judged if j["reward_r2"] is not None]
        cells = [
            name,
            f"{own[0]['parameters']:,}",
            f"{np.mean([row['steps'] for row in own]):.0f}",
            mean_and_spread([j["nats_per_frame"]["memory"] for j in judged], ".1f")
            if discrete
            else "–",
            mean_and_spread([j["accuracy"]["memory"] for j in judged], ".1%") if discrete else "–",
            mean_and_spread(known, ".2f") if known else "–",  # None if rewards do not vary
            *(error(judged, h, name) for h in HORIZONS for name in ("dream", "likeliest")),
            error(judged, HORIZONS[0], "reconstruction"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    counted = [row["held_out"] for row in rows if "accuracy" in row["held_out"]]
    if counted:
        nats, accuracy = counted[0]["nats_per_frame"], counted[0]["accuracy"]
        errors = [error(counted, h, "copy_last") for h in HORIZONS for _ in range(2)]
        copied = [f"{nats['copy_last']:.1f}", f"{accuracy['copy_last']:.1%}", "–", *errors, "–"]
        lines.append(f"| a copy of the last frame | – | – | {' | '.join(copied)} |")
        blank = " | ".join(["–"] * (3 + 2 * len(HORIZONS)))
        lines.append(f"| bigram, by position | – | – | {nats['bigram']:.1f} | {blank} |")
    return "\n".join([*lines, ""])
