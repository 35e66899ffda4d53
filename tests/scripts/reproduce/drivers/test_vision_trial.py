"""Trials of vision models, with a memory and a driver each."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_game import STEERED

from wmrl.agents.agent import load_agent
from wmrl.agents.evaluation.scoring import evaluate
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.rollouts.collection import collect
from wmrl.data.split import split_episodes
from wmrl.data.store import RolloutStore
from wmrl.envs.tasks import registry
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.scripts.reproduce.drivers import vision_trial as vision_trial_module
from wmrl.scripts.reproduce.drivers.vision_trial import VisionTrialConfig, try_vision
from wmrl.storage.artifact import load_artifact
from wmrl.storage.reading import read_json
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import load_vision
from wmrl.vision.evaluation import pick_frames, vision_report
from wmrl.vision.vqvae import VQVAEConfig

STEPS: dict[str, Any] = {"steps": 6, "batch_size": 4, "checkpoint_every": 2, "log_every": 2}
CONFIG = VisionTrialConfig(
    vision=VQVAEConfig(base_channels=2, codebook_size=8, code_dim=2, warmup_steps=2),
    vision_training=TrainingConfig(**STEPS),
    memory=CodeMemoryConfig(hidden_dim=8, token_dim=4),
    memory_training=MemoryTrainingConfig(**STEPS, sequence_length=8),
    dream=PPOConfig.dream(
        steps=4 * 8 * 2, rollout_steps=8, chunk_rollouts=1, batch_size=16, n_epochs=1
    ),
    num_dreams=4,
    agent_steps=10,
    episodes=2,
)
STAGES = ("train_vision", "train_ensemble", "PPOLearner", "evaluate")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[RolloutStore]:
    folder = tmp_path_factory.mktemp("stores")
    options: dict[str, Any] = {"episodes": 4, "num_envs": 4, "workers": 0, "progress": False}
    return [collect(STEERED, folder / str(seed), seed=seed, **options) for seed in range(2)]


@pytest.fixture(scope="module")
def held_out(stores: list[RolloutStore]) -> dict[str, np.ndarray]:
    return {
        str(number): pick_frames(split_episodes([store], held_out=0.1).held_out, count=20)
        for number, store in enumerate(stores)
    }


Attempt = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def attempt(stores: list[RolloutStore], held_out: dict[str, np.ndarray]) -> Attempt:
    """Trial of the first store for the vision model, and of both for the memory."""

    def attempt(path: Path, **options: Any) -> dict[str, Any]:
        given = {
            "task": STEERED,
            "vision_data": stores[:1],
            "memory_data": stores,
            "held_out": held_out,
            "config": CONFIG,
            "seed": 3,
            "workers": 0,
            "device": "cpu",
            "progress": False,
        }
        return try_vision(path, **{**given, **options})

    return attempt


@pytest.fixture(scope="module")
def tried(
    attempt: Attempt, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("tried")
    return path, attempt(path)


def results(report: dict[str, Any]) -> dict[str, Any]:
    """Results that must be the same for the same seed."""
    return {name: report[name] for name in ("vision", "memory", "returns", "mean", "std", "base")}


def test_its_metrics_are_those_of_its_artifacts(
    tried: tuple[Path, dict[str, Any]],
    stores: list[RolloutStore],
    held_out: dict[str, np.ndarray],
) -> None:
    path, report = tried
    vision = load_vision(path / "vision" / "artifact", device="cpu")
    assert set(report["vision"]) == {"0", "1"}
    for name, frames in held_out.items():
        own = vision_report(vision, frames)
        assert report["vision"][name]["squared_error"] == pytest.approx(
            own["squared_error"], rel=1e-4
        )
        assert report["vision"][name]["frames"] == len(frames)
    assert report["vision"]["0"] != report["vision"]["1"]
    hashes = [store.content_hash() for store in stores]
    assert load_artifact(path / "vision" / "artifact").provenance["data"] == hashes[:1]
    member = path / "memory" / "member-0"
    assert load_artifact(member / "artifact").provenance["data"] == hashes
    assert report["memory"] == read_json(member / "report.json")["held_out"]
    assert (report["mean"], report["std"]) == (
        np.mean(report["returns"]),
        np.std(report["returns"]),
    )
    assert len(report["returns"]) == 2
    assert (report["seed"], report["base"]) == (3, STEERED.env_id)


def test_its_driver_has_the_same_score_again(
    tried: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the folder was moved."""
    path, report = tried
    moved = tmp_path / "moved"
    moved.symlink_to(path)
    monkeypatch.setitem(registry._TASKS, STEERED.name, STEERED)
    world_model = load_agent(moved / "driver").open_world_model(device="cpu")
    assert world_model.vision.digest == load_artifact(path / "vision" / "artifact").digest
    assert world_model.memory is not None
    again = evaluate(moved / "driver", episodes=2, workers=0, device="cpu")
    np.testing.assert_allclose(again.returns, report["returns"], atol=1e-5)


def test_a_finished_trial_is_read(
    tried: tuple[Path, dict[str, Any]], attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, report = tried
    kept = read_json(path / "result.json")
    assert kept == json.loads(json.dumps(report))
    for stage in STAGES:
        monkeypatch.setattr(vision_trial_module, stage, None)  # would fail if it were called
    assert attempt(path) == kept


def test_a_trial_that_is_interrupted_at_each_stage_has_the_same_result(
    tried: tuple[Path, dict[str, Any]],
    attempt: Attempt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kill(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    for stage in STAGES:
        with monkeypatch.context() as patch:
            patch.setattr(vision_trial_module, stage, kill)
            with pytest.raises(KeyboardInterrupt):
                attempt(tmp_path)
        assert not (tmp_path / "result.json").exists()
    assert results(attempt(tmp_path)) == results(tried[1])


def test_a_folder_of_another_trial_is_refused(
    tried: tuple[Path, dict[str, Any]], attempt: Attempt, stores: list[RolloutStore]
) -> None:
    path, _ = tried
    before = (path / "result.json").read_bytes()
    changes: tuple[dict[str, Any], ...] = (
        {"seed": 4},
        {"vision_data": stores[1:]},
        {"memory_data": stores[:1]},
        {"held_out": {"other": np.zeros((4, 64, 64, 3), np.uint8)}},
        {"config": replace(CONFIG, episodes=3)},
        {"config": replace(CONFIG, vision=replace(CONFIG.vision, codebook_size=9))},
    )
    for change in changes:
        with pytest.raises(ValueError, match=r"path: expected results .* this trial, .* settings"):
            attempt(path, **change)
    assert (path / "result.json").read_bytes() == before


def test_another_seed_is_another_trial(
    tried: tuple[Path, dict[str, Any]], attempt: Attempt, tmp_path: Path
) -> None:
    _, report = tried
    other = attempt(tmp_path, seed=4)
    for name in ("vision", "memory", "returns"):
        assert other[name] != report[name]
