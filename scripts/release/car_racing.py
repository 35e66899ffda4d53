"""Writes the shipped artifacts from a finished run of ``wmrl train``.

This is not a subcommand of ``wmrl``. Maintainers first score the agents with
``python -m wmrl.scripts.release.score_table``, then run
``python -m wmrl.scripts.release.car_racing runs/car-racing``.
"""

import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from wmrl.export.model_card import HELD_OUT, origin_text, score_text


@dataclass(frozen=True)
class Names:
    """Names under which the artifacts of a run are shipped.

    Attributes:
        vision: name of the vision model.
        memory: name of the memory model.
        dream: name of the agent that was trained in the dream.
        real: name of the agent that was then fine-tuned in the real game.
    """

    vision: str
    memory: str
    dream: str
    real: str


CONTINUOUS = Names("car-racing-vae", "car-racing-mdnrnn", "car-racing-dream", "car-racing-real")
DISCRETE = Names(
    "car-racing-vqvae", "car-racing-symbols", "car-racing-symbols-dream", "car-racing-symbols-real"
)


@dataclass(frozen=True)
class Args:
    """Command-line options."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run of ``wmrl train``."""
    command: str = "wmrl train"
    """Command that produced the run; the model cards quote it."""
    results: Path = Path("results")
    """Folder from which the agents' scores are read."""
    out: Path = Path("wmrl/artifacts")
    """Folder in which the artifacts are written."""


def main(args: Args) -> None:
    """Writes the vision model, the memory model and two agents as artifacts with model cards."""
    from wmrl.agents.agent import load_agent
    from wmrl.memory.base import load_memory
    from wmrl.storage.artifact import package_versions
    from wmrl.storage.reading import read_json
    from wmrl.vision.base import load_vision

    config = read_json(args.run / "config.json")
    names = DISCRETE if "codebook_size" in config["plan"]["memory"] else CONTINUOUS
    last = config["plan"]["rounds"] - 1
    vision_round = min(last, config["plan"]["vision_rounds"] - 1)
    vision_run = args.run / f"round-{vision_round}/vision"
    memory_run = args.run / f"round-{last}/memory"
    made = {
        "command": args.command,
        "seed": config["seed"],
        "versions": package_versions("gymnasium", "stable-baselines3"),
    }

    vision = load_vision(vision_run / "artifact", device="cpu")
    report = read_json(vision_run / "report.json")
    # Everything is read before anything is overwritten.
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
        read_json(memory_run / f"member-{i}/report.json")
        for i in range(config["plan"]["num_members"])
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
    agents = {names.dream: args.run / f"round-{last}/agent", names.real: args.run / "real/agent"}
    for name, path in agents.items():
        agent = load_agent(path)
        if agent.world_model is not None:
            agent.world_model = replace(agent.world_model, vision=names.vision, memory=names.memory)
        score = read_json(args.results / f"{name}.json")
        kept = {key: score[key] for key in ("mean", "std", "episodes", "base")}
        saves.append(
            partial(
                agent.save,
                args.out / name,
                provenance=provenance(path, made | {"score": kept}),
                card=agent_card(names, name, kept, made),
            )
        )
    for save in saves:
        save()


def provenance(path: Path, more: dict[str, Any]) -> dict[str, Any]:
    """Returns the provenance of the artifact at ``path``, extended with the entries of ``more``."""
    from wmrl.storage.artifact import load_artifact

    return {**load_artifact(path).provenance, **more}


def vision_card(
    names: Names, config: dict[str, Any], report: dict[str, Any], made: dict[str, Any]
) -> str:
    """Returns the model card of the vision model.

    Args:
        names: names of the shipped artifacts.
        config: configuration of the vision model.
        report: content of the ``report.json`` that the training of the vision model wrote.
        made: provenance of the vision model, with the entries ``command`` and ``seed``.
    """
    metrics = report["held_out"]
    if names is DISCRETE:
        rows, columns = (side // 2 ** config["num_downsamplings"] for side in config["frame_size"])
        what = (
            f"A VQ-VAE (van den Oord et al. 2017) with {config['base_channels']} base channels: "
            f"{rows}×{columns} codes from a codebook of {config['codebook_size']}, each of "
            f"dimension {config['code_dim']}; trained by moving averages after a warm-up as an "
            "autoencoder"
        )
        how = (
            f"perplexity {metrics['perplexity']:.0f}, {metrics['utilization']:.1%} of the codes "
            f"used, effective rank {metrics['codebook_rank']:.1f} of the codebook and "
            f"{metrics['encoder_rank']:.1f} of the encoder's output"
        )
    else:
        what = (
            f"A convolutional VAE (World Models, appendix A.1) with {config['base_channels']} base "
            f"channels and {config['latent_dim']} latents"
        )
        how = (
            f"KL {metrics['kl']:.1f} nats, {metrics['active_dimensions']} of "
            f"{metrics['latent_dim']} dimensions active"
        )
    about = _paragraph(f"{what}, for frames of `vsg/CarRacing-v3` (upper 84 rows, 64×64).")
    judged = _paragraph(
        f"Held-out frames: squared error {metrics['squared_error']:.2f} (summed over a frame's "
        f"pixels in [0, 1]), {how}. {origin_text(made).removesuffix('.')} on frames recorded with "
        "random actions and with agents trained in dreams."
    )
    return f"# {names.vision}\n\n{about}\n\n{judged}\n"


def memory_card(names: Names, members: list[dict[str, Any]], made: dict[str, Any]) -> str:
    """Returns the model card of the memory model.

    Args:
        names: names of the shipped artifacts.
        members: content of the ``report.json`` of each member of the ensemble.
        made: provenance of the memory model, with the entries ``command`` and ``seed``.
    """
    judged = [member["held_out"] for member in members]
    if names is DISCRETE:
        what = (
            f"An ensemble of {len(members)} memory models over codes (LSTM 256, all codes of a "
            f"frame at once, reward and termination heads), on the codes of `{names.vision}`"
        )
        heads = ["nats per frame, held out", "copy last", "bigram", "correct codes", "copy last"]
        cells = [
            [
                *(f"{j['nats_per_frame'][name]:.1f}" for name in ("memory", "copy_last", "bigram")),
                *(f"{j['accuracy'][name]:.1%}" for name in ("memory", "copy_last")),
            ]
            for j in judged
        ]
    else:
        what = (
            f"An ensemble of {len(members)} MDN-RNNs (LSTM 256, five Gaussians per latent "
            f"dimension, reward and termination heads), on the latents of `{names.vision}`"
        )
        heads = ["log-likelihood per dimension, held out (nats)"]
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

{_paragraph(f"{what}; a step is four frames of the game. {origin_text(made)}")}

{rows}

Open loop, first member: decoded squared error after a number of steps, of a dream at temperature 1
and of the most likely next latents, compared with a copy of the last frame and with the
reconstruction of the true one.

| steps | dream | most likely | copy last | reconstruction | dreams |
| --- | --- | --- | --- | --- | --- |
{loops}
"""


def agent_card(names: Names, name: str, score: dict[str, Any], made: dict[str, Any]) -> str:
    """Returns the model card of an agent.

    Args:
        names: names of the shipped artifacts.
        name: name of the agent, ``names.dream`` or ``names.real``.
        score: result of the agent's evaluation, with the entries ``mean``, ``std``, ``episodes``
            and ``base``.
        made: provenance of the agent, with the entries ``command`` and ``seed``.
    """
    how = {
        names.dream: "trained by PPO in the dream alone, without any real reward. The dream was "
        "trained on rollouts of random actions and of earlier agents that were trained in dreams.",
        names.real: f"`{names.dream}`, fine-tuned by PPO in the real game (`vsg/CarRacing-v3`).",
    }[name]
    about = _paragraph(
        f"A network with two hidden layers of 64 on [z, h] of `{names.vision}` and "
        f"`{names.memory}`: {how} "
        f"{origin_text(made)}"
    )
    scored = _paragraph(f"Score: {score_text(score, HELD_OUT)}.")
    return f"# {name}\n\n{about}\n\n{scored}\n"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    main(tyro.cli(Args))
