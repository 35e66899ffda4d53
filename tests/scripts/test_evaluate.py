import shutil
from pathlib import Path

import pytest

from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.scripts.cli import run
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


def test_a_real_score(agent_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run_name in ("first", "second"):  # whose artifacts have the same name
        shutil.copytree(agent_path, tmp_path / run_name / "artifact")
    words = ["evaluate", "first/artifact", "--episodes", "1", "--base", "vsg/CarRacing-v3"]
    assert run([*words, "--workers", "1"]) == 0
    assert not (tmp_path / "second" / "artifact-CarRacing-v3.json").exists()
    result = EvaluationResult.load(tmp_path / "first" / "artifact-CarRacing-v3.json")
    assert result.base == "vsg/CarRacing-v3"
    assert result.seeds == (1_000_000,)


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
