"""``wmrl collect``, from the command line to the store."""

import shutil
from pathlib import Path

import pytest

from wmrl.data.store import RolloutStore
from wmrl.scripts.cli import run
from wmrl.scripts.collect import Args, main
from wmrl.storage.artifact import find_artifact


def test_collects_and_prints_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"collect {tmp_path} --task toy_game:TOY --episodes 3 --num-envs 2 --workers 0 --seed 5"
    assert run(words.split()) == 0
    store = RolloutStore(tmp_path)
    assert len(store) == 3
    assert store.metadata.policy["seed"] == 5
    last = capsys.readouterr().out.splitlines()[-1]
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


def test_folders_of_other_things_are_named_before_any_game_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = tmp_path / "artifact"
    shutil.copytree(find_artifact("car-racing-dream"), artifact)
    (tmp_path / "file").write_text("mine")
    for path, found in ((artifact, "the folder of an artifact"), (tmp_path / "file", "a file")):
        before = sorted(path.rglob("*"))
        assert run(["collect", str(path), "--task", "toy_game:TOY", "--episodes", "1"]) == 2
        assert f"got {found}; use another path" in capsys.readouterr().err
        assert run(["inspect", str(path)]) == 2
        assert f"expected a rollout store, got {found}" in capsys.readouterr().err
        assert sorted(path.rglob("*")) == before
