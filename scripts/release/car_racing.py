"""Makes the artifacts that come with the package out of a finished run of ``wmrl train``.

Not a subcommand: maintainers run it as ``python -m wmrl.scripts.release.car_racing
runs/car-racing``, after ``python -m wmrl.scripts.release.score_table`` has scored the run's
drivers.
"""

import json
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro


@dataclass(frozen=True)
class Names:
    """What the artifacts of a run are called."""

    vision: str
    memory: str
    dream: str
    real: str


GAUSSIAN = Names("car-racing-vae", "car-racing-mdnrnn", "car-racing-dream", "car-racing-real")
SYMBOLS = Names(
    "car-racing-vqvae", "car-racing-symbols", "car-racing-symbols-dream", "car-racing-symbols-real"
)


@dataclass(frozen=True)
class Args:
    """Options."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished ``wmrl train``."""
    command: str = "wmrl train"
    """The command that made the run, for the model cards."""
    results: Path = Path("results")
    """Folder of the drivers' scores."""
    out: Path = Path("wmrl/artifacts")
    """Where the artifacts go."""


def main(args: Args) -> None:
    """Writes the four artifacts with their model cards; what a run saw in decides their names."""
    from wmrl.agents.agent import load_agent
    from wmrl.memory.base import load_memory
    from wmrl.storage.artifact import package_versions
    from wmrl.vision.base import load_vision

    config = json.loads((args.run / "config.json").read_text())
    names = SYMBOLS if "codes" in config["plan"]["memory"] else GAUSSIAN
    last = config["plan"]["rounds"] - 1
    eye_round = min(last, config["plan"]["vision_rounds"] - 1)
    vision_run, memory_run = (
        args.run / f"round-{eye_round}/vision",
        args.run / f"round-{last}/memory",
    )
    made = {
        "command": args.command,
        "seed": config["seed"],
        "versions": package_versions("gymnasium", "stable-baselines3"),
    }

    vision = load_vision(vision_run / "artifact", device="cpu")
    report = json.loads((vision_run / "report.json").read_text())
    # Everything is read and put into words before anything is written over.
    saves: list[Callable[[], str]] = [
        partial(
            vision.save,
            args.out / names.vision,
            provenance=provenance(vision_run / "artifact", made | {"held_out": report["held_out"]}),
            card=vision_card(names, asdict(vision.config), report, made),
        )
    ]
    memory = load_memory(memory_run / "artifact", device="cpu")
    members = [
        json.loads((memory_run / f"member-{i}/report.json").read_text())
        for i in range(config["plan"]["members"])
    ]
    held_out = [member["held_out"] for member in members]
    saves.append(
        partial(
            memory.save,
            args.out / names.memory,
            provenance=provenance(memory_run / "artifact", made | {"held_out": held_out}),
            card=memory_card(names, members, made),
        )
    )
    drivers = {names.dream: args.run / f"round-{last}/driver", names.real: args.run / "real/driver"}
    for name, path in drivers.items():
        agent = load_agent(path)
        agent.eye = {**agent.eye, "vision": names.vision, "memory": names.memory}
        score = json.loads((args.results / f"{name}.json").read_text())
        kept = {key: score[key] for key in ("mean", "std", "episodes", "base")}
        saves.append(
            partial(
                agent.save,
                args.out / name,
                provenance=provenance(path, made | {"score": kept}),
                card=driver_card(names, name, kept, made),
            )
        )
    for save in saves:
        save()


def provenance(path: Path, more: dict[str, Any]) -> dict[str, Any]:
    """What an artifact already says of its making, and more."""
    from wmrl.storage.artifact import load_artifact

    return {**load_artifact(path).provenance, **more}


def vision_card(
    names: Names, config: dict[str, Any], report: dict[str, Any], made: dict[str, Any]
) -> str:
    """The model card of the vision."""
    figures = report["held_out"]
    if names is SYMBOLS:
        rows, columns = (size // 2 ** config["downsamplings"] for size in config["frame_size"])
        what = (
            f"A VQ-VAE (van den Oord et al. 2017) with {config['width']} base channels: "
            f"{rows}×{columns} codes of {config['codes']} possible ones, {config['code_size']} "
            "numbers each; moving averages after a warm-up as an autoencoder"
        )
        how = (
            f"perplexity {figures['perplexity']:.0f}, {figures['utilisation']:.1%} of the codes "
            f"in use, effective rank {figures['codebook_rank']:.1f} of the codebook and "
            f"{figures['encoder_rank']:.1f} of the encoder's output"
        )
    else:
        what = (
            f"A convolutional VAE (World Models, appendix A.1) with {config['width']} base "
            f"channels and {config['latent_size']} latents"
        )
        how = (
            f"KL {figures['kl']:.1f} nats, {figures['active_dimensions']} of "
            f"{figures['latent_size']} dimensions active"
        )
    about = _paragraph(f"{what}, for frames of `vsg/CarRacing-v3` (upper 84 rows, 64×64).")
    judged = _paragraph(
        f"Held-out frames: squared error {figures['squared_error']:.2f} (summed over a frame's "
        f"pixels in [0, 1]), {how}. Made by `{made['command']}` (seed {made['seed']}) from frames "
        "that random and dream-trained drivers saw."
    )
    return f"# {names.vision}\n\n{about}\n\n{judged}\n"


def memory_card(names: Names, members: list[dict[str, Any]], made: dict[str, Any]) -> str:
    """The model card of the memory."""
    judged = [member["held_out"] for member in members]
    if names is SYMBOLS:
        what = (
            f"{len(members)} memories in symbols (LSTM 256, a frame's codes all at once, reward "
            f"and termination heads) that dream as one, on the codes of `{names.vision}`"
        )
        heads = ["nats a frame, held out", "copy last", "bigram", "right codes", "copy last"]
        cells = [
            [
                *(f"{j['nats_per_frame'][name]:.1f}" for name in ("memory", "copy_last", "bigram")),
                *(f"{j['accuracy'][name]:.1%}" for name in ("memory", "copy_last")),
            ]
            for j in judged
        ]
    else:
        what = (
            f"{len(members)} MDN-RNNs (LSTM 256, five Gaussians a latent dimension, reward and "
            f"termination heads) that dream as one, on the latents of `{names.vision}`"
        )
        heads = ["log-likelihood a dimension, held out (nats)"]
        cells = [[f"{j['log_likelihood_per_dimension']:.3f}"] for j in judged]
    table = [["member", *heads, "reward R²"], ["---"] * (len(heads) + 2)]
    table += [
        [str(i), *own, f"{j['reward_r2']:.3f}"]
        for i, (own, j) in enumerate(zip(cells, judged, strict=True))
    ]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in table)
    loops = "\n".join(
        f"| {steps} | {row['dream']:.1f} | {row['likeliest']:.1f} | {row['copy_last']:.1f} "
        f"| {row['reconstruction']:.1f} | {row['dreams']} |"
        for steps, row in sorted(judged[0]["open_loop"].items(), key=lambda item: int(item[0]))
    )
    return f"""# {names.memory}

{_paragraph(f"{what}; a step is four frames of the game. {_made(made)}")}

{rows}

Open loop, first member: decoded squared error after so many steps, of a dream at temperature 1 and
of what is always likeliest next, against the last frame seen and against the reconstruction of the
true one.

| steps | dream | likeliest | copy last | reconstruction | dreams |
| --- | --- | --- | --- | --- | --- |
{loops}
"""


def driver_card(names: Names, name: str, score: dict[str, Any], made: dict[str, Any]) -> str:
    """The model card of a driver."""
    how = {
        names.dream: "trained by PPO inside the dream alone; it never saw a real reward. The dream "
        "was learned from random driving and from what earlier dream-trained drivers saw.",
        names.real: f"`{names.dream}`, fine-tuned by PPO in the real game (`vsg/CarRacing-v3`).",
    }[name]
    about = _paragraph(
        f"A network of two layers of 64 on [z, h] of `{names.vision}` and `{names.memory}`: {how} "
        f"{_made(made)}"
    )
    scored = _paragraph(
        f"Score: {score['mean']:.1f} ± {score['std']:.1f} ({score['episodes']} episodes of "
        f"`{score['base']}` on seeds that took no part in training or selection)."
    )
    return f"# {name}\n\n{about}\n\n{scored}\n"


def _made(made: dict[str, Any]) -> str:
    return f"Made by `{made['command']}` (seed {made['seed']})."


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    main(tyro.cli(Args))
