"""Finished runs whose report or artifact was damaged afterwards."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wmrl.storage.artifact import save_artifact
from wmrl.storage.files import write_json
from wmrl.storage.finished import finished_artifact


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    digest = save_artifact(
        tmp_path / "artifact",
        kind="vision",
        class_name="VAE",
        config={},
        tensors={"w": torch.ones(2)},
    )
    write_json(tmp_path / "report.json", {"digest": digest})
    return tmp_path


def test_a_finished_run_has_its_artifact(finished: Path) -> None:
    found = finished_artifact(finished, kind="vision")
    assert found is not None
    assert found.tensors["w"].tolist() == [1.0, 1.0]


def test_without_a_report_it_is_not_finished(finished: Path) -> None:
    (finished / "report.json").unlink()
    assert finished_artifact(finished, kind="vision") is None


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty report": lambda run: (run / "report.json").write_bytes(b""),
    "report of another": lambda run: write_json(run / "report.json", {"digest": "0" * 64}),
    "cut weights": lambda run: (run / "artifact/model.safetensors").write_bytes(b"123"),
    "no sums": lambda run: (run / "artifact/SHA256SUMS").unlink(),
    "no artifact": lambda run: shutil.rmtree(run / "artifact"),
    "another kind": lambda run: save_artifact(
        run / "artifact", kind="memory", class_name="M", config={}, tensors={}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_and_ends_the_state(finished: Path, damage: str) -> None:
    DAMAGES[damage](finished)
    with pytest.warns(UserWarning, match="written again from the last checkpoint"):
        assert finished_artifact(finished, kind="vision") is None
