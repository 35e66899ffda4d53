"""``wmrl reproduce policies``."""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pytest
from toy_game import STEERED

from wmrl.agents.policy_search.fitness import DreamFitnessConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.scripts import cli
from wmrl.scripts.reproduce.policies import experiment as experiment_module
from wmrl.scripts.reproduce.policies.command import write_table
from wmrl.storage.reading import read_json


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrinks the settings that have no option."""
    trial = partial(
        experiment_module.PolicyTrialConfig,
        population_size=4,
        fitness=DreamFitnessConfig(agent_steps=8),
        ppo=PPOConfig(rollout_steps=8, chunk_rollouts=1, batch_size=16, n_epochs=1),
        num_envs=4,
        dream_episodes=2,
    )
    monkeypatch.setattr(experiment_module, "PolicyTrialConfig", trial)


@pytest.mark.usefixtures("_tiny")
def test_a_short_run_and_nothing_is_made_twice(
    tmp_path: Path, make_tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = make_tiny(STEERED)
    out, work = tmp_path / "out", tmp_path / "work"
    words = ["reproduce", "policies", "--task", "toy_game:STEERED", "--workers", "0"]
    words += ["--vision", str(tiny.vision), "--memory", str(tiny.memory), "--device", "cpu"]
    words += ["--methods", "cma-es", "variational", "ppo", "--generations", "2"]
    words += ["--num-rollouts", "2", "--score-episodes", "2", "--seeds", "3"]
    words += ["--num-samples", "3", "--sample-episodes", "1", "--video-agent-steps", "4"]
    words += ["--out", str(out), "--work", str(work)]
    assert cli.run(words) == 0
    assert (out / "table.md").read_text() in capsys.readouterr().out
    video = cv2.VideoCapture(str(out / "drawn.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) >= 1
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) > 8 * 200
    video.release()
    report = read_json(out / "results.json")
    assert [row["method"] for row in report["rows"]] == ["cma-es", "variational", "ppo"]
    assert {row["steps"] for row in report["rows"]} == {2 * 4 * 2 * 8}
    assert [each["scale"] for each in report["spreads"]] == [0.0, 0.5, 1.0, 2.0]
    made = {file: file.stat().st_mtime_ns for file in work.rglob("*.safetensors")}
    assert made
    assert cli.run(words) == 0
    assert {file: file.stat().st_mtime_ns for file in work.rglob("*.safetensors")} == made
    assert read_json(out / "results.json") == report


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "sgd"], "methods: expected some of cma-es"),
        (["--seeds"], "seeds: expected at least one"),
        (["--seeds", "0", "-1"], "seeds: expected at least 0, got -1"),
        (["--seeds", "0", "0"], "seeds: expected distinct values, got 0, 0"),
        (["--methods", "ppo", "ppo"], "methods: expected distinct values, got ppo, ppo"),
        (["--num-samples", "1"], "num_samples: expected at least 2, got 1"),
        (["--sample-episodes", "0"], "episodes: expected at least 1, got 0"),
        (["--score-episodes", "0"], "episodes: expected at least 1, got 0"),
        (["--video-agent-steps", "-1"], "video_agent_steps: expected at least 0, got -1"),
    ],
)
def test_what_is_asked_wrongly(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.run(["reproduce", "policies", "--out", str(out), *words]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_the_table() -> None:
    def row(method: str, seed: int, dream: float) -> dict[str, Any]:
        about = {"steps": 3_000_000, "returns": [1.0] * 9, "base": "Game-v0", "seconds": 90.0}
        return {"method": method, "seed": seed, "dream": dream, "mean": 10 * dream, **about}

    rows = [row("cma-es", 0, 10.0), row("cma-es", 1, 12.0), row("ppo", 0, 22.0)]
    lines = write_table(rows, [], 3, 2).splitlines()
    assert lines[-2:] == [
        "| CMA-ES | 11.0 ± 1.4 | 100% | 110 ± 14 | 1.5 ± 0.0 |",
        "| PPO (Stable-Baselines3) | 22.0 | 200% | 220 | 1.5 |",
    ]
    assert "Each has 3.0 million dreamed agent steps" in lines[2]
    spreads = [
        {"method": "variational", "seed": 0, "scale": 0.0, "dream": [1.0], "real": [5.0]},
        {"method": "variational", "seed": 0, "scale": 2.0, "dream": [1.0, 2.0], "real": [4.0, 8.0]},
    ]
    spreads[0]["correlation"], spreads[1]["correlation"] = None, -0.5
    losing = [row("cma-es", 0, -2.0), row("ppo", 0, -4.0)]
    assert "| PPO (Stable-Baselines3) | -4.0 | – | -40 | 1.5 |" in write_table(losing, [], 3, 2)
    assert "some on the same track" not in write_table(rows, spreads, 3, 2)
    assert "drawn.mp4" not in write_table(rows, spreads, 3, 2)
    lines = write_table([row("variational", 0, 1.0)], spreads, 3, 2, video="drawn.mp4").splitlines()
    assert "ranks agents. [drawn.mp4](drawn.mp4) shows" in "\n".join(lines)
    assert "| variational search, on ranks | 1.0 | – | 10 | 1.5 |" in lines
    assert lines[-2:] == [
        "| variational search, on ranks | the mean alone | 1.0 | 5 | – | – |",
        "| variational search, on ranks | 2 | 1.5 | 6 | 3 | -0.50 |",
    ]
