import re
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from toy_game import STEERED

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.problems import ControllerProblemConfig
from wmrl.data.store import RolloutStore
from wmrl.envs.world_model import WorldModel
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.scripts import cli
from wmrl.scripts.reproduce.drivers import experiment as experiment_module
from wmrl.scripts.reproduce.drivers import vision_trial as vision_trial_module
from wmrl.scripts.reproduce.drivers.command import write_table
from wmrl.storage.reading import read_json
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import load_vision
from wmrl.vision.vqvae import VQVAEConfig


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that no option makes smaller."""
    few: dict[str, Any] = {"batch_size": 4, "checkpoint_every": 2, "log_every": 2}
    trial = partial(
        vision_trial_module.VisionTrialConfig,
        vision=VQVAEConfig(base_channels=2, codebook_size=8, code_dim=2, warmup_steps=2),
        vision_training=TrainingConfig(**few),
        memory=CodeMemoryConfig(hidden_dim=8, token_dim=4),
        memory_training=MemoryTrainingConfig(**few, sequence_length=8),
        dream=PPOConfig.dream(rollout_steps=8, chunk_rollouts=1, batch_size=16, n_epochs=1),
        num_dreams=4,
        agent_steps=10,
    )
    monkeypatch.setattr(vision_trial_module, "VisionTrialConfig", trial)
    cells = ArchiveConfig(
        shape="grid", dims=(4, 3), low=(0.0, -0.5), high=(1.0, 0.5), qd_score_offset=-9.0
    )
    search = partial(
        experiment_module.DriverSearchConfig, problem=ControllerProblemConfig(archive=cells)
    )
    monkeypatch.setattr(experiment_module, "DriverSearchConfig", search)


def times(*folders: Path) -> dict[Path, int]:
    """Modification times of the files that take time to make."""
    suffixes = (".mp4", ".safetensors", ".json")
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in suffixes]
    return {file: file.stat().st_mtime_ns for file in files}


@pytest.mark.slow
@pytest.mark.usefixtures("_tiny")
def test_a_small_run_whose_results_are_reused(
    tmp_path: Path, make_tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = make_tiny(STEERED)
    out, work = tmp_path / "out", tmp_path / "work"
    words = ["reproduce", "drivers", "--task", "toy_game:STEERED", "--workers", "0"]
    words += ["--vision", str(tiny.vision), "--memory", str(tiny.memory), "--device", "cpu"]
    words += [
        "--cells",
        "4",
        "3",
        "--evolution",
        "1",
        "--generations",
        "2",
        "--num-rollouts",
        "1",
        "--confirm",
        "1",
    ]
    words += ["--episodes", "1", "--min-return", "-1000", "--videos", "3", "--vision-steps", "4"]
    words += ["--memory-steps", "4", "--dream-steps", "64", "--score-episodes", "2"]
    words += ["--seeds", "1", "--out", str(out), "--work", str(work)]
    assert cli.run(words) == 0
    assert (out / "table.md").read_text() in capsys.readouterr().out
    for name in ("dream", "real"):
        assert iio.imread(out / f"{name}.png").std() > 1
    assert (out / "dream.mp4").stat().st_size > 500
    page = (out / "map.html").read_text("utf-8")
    videos = re.findall(r'href="([^"]*)"', page)
    assert videos
    assert {out / video for video in videos} == set((out / "videos").iterdir())
    report = read_json(out / "results.json")
    assert report["search"]["cells"] == 4 * 3
    assert report["search"]["real"]["coverage"] == pytest.approx(len(videos) / 12)
    runs = [(row["data"], row["seed"]) for row in report["trials"]]
    assert runs == [("elite", 1), ("random", 1)]
    assert all(len(row["returns"]) == 2 for row in report["trials"])
    assert all(set(row["vision"]) == {"elite", "random"} for row in report["trials"])
    assert report["data"]["elite"]["episodes"] == len(videos)
    evaluated = report["search"]["evaluated"]
    assert (evaluated["drivers"], evaluated["episodes"]) == (len(videos), 1)
    stores = [RolloutStore(path) for path in sorted((work / "data/elite").iterdir())]
    rewards = [store.summaries[0].reward for store in stores]
    assert evaluated["mean"] == pytest.approx(np.mean(rewards))
    assert evaluated["best"] == pytest.approx(max(rewards))
    assert len(report["data"]["elite"]["hashes"]) == len(videos)
    made = times(work)
    assert {file.suffix for file in made} >= {".mp4", ".safetensors", ".json"}
    assert cli.run([*words, "--ship", str(tmp_path / "shipped")]) == 0
    assert times(work) == made
    again = read_json(out / "results.json")
    assert {**again, "args": report["args"]} == report
    world_model = WorldModel.open(
        STEERED,
        tmp_path / "shipped/car-racing-elite-vqvae",
        tmp_path / "shipped/car-racing-elite-symbols",
        device="cpu",
    )
    trial = work / "vision-elite-1"
    assert world_model.vision.digest == load_vision(trial / "vision/artifact").digest
    driver = load_agent(tmp_path / "shipped/car-racing-elite")
    assert driver.world_model.vision == "car-racing-elite-vqvae"
    assert driver.world_model.memory == "car-racing-elite-symbols"
    for name, said in (("", "± "), ("-vqvae", "| random |"), ("-symbols", "nats")):
        assert said in (tmp_path / f"shipped/car-racing-elite{name}/README.md").read_text("utf-8")


@pytest.mark.usefixtures("_tiny")
def test_heatmaps_only_with_a_given_driver(tmp_path: Path, make_tiny: Any) -> None:
    tiny = make_tiny(STEERED)
    config = ControllerConfig(observation_dim=24, action_space=STEERED.actions)
    weights = np.random.default_rng(0).normal(0, 0.3, config.parameter_count)
    ControllerAgent(config, weights).save(tmp_path / "driver")
    out, work = tmp_path / "out", tmp_path / "work"
    words = ["reproduce", "drivers", "--task", "toy_game:STEERED", "--workers", "0"]
    words += ["--vision", str(tiny.vision), "--memory", str(tiny.memory), "--device", "cpu"]
    words += ["--init", str(tmp_path / "driver"), "--generations", "1", "--num-rollouts", "1"]
    words += ["--confirm", "1", "--videos", "0", "--out", str(out), "--work", str(work), "--seeds"]
    assert cli.run(words) == 0
    assert {path.name for path in work.iterdir()} == {"elites"}
    assert not (out / "videos").exists()
    page = (out / "map.html").read_text("utf-8")
    assert "<a href" not in page
    assert "Click a cell" not in page
    assert read_json(out / "results.json")["trials"] == []
    assert "Training data" not in (out / "table.md").read_text()


def test_the_table_has_a_row_for_each_vision_model() -> None:
    search = {
        "dreamed": {"coverage": 0.5, "mean": 20.25, "best": 90.0},
        "real": {"coverage": 0.25, "mean": -3.0, "best": 812.34},
        "above_500": 7,
        "agent_steps": 40,
        "episodes": 3,
    }
    assert write_table(search, []).splitlines()[-5:] == [
        "| the dream, 40 agent steps | 50.0% | 20.2 | 90.0 |",
        "| the real game | 25.0% | -3.0 | 812.3 |",
        "",
        "In the real game, 7 elites have a mean return of 500 or more in the",
        "3 episodes that also selected the best of each cell, which are biased upwards.",
    ]
    evaluated = {"drivers": 5, "selected_by": 400.0, "mean": 320.0, "best": 500.0, "episodes": 2}
    assert write_table({**search, "evaluated": evaluated}, []).splitlines()[-3:] == [
        "The 5 whose frames were taken have a mean return of 400.0 in",
        "those, and of 320.0 in 2 others each (the best",
        "500.0), which end early if a car is lost.",
    ]

    def row(data: str, seed: int, error: float, mean: float) -> dict[str, Any]:
        vision = {
            "elite": {"squared_error": error, "utilization": 0.5, "encoder_rank": 3.0},
            "random": {"squared_error": 2 * error, "utilization": 0.25, "encoder_rank": 4.0},
        }
        about = {"returns": [1.0] * 9, "base": "Game-v0"}
        return {"data": data, "seed": seed, "vision": vision, "mean": mean, **about}

    rows = [row("random", 0, 9.0, 100.0)]
    rows += [row("elite", seed, 1.0 + seed, 200.0 + 10.0 * seed) for seed in (0, 2)]
    lines = write_table(search, rows).splitlines()
    assert lines[-2:] == [
        "| elites' frames | 2.00 ± 1.41 | 4.00 ± 2.83 | 50.0% ± 0.0% | 25.0% ± 0.0% "
        "| 3.0 ± 0.0 | 4.0 ± 0.0 | 210.0 ± 14.1 |",
        "| random driving | 9.00 | 18.00 | 50.0% | 25.0% | 3.0 | 4.0 | 100.0 |",
    ]
    assert [line.count("|") for line in lines[-4:]] == [9] * 4
    assert "2 seeds of training everything. Squared errors are" in lines
    assert any(line.startswith("9 episodes of Game-v0.") for line in lines)


def test_nothing_to_do_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "drivers", "--out", str(tmp_path / "out")]
    for name, value, least in (("num-rollouts", 0, 1), ("score-episodes", 0, 1), ("videos", -1, 0)):
        assert cli.run([*words, f"--{name}", str(value)]) == 2
        said = f"{name.replace('-', '_')}: expected at least {least}, got {value}"
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
