"""An eye, a memory and a driver of their own for each of the stores that are compared."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_game import STEERED

from wmrl.agents.evaluation import evaluate
from wmrl.agents.ppo.learner import PPOConfig
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.world_model_ref import open_driver
from wmrl.data.split import split_episodes
from wmrl.data.store import RolloutStore
from wmrl.envs.tasks import registry
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.scripts.reproduce.drivers import vision_trial as vision_trial_module
from wmrl.scripts.reproduce.drivers.vision_trial import EyeTrialConfig, try_eye
from wmrl.storage.artifact import load_artifact
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import load_vision
from wmrl.vision.evaluation import pick_frames, vision_report
from wmrl.vision.vqvae import VQVAEConfig

STEPS: dict[str, Any] = {"steps": 6, "batch_size": 4, "checkpoint_every": 2, "log_every": 2}
CONFIG = EyeTrialConfig(
    vision=VQVAEConfig(width=2, codes=8, code_size=2, warmup_steps=2),
    vision_training=TrainingConfig(**STEPS),
    memory=CodeMemoryConfig(hidden_size=8, token_size=4),
    memory_training=MemoryTrainingConfig(**STEPS, sequence_length=8),
    dream=PPOConfig.dream(
        steps=4 * 8 * 2, rollout_steps=8, chunk_rollouts=1, minibatch=16, epochs=1
    ),
    dreams=4,
    decisions=10,
    episodes=2,
)
STAGES = ("train_vision", "train_ensemble", "PPOLearner", "evaluate")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[RolloutStore]:
    folder = tmp_path_factory.mktemp("stores")
    options: dict[str, Any] = {"episodes": 4, "num_envs": 4, "workers": 0, "progress": False}
    return [collect(STEERED, folder / str(seed), seed=seed, **options) for seed in range(2)]


@pytest.fixture(scope="module")
def judged(stores: list[RolloutStore]) -> dict[str, np.ndarray]:
    return {
        str(number): pick_frames(split_episodes([store], held_out=0.1).held_out, count=20)
        for number, store in enumerate(stores)
    }


Attempt = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def attempt(stores: list[RolloutStore], judged: dict[str, np.ndarray]) -> Attempt:
    """Tries the eye of the first store, in a world of both."""

    def attempt(path: Path, **options: Any) -> dict[str, Any]:
        given = {
            "task": STEERED,
            "seen": stores[:1],
            "world": stores,
            "judged": judged,
            "config": CONFIG,
            "seed": 3,
            "workers": 0,
            "device": "cpu",
            "progress": False,
        }
        return try_eye(path, **{**given, **options})

    return attempt


@pytest.fixture(scope="module")
def tried(
    attempt: Attempt, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("tried")
    return path, attempt(path)


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """All that has to be the same for the same seed."""
    return {name: report[name] for name in ("eye", "memory", "returns", "mean", "std", "base")}


def test_its_figures_are_those_of_what_it_leaves(
    tried: tuple[Path, dict[str, Any]],
    stores: list[RolloutStore],
    judged: dict[str, np.ndarray],
) -> None:
    path, report = tried
    vision = load_vision(path / "vision" / "artifact", device="cpu")
    assert set(report["eye"]) == {"0", "1"}
    for name, frames in judged.items():
        own = vision_report(vision, frames)
        assert report["eye"][name]["squared_error"] == pytest.approx(own["squared_error"], rel=1e-4)
        assert report["eye"][name]["frames"] == len(frames)
    assert report["eye"]["0"] != report["eye"]["1"]
    hashes = [store.content_hash() for store in stores]
    assert load_artifact(path / "vision" / "artifact").provenance["data"] == hashes[:1]
    member = path / "memory" / "member-0"
    assert load_artifact(member / "artifact").provenance["data"] == hashes
    assert report["memory"] == json.loads((member / "report.json").read_text())["held_out"]
    assert (report["mean"], report["std"]) == (
        np.mean(report["returns"]),
        np.std(report["returns"]),
    )
    assert len(report["returns"]) == 2
    assert (report["seed"], report["base"]) == (3, STEERED.env_id)


def test_its_driver_drives_again_as_it_was_scored(
    tried: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from where the folder is moved to."""
    path, report = tried
    moved = tmp_path / "moved"
    moved.symlink_to(path)
    monkeypatch.setitem(registry._TASKS, STEERED.name, STEERED)
    _, eye = open_driver(moved / "driver", device="cpu")
    assert eye.vision.digest == load_artifact(path / "vision" / "artifact").digest
    assert eye.memory is not None
    again = evaluate(moved / "driver", episodes=2, workers=0, device="cpu")
    np.testing.assert_allclose(again.returns, report["returns"], atol=1e-5)


def test_what_is_tried_is_read(
    tried: tuple[Path, dict[str, Any]], attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, report = tried
    kept = json.loads((path / "result.json").read_text())
    assert kept == json.loads(json.dumps(report))
    for stage in STAGES:
        monkeypatch.setattr(vision_trial_module, stage, None)  # would fail if it were called
    assert attempt(path) == kept


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_trial_goes_on_to_the_same_result(
    stage: str,
    tried: tuple[Path, dict[str, Any]],
    attempt: Attempt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kill(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    plain = getattr(vision_trial_module, stage)
    monkeypatch.setattr(vision_trial_module, stage, kill)
    with pytest.raises(KeyboardInterrupt):
        attempt(tmp_path)
    assert not (tmp_path / "result.json").exists()
    monkeypatch.setattr(vision_trial_module, stage, plain)
    assert figures(attempt(tmp_path)) == figures(tried[1])


def test_a_folder_of_another_trial_is_refused(
    tried: tuple[Path, dict[str, Any]], attempt: Attempt, stores: list[RolloutStore]
) -> None:
    path, _ = tried
    before = (path / "result.json").read_bytes()
    changes: tuple[dict[str, Any], ...] = (
        {"seed": 4},
        {"seen": stores[1:]},
        {"world": stores[:1]},
        {"judged": {"other": np.zeros((4, 64, 64, 3), np.uint8)}},
        {"config": replace(CONFIG, episodes=3)},
        {"config": replace(CONFIG, vision=replace(CONFIG.vision, codes=9))},
    )
    for change in changes:
        with pytest.raises(ValueError, match=r"path: expected a folder of this trial, .* settings"):
            attempt(path, **change)
    assert (path / "result.json").read_bytes() == before


def test_another_seed_is_another_trial(
    tried: tuple[Path, dict[str, Any]], attempt: Attempt, tmp_path: Path
) -> None:
    _, report = tried
    other = attempt(tmp_path, seed=4)
    for name in ("eye", "memory", "returns"):
        assert other[name] != report[name]
