"""Folders are recognized for what they are, and messages say which one was meant."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from wmrl.agents.agent import load_agent
from wmrl.data.store import RolloutStore, StoreError
from wmrl.memory.dataset import encode_store
from wmrl.storage.artifact import ArtifactError, find_artifact, load_artifact
from wmrl.storage.recognition import artifacts_below, did_you_mean, recognize
from wmrl.storage.run import Run, RunError
from wmrl.vision.base import load_vision


@pytest.fixture
def home(full: Path, tmp_path: Path) -> Path:
    """A folder with one thing of each kind, of the test's own."""
    shutil.copytree(full, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, make_rollouts: Any, make_tiny: Any) -> Path:
    tiny, tmp_path = make_tiny(), tmp_path_factory.mktemp("home")
    shutil.copytree(make_rollouts((3,)).path, tmp_path / "data")
    encode_store(RolloutStore(tmp_path / "data"), load_vision(tiny.vision, device="cpu"))
    with Run(tmp_path / "run", config={"seed": 1}) as run:
        run.save_checkpoint("last", {"weight": torch.ones(2)}, {"step": 1})
    shutil.copytree(tiny.vision, tmp_path / "run" / "artifact")
    with Run(tmp_path / "unfinished", config={"seed": 1}):
        pass
    whole = tmp_path / "whole"
    with Run(whole, config={"command": "train"}):
        pass
    shutil.copytree(tiny.vision, whole / "round-0" / "vision" / "artifact")
    shutil.copytree(tiny.memory, whole / "round-0" / "memory" / "artifact")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "score.json").write_text(json.dumps({"mean": 1.0, "returns": [1.0]}))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    (tmp_path / "photos" / ".hidden").write_bytes(b"")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".gitignore").write_bytes(b"")
    (tmp_path / "hidden" / ".git").mkdir()
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "train-images-idx3-ubyte.gz").write_bytes(b"")
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr" / "zarr.json").write_text(json.dumps({"attributes": {}}))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "kind", "description"),
    [
        ("data", "store", "a rollout store"),
        ("data/episodes/00000000", "other", "an episode of a rollout store"),
        ("data/latents", "latents", "the latents of a rollout store"),
        ("run", "run", "the folder of a run"),
        ("unfinished", "run", "the folder of a run"),
        ("run/artifact", "artifact", "an artifact of kind 'vision'"),
        ("empty", "empty", "an empty folder"),
        ("nowhere", "nothing", "nothing at that path"),
        ("file", "file", "a file"),
        ("file/below", "nothing", "nothing at that path"),
        ("score.json", "result", "the result of an evaluation"),
        ("photos", "other", "a folder of other files (such as 'a.png')"),
        ("hidden", "other", "a folder of other files (such as '.git')"),
        ("digits", "other", "a set of labeled images (IDX files)"),
        ("zarr", "other", "a Zarr dataset that is not a rollout store"),
        ("a\0b", "nothing", "nothing at that path"),
    ],
)
def test_recognize(home: Path, path: str, kind: str, description: str) -> None:
    found = recognize(home / path)
    assert (found.kind, found.description) == (kind, description)


def test_latents_are_recognized_by_their_files(home: Path) -> None:
    (folder,) = (each for each in (home / "data" / "latents").iterdir() if each.is_dir())
    moved = folder.rename(home / "moved")
    assert recognize(moved).kind == "latents"


def test_a_run_stands_for_its_artifact(home: Path) -> None:
    assert find_artifact(home / "run") == home / "run" / "artifact"
    assert load_artifact(home / "run", kind="vision").path == home / "run" / "artifact"
    loaded = load_vision(home / "run", device="cpu")
    assert loaded.digest == load_vision(home / "run" / "artifact", device="cpu").digest


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("unfinished", "the folder of a run without an artifact; repeat the command of the run"),
        ("whole", "the folder of a run; did you mean .*round-0/memory/artifact or .*vision/artif"),
        ("whole/round-0", r"did you mean .*/round-0/memory/artifact or .*/vision/artifact\?"),
        ("run/artifact/model.safetensors", "a file; did you mean .*/run/artifact"),
        ("data", "got a rollout store"),
        ("data/latents", "got the latents of a rollout store"),
        ("photos", "a folder of other files"),
        ("score.json", "got the result of an evaluation"),
        ("empty", "got an empty folder"),
        ("nowhere", "got nothing at that path"),
        ("a\0b", "got nothing at that path"),
    ],
)
def test_where_an_artifact_is_expected(home: Path, path: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        load_artifact(home / path)
    assert "remove" not in str(caught.value)  # it may be the user's trained model


def test_only_artifacts_of_the_kind_are_suggested(home: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        load_vision(home / "whole")
    assert "vision/artifact" in str(caught.value)
    assert "memory/artifact" not in str(caught.value)
    with pytest.raises(ArtifactError, match="expected an artifact of kind 'agent', got 'vision'"):
        load_agent(home / "run")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("run", "got the folder of a run; use another path"),
        ("run/artifact", "got an artifact of kind 'vision'"),
        ("data/episodes", "did you mean .*/data"),
        ("file", "got a file"),
        ("nowhere", "no rollout store there; record one"),
        ("empty", "no rollout store there; record one"),
        ("digits", "got a set of labeled images"),
        (".", r"did you mean .*/data\?"),
    ],
)
def test_where_a_store_is_expected(home: Path, path: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        RolloutStore(home / path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("run/artifact", "got an artifact of kind 'vision'; choose another folder"),
        ("data", "got a rollout store; choose another folder"),
        ("data/latents", "got the latents of a rollout store"),
        ("file", "expected a folder, got .*file.* is a file"),
        ("file/below", "expected a folder, got .*file.* is a file"),
    ],
)
def test_where_a_run_is_expected(home: Path, path: str, message: str) -> None:
    before = sorted(str(each) for each in home.rglob("*"))
    with pytest.raises(RunError, match=message):
        Run(home / path, config={"seed": 1})
    assert sorted(str(each) for each in home.rglob("*")) == before  # nothing was written


def test_long_lists_are_cut(home: Path) -> None:
    for number in range(5):
        shutil.copytree(home / "run" / "artifact", home / "many" / f"model-{number}")
    clause = did_you_mean(home / "many", "artifact")
    assert clause.count("model-") == 3
    assert clause.endswith("(of 5)?")


def test_all_artifacts_of_a_folder(home: Path) -> None:
    shutil.copytree(home / "run" / "artifact", home / "data" / "artifact")  # in a store
    shutil.copytree(home / "run" / "artifact", home / ".hidden")
    deep = home / "a" / "b" / "c" / "d" / "e"
    shutil.copytree(home / "run" / "artifact", deep)
    (home / "link").symlink_to(deep)
    expected = [
        deep,
        home / "run" / "artifact",
        home / "whole" / "round-0" / "memory" / "artifact",
        home / "whole" / "round-0" / "vision" / "artifact",
    ]
    assert list(artifacts_below(home)) == expected
    assert list(artifacts_below(deep)) == [deep]
    assert list(artifacts_below(home / "empty")) == []
    for path in ("nowhere", "file"):
        with pytest.raises(ValueError, match="folder: expected a folder, got"):
            list(artifacts_below(home / path))
