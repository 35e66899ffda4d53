"""``wmrl reproduce take-cover``, with a tiny game in place of Doom."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.cma_es import CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitnessConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.scripts import cli
from wmrl.scripts.reproduce.take_cover import experiment as experiment_module
from wmrl.scripts.reproduce.take_cover.command import write_table
from wmrl.storage.reading import read_json


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrinks the settings that have no option."""
    trial = partial(
        experiment_module.AgentTrialConfig,
        ppo=PPOConfig(rollout_steps=8, chunk_rollouts=1, batch_size=16, n_epochs=1),
        num_envs=4,
        cma_es=CMAESConfig(population_size=4),
        fitness=DreamFitnessConfig(num_rollouts=2, agent_steps=4),
        agent_steps=6,
        dream_episodes=3,
    )
    monkeypatch.setattr(experiment_module, "AgentTrialConfig", trial)


@pytest.mark.usefixtures("_tiny")
def test_a_short_run_and_nothing_is_made_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    words = ["reproduce", "take-cover", "--task", "choice_game:DISCRETE", "--workers", "0"]
    words += ["--learners", "ppo", "cma-es", "--temperatures", "1", "0.1", "--seeds", "3"]
    words += ["--episodes", "6", "--vision-steps", "2", "--memory-steps", "2"]
    words += ["--hidden-dim", "8", "--num-members", "2", "--ppo-steps", "32"]
    words += ["--generations", "1", "--score-episodes", "2", "--device", "cpu"]
    words += ["--out", str(out), "--work", str(work)]
    assert cli.run(words) == 0
    assert (out / "table.md").read_text() in capsys.readouterr().out
    report = read_json(out / "results.json")
    trials = [(row["learner"], row["temperature"]) for row in report["rows"]]
    assert trials == [("ppo", 1.0), ("ppo", 0.1), ("cma-es", 1.0), ("cma-es", 0.1)]
    assert [each["episodes"] for each in report["random"]] == [6]
    assert all(len(row["returns"]) == 2 for row in report["rows"])
    assert report["rows"][0]["mean"] == pytest.approx(np.mean(report["rows"][0]["returns"]))
    linear = load_agent(work / "seed-3" / "cma-es-1" / "agent")
    assert isinstance(linear, ControllerAgent)
    assert (linear.config.readout, linear.config.num_outputs) == ("thresholds", 1)
    for learner in ("ppo", "cma-es"):  # both observe [z, c, h]
        agent = load_agent(work / "seed-3" / f"{learner}-1" / "agent")
        assert agent.observation_space.shape == (64 + 2 * 8,)
    made = {file: file.stat().st_mtime_ns for file in work.rglob("*.safetensors")}
    assert made
    assert cli.run(words) == 0
    assert {file: file.stat().st_mtime_ns for file in work.rglob("*.safetensors")} == made
    assert read_json(out / "results.json") == report


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--learners", "sgd"], "learners: expected some of ppo, cma-es"),
        (["--seeds"], "seeds: expected at least one"),
        (["--score-episodes", "0"], "episodes: expected at least 1, got 0"),
        (["--temperatures", "0"], "temperatures: expected above 0"),
        (["--task", "no-such-game"], "task: expected one of"),
    ],
)
def test_what_is_asked_wrongly(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert cli.run(["reproduce", "take-cover", *out, *words]) == 2
    assert said in capsys.readouterr().err


def test_the_table_has_means_over_seeds() -> None:
    row = {"learner": "ppo", "temperature": 1.15, "seconds": 60.0, "returns": [1.0, 2.0]}
    rows = [{**row, "dream": 900.0, "mean": 1000.0}, {**row, "dream": 1100.0, "mean": 1200.0}]
    randoms = [{"mean": 300.0, "episodes": 40}, {"mean": 400.0, "episodes": 40}]
    table = write_table(rows, randoms)
    assert (
        "| PPO, a linear policy on [z, c, h] | 1.15 | 1000 ± 141 | 1100 ± 141 | 1.0 ± 0.0 |"
        in table
    )
    assert "| random play, 80 episodes | – | – | 350 ± 71 | – |" in table
    assert "CMA-ES" not in table
