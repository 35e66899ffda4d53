"""Compares memories that learned from the same recordings: what each foretells.

In symbols: an LSTM and a Transformer, a frame's codes all at once and one after the other, beside
counting; and an MDN-RNN over a VAE's latents. Each learns for as many steps. Killed at any moment,
the same command goes on. The folder ends up with table.md and results.json.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wmrl.scripts.tables import check_seeds, mean_and_spread

if TYPE_CHECKING:
    from wmrl.memory.code_memory import CodeMemoryConfig
    from wmrl.memory.mdn_rnn import MDNRNNConfig
    from wmrl.memory.training import MemoryTrainingConfig

MDN = "MDN-RNN"
HORIZONS = ("1", "10")
"""Steps of an open-loop dream whose error is in the table."""


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl compare-memories``."""

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Rollout stores of one task (made by wmrl collect)."""
    codes: str = "car-racing-vqvae"
    """A VQ-VAE: a shipped name, or the path of an artifact."""
    gaussian: str = "car-racing-vae"
    """A VAE, likewise."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/results/memories")
    """Where the table goes."""
    work: Path = Path("runs/compare-memories")
    """Where the memories are trained; what is there is not trained again."""
    steps: int = 1500
    """Gradient steps of each, in the batches that suit its kind."""
    sequence_length: int = 48
    """Transitions in a sequence."""
    dreams: int = 1024
    """Dreams that errors are the mean of; all memories begin them at the same held-out states."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training of everything for each."""
    device: str = "auto"
    """Where to train: auto, cpu, cuda …"""


def main(args: Args) -> None:
    """Trains what is not trained yet, and writes the table."""
    from wmrl.data.split import split_episodes
    from wmrl.data.store import RolloutStore
    from wmrl.memory.dataset import load_latents
    from wmrl.memory.evaluation import open_loop_report
    from wmrl.memory.training import train_memory
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.files import write_report, write_text
    from wmrl.vision.base import load_vision
    from wmrl.vision.vqvae import VQVAE

    check_seeds(args.seeds)
    stores = [RolloutStore(path) for path in args.stores]
    if not stores:
        raise ValueError("stores: expected at least one rollout store; make one by wmrl collect")
    eyes = {eye: load_vision(eye, device=args.device) for eye in (args.codes, args.gaussian)}
    if not isinstance(eyes[args.codes], VQVAE):
        raise ValueError(f"codes: expected a VQ-VAE, got a {type(eyes[args.codes]).__name__}")
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for seed in args.seeds:
        for name, eye, config in _memories(args):
            run = args.work / f"{name.replace(', ', '-')}-{seed}"
            training = _training(args, seed, symbols=name != MDN)
            memory = train_memory(
                stores,
                run,
                vision=eyes[eye],
                config=config,
                training=training,
                device=args.device,
            )
            report = json.loads((run / "report.json").read_text())
            split = split_episodes(stores, held_out=training.held_out)
            judged = split.held_out or split.train
            latents = load_latents(judged, eyes[eye])
            report["held_out"]["open_loop"] = open_loop_report(
                memory, eyes[eye], judged, latents, count=args.dreams
            )
            size = sum(weight.numel() for weight in memory.parameters())
            rows.append({"memory": name, "seed": seed, "parameters": size, **report})
            print(f"{name}, seed {seed}: {json.dumps(report['held_out'])}")
    about = {
        "args": json.loads(json.dumps(asdict(args), default=str)),
        "data": [store.content_hash() for store in stores],
        "versions": package_versions(),
    }
    write_report(args.out / "results.json", {**about, "rows": rows})
    table = write_table(rows)
    write_text(args.out / "table.md", table)
    print(table)


def _memories(args: Args) -> "Iterator[tuple[str, str, CodeMemoryConfig | MDNRNNConfig]]":
    """Name, eye and sizes of each."""
    from wmrl.memory.code_memory import CodeMemoryConfig
    from wmrl.memory.mdn_rnn import MDNRNNConfig

    yield MDN, args.gaussian, MDNRNNConfig()
    for core in ("lstm", "transformer"):
        for decoding in ("parallel", "sequential"):
            config = CodeMemoryConfig(core=core, decoding=decoding)
            yield f"{core}, {decoding}", args.codes, config


def _training(args: Args, seed: int, *, symbols: bool) -> "MemoryTrainingConfig":
    from wmrl.memory.training import MemoryTrainingConfig

    make = MemoryTrainingConfig.symbols if symbols else MemoryTrainingConfig
    return make(steps=args.steps, sequence_length=args.sequence_length, seed=seed)


def write_table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    import numpy as np

    heads = ["memory", "parameters", "steps", "nats a frame", "right codes", "reward R²"]
    heads += [f"{name}, after {horizon}" for horizon in HORIZONS for name in ("dream", "likeliest")]
    heads += ["the eye's own"]
    lines = [
        "# Memories",
        "",
        f"Held-out episodes; mean ± standard deviation over {len({r['seed'] for r in rows})} seeds",
        "of training. Errors of open-loop dreams (at temperature 1,",
        "and of what is always likeliest next) are squared and summed over a frame's pixels in",
        "[0, 1]; a copy is the dream's first frame, left standing. Made by",
        "`wmrl compare-memories`; every run is in [results.json](results.json).",
        "",
        f"| {' | '.join(heads)} |",
        "| --- " * len(heads) + "|",
    ]

    def error(judged: Sequence[dict[str, Any]], horizon: str, guess: str) -> str:
        found = [j["open_loop"][horizon][guess] for j in judged if horizon in j["open_loop"]]
        return mean_and_spread(found, ".0f") if found else "–"  # where no episode is so long

    for name in dict.fromkeys(row["memory"] for row in rows):
        own = [row for row in rows if row["memory"] == name]
        judged = [row["held_out"] for row in own]
        symbols = "accuracy" in judged[0]
        known = [j["reward_r2"] for j in judged if j["reward_r2"] is not None]
        cells = [
            name,
            f"{own[0]['parameters']:,}",
            f"{np.mean([row['steps'] for row in own]):.0f}",
            mean_and_spread([j["nats_per_frame"]["memory"] for j in judged], ".1f")
            if symbols
            else "–",
            mean_and_spread([j["accuracy"]["memory"] for j in judged], ".1%") if symbols else "–",
            mean_and_spread(known, ".2f") if known else "–",  # where rewards never vary
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
        lines.append(f"| bigram, by place | – | – | {nats['bigram']:.1f} | {blank} |")
    return "\n".join([*lines, ""])
