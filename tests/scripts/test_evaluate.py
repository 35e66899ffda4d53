import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_game import STEERED, TOY
from toy_hub import ToyHub
from toy_models import toy_agent

from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
from wmrl.export.hub import push_to_hub
from wmrl.scripts.cli import run
from wmrl.scripts.evaluate import _default_out
from wmrl.storage.artifact import load_artifact


def test_a_dream_score(agent_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "score.json"
    words = ["evaluate", str(agent_path), "--dream", "--agent-steps", "5", "--episodes", "4"]
    assert run([*words, "--out", str(out)]) == 0
    result = EvaluationResult.load(out)
    assert (result.agent, result.base, result.episodes) == (str(agent_path), "dream", 4)
    assert result.digest == load_artifact(agent_path).digest
    assert max(result.lengths) <= 5
    printed = capsys.readouterr().out
    assert f"{result.mean:.1f} ± {result.std:.1f}" in printed
    assert str(out) in printed


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_a_real_score(agent_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run_name in ("first", "second"):  # whose artifacts have the same name
        shutil.copytree(agent_path, tmp_path / run_name / "artifact")
    words = ["evaluate", "first/artifact", "--episodes", "1", "--base", "vsg/CarRacing-v3"]
    assert run([*words, "--workers", "1"]) == 0
    assert not list((tmp_path / "second").glob("*.json"))
    result = EvaluationResult.load(tmp_path / "first" / "artifact-vsg-CarRacing-v3.json")
    assert result.base == "vsg/CarRacing-v3"
    assert result.seeds == (1_000_000,)


@pytest.mark.parametrize(
    ("base", "file"),
    [
        ("CarRacing-v3", "random-CarRacing-v3.json"),
        ("vsg/CarRacing-v3", "random-vsg-CarRacing-v3.json"),
        ("toy_game:Toy-v0", "random-toy_game-Toy-v0.json"),
        ("dream", "random-dream.json"),
    ],
)
def test_each_environment_has_a_result_file_of_its_own(base: str, file: str) -> None:
    assert _default_out("random", base) == Path("runs/results") / file


def test_agents_without_a_folder_of_their_own_have_results_elsewhere(
    hub: ToyHub, agent_path: Path
) -> None:
    push_to_hub(agent_path, "ada/car")
    for name, expected in (
        ("hf://ada/car", "runs/results/ada-car-dream.json"),
        ("car-racing-dream", "runs/results/car-racing-dream-dream.json"),
        (str(agent_path), f"{agent_path}-dream.json"),
    ):
        assert _default_out(name, "dream") == Path(expected)


def test_a_task_of_ones_own(
    make_tiny: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    agent, out = toy_agent(make_tiny, tmp_path), tmp_path / "score.json"
    words = ["evaluate", str(agent), "--episodes", "2", "--workers", "0", "--out", str(out)]
    assert run(words) == 2
    assert "pass --task module:ATTRIBUTE" in capsys.readouterr().err
    assert run([*words, "--task", "toy_game:STEERED"]) == 0
    result = EvaluationResult.load(out)
    assert (result.task, result.base) == ("steered-toy", "toy_game:Toy-v0")
    played = evaluate(agent, task=STEERED, episodes=2, workers=0)
    assert played.returns == result.returns  # the same by Python
    dreamed = evaluate_dream(agent, task=STEERED, episodes=2, agent_steps=3, device="cpu")
    assert dreamed.task == "steered-toy"
    with pytest.raises(ValueError, match="task: expected the task 'steered-toy' that the agent"):
        evaluate(agent, task=TOY, episodes=2, workers=0)


def test_random_actions_in_a_task_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "score.json"
    words = ["evaluate", "random", "--task", "toy_game:TOY", "--episodes", "1", "--workers", "0"]
    assert run([*words, "--out", str(out)]) == 0
    assert EvaluationResult.load(out).task == "toy"


def test_outputs_are_tried_before_the_work(
    agent_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("")
    monkeypatch.setattr("wmrl.agents.evaluation.scoring.run_episodes", None)  # would be called
    for out, message in (
        (".", "out: expected a file, got the folder '.'"),
        ("taken/score.json", "'taken' is a file"),
        ("/proc/score.json", "can't be written"),
    ):
        words = ["evaluate", str(agent_path), "--dream", "--out", out]
        assert run(words) == 2
        assert message in capsys.readouterr().err
    default = agent_path.parent / "agent-dream.json"
    default.mkdir()
    assert run(["evaluate", str(agent_path), "--dream"]) == 2
    assert "out: expected a file, got the folder" in capsys.readouterr().err


def test_nothing_is_written_into_an_artifact(
    agent_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed folder would no longer pass its checksums."""
    artifact = tmp_path / "run" / "artifact"
    shutil.copytree(agent_path, artifact)
    monkeypatch.chdir(artifact)
    assert run(["evaluate", ".", "--dream", "--agent-steps", "2", "--episodes", "1"]) == 0
    assert (tmp_path / "run" / "artifact-dream.json").exists()
    load_artifact(artifact)


def test_errors(capsys: pytest.CaptureFixture) -> None:
    assert run(["evaluate", "random", "--dream"]) == 2
    assert "expected an agent with a world model, got 'random'" in capsys.readouterr().err
    assert run(["evaluate", "random", "--seed", "7"]) == 2
    assert "other seeds are for training" in capsys.readouterr().err
