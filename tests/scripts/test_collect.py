"""``wmrl collect``, from the command line to the store."""

from pathlib import Path

import pytest

from wmrl.data.store import RolloutStore
from wmrl.scripts.cli import run
from wmrl.scripts.collect import Args, main


def test_collects_and_prints_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"collect {tmp_path} --task toy_game:TOY --episodes 3 --num-envs 2 --workers 0 --seed 5"
    assert run(words.split()) == 0
    store = RolloutStore(tmp_path)
    assert len(store) == 3
    assert store.metadata.policy["seed"] == 5
    *_, last, following = capsys.readouterr().out.splitlines()
    assert following == f"next: wmrl train-vision {tmp_path} -o runs/vision"
    assert "3 episodes" in last
    assert store.content_hash() in last


def test_frames_are_the_budget_without_episodes(tmp_path: Path) -> None:
    main(Args(tmp_path, task="toy_game:TOY", frames=100, num_envs=1, workers=0, policy="repeated"))
    taken = 3 * sum(summary.length for summary in RolloutStore(tmp_path).summaries)
    assert 100 <= taken < 150


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["collect", str(tmp_path), "--policy", "nobody"]) == 2
    assert "no artifact 'nobody'" in capsys.readouterr().err
    assert run(["collect", str(tmp_path), "--episodes", "0"]) == 2
    assert "episodes: expected at least 1, got 0" in capsys.readouterr().err
