"""The training loop in games without tuned settings, and the baselines."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from choice_game import CHOICES, DISCRETE

from wmrl.envs.tasks.task import Task
from wmrl.scripts.reproduce.games import experiment as experiment_module
from wmrl.scripts.reproduce.games.experiment import (
    PUBLISHED,
    VARIANTS,
    check_frames,
    find_game,
    plan_for,
    try_ppo,
)

ATARI = replace(DISCRETE, name="boxing", env_id="ALE/Boxing-v5", frame_skip=4)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models that the baseline trains, whose networks are small."""
    made = []
    small = {"policy_kwargs": {"features_extractor_kwargs": {"features_dim": 8}}, "n_epochs": 1}
    make = partial(experiment_module.PPO, **small)

    def recording(*arguments: Any, **options: Any) -> Any:
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(experiment_module, "PPO", recording)
    return made


def baseline(task: Task, path: Path, **options: Any) -> dict[str, Any]:
    options = {"steps": 100, "episodes": 2, "workers": 0, "device": "cpu", **options}
    return try_ppo(task, path, progress=False, **options)


@pytest.mark.parametrize("kind", ["box", "discrete", "multi_binary"])
def test_the_baseline_plays_any_actions(kind: str, models: list[Any], tmp_path: Path) -> None:
    row = baseline(CHOICES[kind], tmp_path)
    assert (row["steps"], row["base"], len(row["returns"])) == (128, "choice_game:Choice-v0", 2)
    assert len(models) == 1
    assert models[0].num_timesteps == 128


def test_the_baseline_repeats_with_its_seed(models: list[Any], tmp_path: Path) -> None:
    def weights(name: str, **options: Any) -> float:
        baseline(DISCRETE, tmp_path / name, **options)
        return sum(float(part.double().sum()) for part in models[-1].policy.state_dict().values())

    first = weights("first", seed=1)
    assert weights("again", seed=1, workers=1) == first
    assert weights("other", seed=2) != first
    rows = [baseline(DISCRETE, tmp_path / name, seed=1) for name in ("first", "again")]
    assert rows[0]["returns"] == rows[1]["returns"]
    assert len(models) == 3  # nothing was trained again
    with pytest.raises(ValueError, match="settings of this PPO baseline"):
        baseline(DISCRETE, tmp_path / "first", seed=1, frame_stack=2)


def test_the_baseline_observes_stacks(models: list[Any], tmp_path: Path) -> None:
    baseline(DISCRETE, tmp_path, frame_stack=4)
    assert models[0].observation_space.shape == (12, 64, 64)


def test_the_hyperparameters_are_the_defaults(models: list[Any], tmp_path: Path) -> None:
    baseline(DISCRETE, tmp_path, steps=100)
    model = models[0]
    assert (model.n_envs, model.n_steps) == (8, 16)  # a rollout of the whole training
    assert (model.batch_size, model.learning_rate, model.gamma) == (64, 3e-4, 0.99)


def test_small_frames_are_refused(tmp_path: Path) -> None:
    check_frames(replace(DISCRETE, frame_size=(36, 48)))
    with pytest.raises(ValueError, match=r"tasks: expected .* got 64 × 35 pixels in the task"):
        baseline(replace(DISCRETE, frame_size=(64, 35)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_only_atari_games_are_limited() -> None:
    options: dict[str, Any] = {"minutes": 20.0, "rounds": 5, "atari_steps": 100_000}
    plan = plan_for(ATARI, **options)
    assert plan.real_frames == 400_000
    assert plan.collected_frames <= 400_000
    assert plan_for(DISCRETE, **options).real_frames is None


def test_games_with_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def from_env(env_id: str, **options: Any) -> Task:
        given[env_id] = options
        return ATARI

    monkeypatch.setattr(experiment_module.Task, "from_env", from_env)
    assert find_game("boxing-without-sticky-actions") is ATARI
    expected = {"frameskip": 4, "repeat_action_probability": 0}
    assert given == {"ALE/Boxing-v5": {"name": "boxing-without-sticky-actions", **expected}}
    assert find_game("choice_game:DISCRETE") is DISCRETE
    assert {variant["env_id"] for variant in VARIANTS.values()} == set(PUBLISHED)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_have_no_sticky_actions(name: str) -> None:
    pytest.importorskip("ale_py")
    task = find_game(name)
    assert (task.name, task.env_id, task.frame_skip) == (name, VARIANTS[name]["env_id"], 1)
    assert task.env_kwargs["repeat_action_probability"] == 0
    assert not any("Sticky" in note for note in task.notes)
