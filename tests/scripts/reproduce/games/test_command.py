"""``wmrl reproduce games``, with tiny games and a tiny training loop."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from wmrl.agents.evaluation.scoring import evaluate
from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.agents.ppo.config import PPOConfig
from wmrl.envs.tasks import packages
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.scripts import cli
from wmrl.scripts.reproduce.games import experiment as experiment_module
from wmrl.scripts.reproduce.games.command import Args, write_table
from wmrl.storage.reading import read_json
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.vae import VAEConfig

STEPS = {"steps": 2, "batch_size": 4}
PPO = {"rollout_steps": 8, "chunk_rollouts": 1, "batch_size": 16, "n_epochs": 1}
TINY = TrainingPlan(
    rounds=1,
    first_frames=100,
    vision=VAEConfig(base_channels=2, latent_dim=4),
    vision_training=TrainingConfig(**STEPS),
    memory=MDNRNNConfig(hidden_dim=8, num_mixtures=2),
    memory_training=MemoryTrainingConfig(**STEPS, sequence_length=8),
    num_members=1,
    dreams=4,
    dream_agent_steps=6,
    dream=PPOConfig.dream(steps=32, **PPO),
    real_envs=2,
    real=PPOConfig.real(steps=32, **PPO),
    score_episodes=2,
)


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrinks the training loop and the policy of the baseline."""
    monkeypatch.setattr(experiment_module, "plan_for", lambda task, **options: TINY)
    small = {"policy_kwargs": {"features_extractor_kwargs": {"features_dim": 8}}, "n_epochs": 1}
    monkeypatch.setattr(experiment_module, "PPO", partial(experiment_module.PPO, **small))


def words(folder: Path, *more: str) -> list[str]:
    given = ["reproduce", "games", "--tasks", "choice_game:DISCRETE", "--seeds", "3"]
    given += ["--score-episodes", "2", "--workers", "0", "--device", "cpu", *more]
    return [*given, "--out", str(folder / "out"), "--work", str(folder / "work")]


def without_times(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {**row, "minutes": None, "ppo": {**row["ppo"], "seconds": None}} for row in report["rows"]
    ]


@pytest.mark.usefixtures("_tiny")
def test_nothing_is_made_twice_and_an_interrupted_run_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words(tmp_path / "whole")) == 0
    out, work = tmp_path / "whole" / "out", tmp_path / "whole" / "work"
    assert (out / "table.md").read_text() in capsys.readouterr().out
    report = read_json(out / "results.json")
    assert report["args"]["score_episodes"] == 2
    assert set(report["versions"]) >= {"gymnasium", "stable-baselines3", "wmrl"}
    (score,) = report["random"]
    played = evaluate("random", episodes=2, task="choice_game:DISCRETE", workers=0)
    assert (score["game"], score["returns"]) == ("choice-discrete", list(played.returns))
    (row,) = report["rows"]
    assert (row["game"], row["seed"], row["fine_tuned"]) == ("choice-discrete", 3, True)
    assert row["frames"] == row["steps"] >= TINY.first_frames + TINY.real.steps
    assert row["ppo"]["steps"] == -(-row["steps"] // 64) * 64
    for trained in (row, row["ppo"]):
        assert trained["base"] == "choice_game:Choice-v0"
        assert trained["mean"] == pytest.approx(sum(trained["returns"]) / 2)

    made = {file: file.stat().st_mtime_ns for file in work.rglob("*") if file.is_file()}
    assert cli.run(words(tmp_path / "whole")) == 0
    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert read_json(out / "results.json") == report

    def interrupted(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment_module, "evaluate", interrupted)
        assert cli.run(words(tmp_path / "cut")) == 130  # in random play
    with monkeypatch.context() as patch:
        patch.setattr(experiment_module, "_train_ppo", interrupted)
        assert cli.run(words(tmp_path / "cut")) == 130
    work = tmp_path / "cut" / "work"
    made = {file: file.stat().st_mtime_ns for file in work.rglob("*.json")}
    assert made
    assert cli.run(words(tmp_path / "cut")) == 0
    assert {file: file.stat().st_mtime_ns for file in made} == made
    cut = read_json(tmp_path / "cut" / "out" / "results.json")
    assert without_times(cut) == without_times(report)
    assert cut["random"] == report["random"]

    assert cli.run(words(tmp_path / "whole", "--score-episodes", "3")) == 2
    assert "expected results with the settings of this" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--tasks", "no-such-game"], "task: expected one of"),
        (["--tasks"], "tasks: expected at least one task, got none"),
        (["--tasks", "take-cover", "take-cover"], "tasks: expected distinct values, got take-"),
        (["--tasks", "toy_game:TOY"], "tasks: expected frames of at least 36 × 36 pixels for PPO"),
        (["--seeds"], "seeds: expected at least one"),
        (["--minutes", "0"], "minutes: expected above 0, got 0"),
        (["--score-episodes", "0"], "score_episodes: expected at least 1, got 0"),
        (["--atari-steps", "499"], "atari_steps: expected at least 500, got 499"),
        (["--baseline-stack", "0"], "baseline_stack: expected at least 1, got 0"),
    ],
)
def test_what_is_asked_wrongly(
    more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words(tmp_path, *more)) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("game", ["ALE/Nothing-v5", "pong-without-sticky-actions"])
def test_a_missing_package_is_named_before_any_work(
    game: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(packages, "import_module", missing)
    monkeypatch.setattr(packages.gym, "registry", {})
    assert cli.run(words(tmp_path, "--tasks", "choice_game:DISCRETE", game)) == 2
    assert 'install it with pip install "wmrl[atari]"' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_table() -> None:
    boxing = {"game": "boxing-without-sticky-actions", "env_id": "ALE/Boxing-v5"}
    maze = {"game": "Maze-v0", "env_id": "Maze-v0", "ppo": None}
    rows = [
        {**boxing, "seed": 0, "mean": 50.0, "steps": 100_000, "ppo": {"mean": 9.0}},
        {**boxing, "seed": 1, "mean": 60.0, "steps": 100_000, "ppo": {"mean": 11.0}},
        {**maze, "seed": 0, "mean": 0.5, "steps": 1_200_000},
        {**maze, "seed": 1, "mean": 0.7, "steps": 1_400_000},
    ]
    randoms = [{"game": each["game"], "mean": -0.25} for each in (boxing, maze)]
    rows = [{**row, "returns": [row["mean"]] * 100} for row in rows]
    assert write_table(rows, randoms, Args()) == GOLDEN
    args = Args(minutes=0.5, rounds=1, atari_steps=2000, baseline_stack=1)
    single = write_table(rows[2:3], randoms[1:], args)
    assert "--minutes 0.5 --rounds 1`" in single
    assert "limited to 2,000 agent steps" in single
    assert "are not random" not in single
    assert "hyperparameters, on\nsingle frames of 8" in single
    assert single.endswith("\n| Maze-v0 | 0.50 | -0.25 | – | 1,200,000 | – |\n")


GOLDEN = """\
# Games for which nothing was tuned

Mean returns of 100 episodes of the real game, ± the standard deviation over 2 seeds of
training. The agents are those of `wmrl train --minutes 20 --rounds 5`, with the defaults
of all other settings; Atari games are limited to 100,000 agent steps. PPO
is that of Stable-Baselines3, with `CnnPolicy` and its default hyperparameters, on
stacks of 4 frames of 8 parallel games. It has as many agent steps of the real game, rounded up
to whole rollouts. Published figures are those of Atari games without sticky actions, by
[IRIS](https://arxiv.org/abs/2209.00588) and [SimPLe](https://arxiv.org/abs/1903.00374).
Made by `wmrl reproduce games`; every run is in [results.json](results.json).
Without sticky actions, Atari games are not random, so all episodes of a trained agent are
the same.

| game | `wmrl train` | random play | PPO on frames | agent steps in the game | published, \
after 100,000 agent steps |
| --- | --- | --- | --- | --- | --- |
| boxing-without-sticky-actions | 55.0 ± 7.1 | -0.2 | 10.0 ± 1.4 | 100,000 | IRIS 70.1, \
SimPLe 9.1, random 0.1 |
| Maze-v0 | 0.60 ± 0.14 | -0.25 | – | 1,300,000 ± 141,421 | – |
"""
