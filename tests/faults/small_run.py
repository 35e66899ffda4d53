"""A small run of the whole training loop, and what it consists of when it is read again."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from toy_game import STEERED

from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.pipeline import loop
from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.agents.policy_search.cma_es import CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitnessConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.core.hashing import tensors_digest
from wmrl.data.split import StoredEpisode
from wmrl.data.store import RolloutStore
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.dataset import load_latents
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.storage import run as run_module
from wmrl.storage.artifact import load_artifact
from wmrl.storage.reading import read_json
from wmrl.training.metrics import read_metrics
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import load_vision
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAEConfig

STAGES = ("round 0: vision", "round 0: memory", "round 0: dream", None)
"""Stages before which a run is stopped; None for a finished run."""

_STEPS = {"steps": 6, "batch_size": 4, "checkpoint_every": 2, "log_every": 2}
_PPO = {"rollout_steps": 8, "chunk_rollouts": 1, "batch_size": 16, "n_epochs": 1}
_MEMORY = MemoryTrainingConfig(**_STEPS, sequence_length=8)
_SMALL = {
    "rounds": 1,
    "vision_rounds": 1,
    "first_frames": 150,
    "round_frames": 90,
    "vision": VAEConfig(base_channels=2, latent_dim=4),
    "vision_training": TrainingConfig(**_STEPS),
    "memory": MDNRNNConfig(hidden_dim=8, num_mixtures=2),
    "memory_training": _MEMORY,
    "memory_retraining": _MEMORY,
    "dreams": 4,
    "dream_agent_steps": 10,
    "dream": PPOConfig.dream(steps=4 * 8 * 4, **_PPO),
    "real_envs": 2,
    "real": PPOConfig.real(steps=2 * 8 * 4, **_PPO),
    "score_episodes": 2,
    "score_every": 2,
}
_EVOLUTION = {
    "rounds": 2,
    "algorithm": "cma-es",
    "real_envs": 0,
    "evolution": CMAESConfig(generations=6, population_size=4, checkpoint_every=2),
    "trials": DreamFitnessConfig(num_rollouts=2),
    "vision": VQVAEConfig(base_channels=2, codebook_size=8, code_dim=2, warmup_steps=2),
    "memory": CodeMemoryConfig(hidden_dim=8, token_dim=4),
}
PLANS = {"ppo": TrainingPlan(**_SMALL), "cma-es": TrainingPlan(**_SMALL | _EVOLUTION)}


class Stopped(BaseException):
    """Ends a run between two stages; not an error that anything handles."""


def run(path: Path, plan: str, *, stop_before: str | None = None) -> None:
    """Starts or resumes the run of a plan in a folder."""
    stage = loop._Loop._stage

    def stop_or_run(self: loop._Loop, name: str, work: object) -> None:
        if name == stop_before:
            raise Stopped
        stage(self, name, work)  # type: ignore[arg-type]

    torch.set_num_threads(1)
    loop._Loop._stage = stop_or_run  # type: ignore[method-assign]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Stopped):
            loop.train(STEERED, path, plan=PLANS[plan], seed=3, workers=0, progress=False)
    finally:
        loop._Loop._stage = stage  # type: ignore[method-assign]


def contents(path: Path) -> dict[str, str]:
    """Reads everything in a run's folder that the project reads again, by file.

    Durations are left out. Damaged files raise the errors that the readers raise.
    """
    return dict(_contents(path))


def changed_keys(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Returns what differs from the contents of an undisturbed run.

    A checkpoint may be missing: a finished stage doesn't need it any more.
    """
    keys = sorted(found.keys() | expected.keys())
    return [
        key
        for key in keys
        if found.get(key) != expected.get(key)
        and not (key.endswith(".checkpoint") and key not in found)
    ]


def _contents(path: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(path.rglob("model.safetensors")):
        artifact = load_artifact(file.parent)
        config = json.dumps([artifact.kind, artifact.class_name, artifact.config], sort_keys=True)
        yield str(file.parent.relative_to(path)), artifact.digest + config
    visions = [load_vision(folder) for folder in sorted(path.glob("round-*/vision/artifact"))]
    for folder in sorted(path.glob("round-*/data")):
        store = RolloutStore(folder)
        store.verify()
        about = [store.metadata, store.summaries, [store.info(i) for i in store.indices]]
        yield str(folder.relative_to(path)), store.content_hash() + repr(about)
        for vision in visions:
            if (folder / "latents").exists():
                episodes = [StoredEpisode(store, summary) for summary in store.summaries]
                for latent, (_, summary) in zip(
                    load_latents(episodes, vision), episodes, strict=True
                ):
                    arrays = vars(latent) | {"terminated": torch.tensor(latent.terminated)}
                    yield f"{folder.name}/latents/{summary.index}", tensors_digest(arrays, "")
    for file in sorted(path.rglob("*.checkpoint")):
        read_json(file.parent / "config.json")
        tensors, _ = run_module._read_checkpoint(file)
        if tensors:  # the state of a checkpoint contains durations
            yield str(file.relative_to(path)), tensors_digest(tensors, "")
    for name in ("score.json", "promise.json"):
        for file in sorted(path.rglob(name)):
            yield str(file.relative_to(path)), repr(EvaluationResult.load(file).returns)
    for file in sorted(path.rglob("report.json")):
        report = {k: v for k, v in read_json(file).items() if "seconds" not in k}
        yield str(file.relative_to(path)), json.dumps(report, sort_keys=True)
    for file in sorted(path.rglob("metrics.csv")):
        read_metrics(file)  # for people only: a damaged line must not be an error
