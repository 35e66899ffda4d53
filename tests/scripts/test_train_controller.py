import json
from pathlib import Path
from typing import Any

import pytest

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent
from wmrl.agents.policy_search.posterior_agent import PosteriorAgent
from wmrl.agents.sb3.agent import SB3Agent
from wmrl.scripts.cli import run
from wmrl.scripts.train_controller import _ALGORITHMS_OF
from wmrl.storage.artifact import load_artifact
from wmrl.training.metrics import read_metrics


@pytest.fixture
def words(tiny: Any, tmp_path: Path) -> list[str]:
    return [
        *("train-controller", str(tmp_path / "run"), "--device", "cpu"),
        *("--vision", str(tiny.vision), "--memory", str(tiny.memory), "--agent-steps", "4"),
    ]


SCORES = ["--score-every", "2", "--score-episodes", "1", "--workers", "0"]
EVOLUTION = [
    "--algorithm",
    "cma-es",
    "--generations",
    "2",
    "--population-size",
    "4",
    "--num-rollouts",
    "2",
]


def test_evolution_in_a_dream(words: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run([*words, *EVOLUTION, *SCORES]) == 0
    assert str(tmp_path / "run" / "artifact") in capsys.readouterr().out
    agent = load_agent(tmp_path / "run" / "artifact")
    assert isinstance(agent, ControllerAgent)
    assert Path(agent.world_model.vision).is_absolute()
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert ["score/mean" in row for row in rows] == [False, True]


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_evolution_in_the_game_starts_from_an_agent(words: list[str], tmp_path: Path) -> None:
    real = [*words, *EVOLUTION, "--env", "real", "--num-envs", "3", "--workers", "0"]
    assert run([*real, "--hidden-dims", "3"]) == 0
    first = tmp_path / "run" / "artifact"
    real[1] = str(tmp_path / "more")
    assert run([*real, "--init", str(first)]) == 0
    agent = load_agent(tmp_path / "more" / "artifact")
    assert isinstance(agent, ControllerAgent)
    assert agent.config.hidden_dims == (3,)


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("rank", ["0", "2"])
def test_a_posterior_in_a_dream(words: list[str], tmp_path: Path, rank: str) -> None:
    options = ["--algorithm", "variational", *EVOLUTION[2:], "--rank", rank, "--alpha-final", "1"]
    assert run([*words, *options, *SCORES]) == 0
    agent = load_agent(tmp_path / "run" / "artifact")
    assert isinstance(agent, PosteriorAgent)
    assert agent.directions.shape[1] == int(rank)
    assert load_artifact(tmp_path / "run" / "artifact").provenance["algorithm"] == "variational"
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [row["posterior/alpha"] for row in rows] == [0.1, 1.0]
    # Options reach the search.
    words[1] = str(tmp_path / "other")
    assert run([*words, *options, "--learning-rate", "3"]) == 0
    other = read_metrics(tmp_path / "other" / "metrics.csv")
    assert other[0]["fitness/mean"] == rows[0]["fitness/mean"]  # before the first step
    assert other[0]["posterior/mean_norm"] > 2 * rows[0]["posterior/mean_norm"]
    assert ["score/mean" in row for row in rows] == [False, True]


@pytest.mark.parametrize("env", ["dream", "real"])
def test_ppo(words: list[str], tmp_path: Path, env: str) -> None:
    options = ["--env", env, "--num-envs", "4", "--steps", "100", "--hidden-dims", "4"]
    options += ["--reward-scale", "0.2", "--seed", "3"]
    workers = ["--workers", "0"] if env == "real" else []
    assert run([*words, *options, *workers]) == 0
    agent = load_agent(tmp_path / "run" / "artifact")
    assert isinstance(agent, SB3Agent)
    provenance = load_artifact(tmp_path / "run" / "artifact").provenance
    assert provenance["command"] == "train-controller"
    assert provenance["seed"] == 3
    assert provenance["steps"] >= 100
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["config"]["reward_scale"] == 0.2


@pytest.mark.parametrize("algorithm", ["ppo", "cma-es", "variational"])
def test_options_of_other_algorithms_are_refused(
    words: list[str], tmp_path: Path, algorithm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those of dreams in the game: they would have no effect."""
    for name, algorithms in _ALGORITHMS_OF.items():
        if algorithm in algorithms:
            continue
        value = "ranks" if name == "returns" else "2"
        option = f"--{name.replace('_', '-')}"
        assert run([*words, "--algorithm", algorithm, option, value]) == 2
        assert f"{name}: expected no value with '{algorithm}', got " in capsys.readouterr().err
    if algorithm != "ppo":
        assert run([*words, "--algorithm", algorithm, "--num-envs", "4"]) == 2
        message = f"num_envs: expected no value with '{algorithm}' in the dream"
        assert message in capsys.readouterr().err
    real = [*words, "--algorithm", "cma-es", "--env", "real"]
    for option in (["--action-noise", "0.1"], ["--temperature", "1.2"], ["--dropout"]):
        assert run([*real, *option]) == 2
        assert "expected no value with --env real, got " in capsys.readouterr().err
    for name, value in (("base", "'CarRacing-v3'"), ("workers", "0")):
        assert run([*words, "--algorithm", algorithm, f"--{name}", value.strip("'")]) == 2
        message = f"{name}: expected no value with --env dream and without --score-every"
        assert f"{message}, got {value}; " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_errors(words: list[str], agent_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--memory", "none"]) == 2
    assert "memory: expected a memory model with --env dream" in capsys.readouterr().err
    assert run([*words, "--init", str(agent_path)]) == 2
    assert "init: expected an SB3Agent, got a ControllerAgent" in capsys.readouterr().err
