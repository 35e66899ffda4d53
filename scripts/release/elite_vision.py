"""Writes three shipped artifacts: a vision model, a memory model and an agent.

The vision model is a VQ-VAE that was trained on rollouts of elite controllers. The agent, called
the driver, was trained in the dream of the two models.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from wmrl.export.model_card import HELD_OUT, origin_text, score_text

VISION, MEMORY, DRIVER = "car-racing-elite-vqvae", "car-racing-elite-symbols", "car-racing-elite"


def ship(trial: Path, out: Path, row: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Writes a vision model, a memory model and an agent as artifacts with model cards.

    The agent, called the driver, was trained in the dream of the two models.

    Args:
        trial: folder that :func:`~wmrl.scripts.reproduce.drivers.vision_trial.try_vision` wrote.
        out: folder in which the three artifacts are written.
        row: result that ``try_vision`` returned.
        made: provenance of the artifacts, including ``command`` and ``seed``.
    """
    from wmrl.agents.agent import load_agent
    from wmrl.memory.base import load_memory
    from wmrl.storage.artifact import load_artifact
    from wmrl.vision.base import load_vision

    score = {key: row[key] for key in ("mean", "std", "base")} | {"episodes": len(row["returns"])}
    parts = {"vision": trial / "vision/artifact", "memory": trial / "memory/artifact"}
    agent = load_agent(trial / "driver")
    if agent.world_model is not None:
        agent.world_model = replace(agent.world_model, vision=VISION, memory=MEMORY)
    # Everything is read before anything is overwritten.
    saves: list[Callable[[], str]] = [
        partial(
            load_vision(parts["vision"], device="cpu").save,
            out / VISION,
            provenance=load_artifact(parts["vision"]).provenance
            | {**made, "held_out": row["vision"], "score": score},
            card=vision_card(row, made),
        ),
        partial(
            load_memory(parts["memory"], device="cpu").save,
            out / MEMORY,
            provenance=load_artifact(parts["memory"]).provenance
            | {**made, "held_out": row["memory"], "score": score},
            card=memory_card(row, made),
        ),
        partial(
            agent.save,
            out / DRIVER,
            provenance=load_artifact(trial / "driver").provenance | {**made, "score": score},
            card=driver_card(score, made),
        ),
    ]
    for save in saves:
        save()


def vision_card(row: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Returns the model card of the vision model.

    Args:
        row: result that ``try_vision`` returned, as in :func:`ship`.
        made: provenance of the vision model, with the entries ``command`` and ``seed``.
    """
    lines = [
        f"| {name} | {metrics['squared_error']:.2f} | {metrics['perplexity']:.0f} "
        f"| {metrics['utilization']:.1%} | {metrics['encoder_rank']:.1f} |"
        for name, metrics in row["vision"].items()
    ]
    return "\n".join(
        [
            f"# {VISION}",
            "",
            "A VQ-VAE (van den Oord et al. 2017) for frames of `vsg/CarRacing-v3` (upper 84 rows,",
            "64×64), of the size of `car-racing-vqvae`, trained on nothing but frames of elites in",
            "the real game: linear controllers that MAP-Elites found in the dream.",
            origin_text(made),
            "",
            "On held-out frames of elites and of random driving; squared errors are summed over a",
            "frame's pixels in [0, 1].",
            "",
            "| frames | squared error | perplexity | codes used | effective rank |",
            "| --- | --- | --- | --- | --- |",
            *lines,
            "",
        ]
    )


def memory_card(row: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Returns the model card of the memory model.

    Args:
        row: result that ``try_vision`` returned, as in :func:`ship`.
        made: provenance of the memory model, with the entries ``command`` and ``seed``.
    """
    nats = row["memory"]["nats_per_frame"]
    return f"""# {MEMORY}

A memory with discrete latents (LSTM 256, all codes of a frame at once, reward and termination
heads) on the codes of `{VISION}`; a step is four frames of the game. It was trained on rollouts of
elites and of random driving. {origin_text(made)}

Held-out frames need {nats["memory"]:.1f} nats, a copy of the last frame {nats["copy_last"]:.1f}.
R² of its rewards: {row["memory"]["reward_r2"]:.3f}.
"""


def driver_card(score: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Returns the model card of the driver, the agent that was trained in the dream.

    Args:
        score: result of the driver's evaluation, with the entries ``mean``, ``std``, ``episodes``
            and ``base``.
        made: provenance of the driver, with the entries ``command`` and ``seed``.
    """
    return f"""# {DRIVER}

A network of two layers of 64 on [z, h] of `{VISION}` and `{MEMORY}`, trained by PPO inside that
dream alone. {origin_text(made)}

Score: {score_text(score, HELD_OUT)}.
"""
