"""Makes the artifacts that come with the package out of a finished run of ``wmrl train``.

Not a subcommand: maintainers run it as ``python -m wmrl.scripts.ship runs/car-racing``, after
``python -m wmrl.scripts.score_table`` has scored the run's drivers.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

VISION, MEMORY = "car-racing-vae", "car-racing-mdnrnn"
DREAM, REAL = "car-racing-dream", "car-racing-real"


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
    """Writes the four artifacts with their model cards."""
    from wmrl.agents.loading import load_agent
    from wmrl.memory import load_memory
    from wmrl.versions import package_versions
    from wmrl.vision import load_vision

    config = json.loads((args.run / "config.json").read_text())
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
    vision.save(
        args.out / VISION,
        provenance=provenance(vision_run / "artifact", made | {"held_out": report["held_out"]}),
        card=vision_card(asdict(vision.config), report, made),
    )
    memory = load_memory(memory_run / "artifact", device="cpu")
    members = [
        json.loads((memory_run / f"member-{i}/report.json").read_text())
        for i in range(config["plan"]["members"])
    ]
    held_out = [member["held_out"] for member in members]
    memory.save(
        args.out / MEMORY,
        provenance=provenance(memory_run / "artifact", made | {"held_out": held_out}),
        card=memory_card(members, made),
    )
    drivers = {DREAM: args.run / f"round-{last}/driver", REAL: args.run / "real/driver"}
    for name, path in drivers.items():
        agent = load_agent(path)
        agent.eye = {**agent.eye, "vision": VISION, "memory": MEMORY}
        score = json.loads((args.results / f"{name}.json").read_text())
        kept = {key: score[key] for key in ("mean", "std", "episodes", "base")}
        agent.save(
            args.out / name,
            provenance=provenance(path, made | {"score": kept}),
            card=driver_card(name, kept, made),
        )


def provenance(path: Path, more: dict[str, Any]) -> dict[str, Any]:
    """What an artifact already says of its making, and more."""
    from wmrl.artifact import load_artifact

    return {**load_artifact(path).provenance, **more}


def vision_card(config: dict[str, Any], report: dict[str, Any], made: dict[str, Any]) -> str:
    """The model card of the vision."""
    figures = report["held_out"]
    return f"""# {VISION}

A convolutional VAE (World Models, appendix A.1) with {config["width"]} base channels and
{config["latent_size"]} latents, for frames of `vsg/CarRacing-v3` (upper 84 rows, 64×64).

Held-out frames: squared error {figures["squared_error"]:.2f} (summed over a frame's pixels in
[0, 1]), KL {figures["kl"]:.1f} nats, {figures["active_dimensions"]} of {figures["latent_size"]}
dimensions active. Made by `{made["command"]}` (seed {made["seed"]}) from frames that random and
dream-trained drivers saw.
"""


def memory_card(members: list[dict[str, Any]], made: dict[str, Any]) -> str:
    """The model card of the memory."""
    rows = "\n".join(
        f"| {i} | {m['held_out']['log_likelihood_per_dimension']:.3f} "
        f"| {m['held_out']['reward_r2']:.3f} |"
        for i, m in enumerate(members)
    )
    loops = "\n".join(
        f"| {steps} | {row['dream']:.1f} | {row['copy_last']:.1f} | {row['reconstruction']:.1f} "
        f"| {row['dreams']} |"
        for steps, row in sorted(
            members[0]["held_out"]["open_loop"].items(), key=lambda item: int(item[0])
        )
    )
    return f"""# {MEMORY}

{len(members)} MDN-RNNs (LSTM 256, five Gaussians a latent dimension, reward and termination
heads) that dream as one, on the latents of `{VISION}`; a step is four frames of the game.
Made by `{made["command"]}` (seed {made["seed"]}).

| member | log-likelihood a dimension, held out (nats) | reward R² |
| --- | --- | --- |
{rows}

Open loop, first member: decoded squared error after so many steps, against the last frame seen
and against the reconstruction of the true one.

| steps | dream | copy last | reconstruction | dreams |
| --- | --- | --- | --- | --- |
{loops}
"""


def driver_card(name: str, score: dict[str, Any], made: dict[str, Any]) -> str:
    """The model card of a driver."""
    how = {
        DREAM: "trained by PPO inside the dream alone; it never saw a real reward. The dream was "
        "learned from random driving and from what earlier dream-trained drivers saw.",
        REAL: "`car-racing-dream`, fine-tuned by PPO in the real game (`vsg/CarRacing-v3`).",
    }[name]
    return f"""# {name}

A network of two layers of 64 on [z, h] of `{VISION}` and `{MEMORY}`: {how}
Made by `{made["command"]}` (seed {made["seed"]}).

Score: {score["mean"]:.1f} ± {score["std"]:.1f} ({score["episodes"]} episodes of `{score["base"]}`
on seeds that took no part in training or selection).
"""


if __name__ == "__main__":
    main(tyro.cli(Args))
