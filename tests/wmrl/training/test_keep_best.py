"""The best checkpoint, kept as an artifact."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from wmrl.storage.artifact import load_artifact, save_artifact
from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import CallbackError, RunContext
from wmrl.training.keep_best import KeepBest

LOSSES = {2: 3.0, 4: 1.0, 6: 2.0, 8: 1.0, 10: 5.0}


def play(
    path: Path,
    *callbacks: KeepBest,
    rows: Mapping[int, Mapping[str, float]] | None = None,
    checkpoints: Iterable[int] = (4, 6, 8, 10, 11),
    step: int = 0,
    warm_up: int = 0,
) -> None:
    """Runs a training whose only weight is the number of its step."""
    rows = {at: {"loss": loss} for at, loss in LOSSES.items()} if rows is None else rows
    checkpoints = sorted(checkpoints)
    now = step

    def save(folder: Path, *, provenance: Mapping[str, Any]) -> str | None:
        if now <= warm_up:
            return None
        weight = {"step": torch.tensor([float(now)])}
        return save_artifact(
            folder, kind="prior", class_name="Toy", config={}, tensors=weight, provenance=provenance
        )

    context = RunContext(
        name="toy",
        path=path,
        step=step,
        checkpoint=path / "last.checkpoint" if step in checkpoints else None,
        save=save,
    )
    with CallbackList(callbacks, context, progress=False) as called:
        for now in range(step + 1, 12):
            if now in rows:
                called.log(now, rows[now])
            if now in checkpoints:
                called.checkpoint(now, path / "last.checkpoint")


def kept(path: Path) -> tuple[float, dict[str, Any]]:
    """Step of the weights that were kept, and what the artifact says about them."""
    artifact = load_artifact(path)
    return artifact.tensors["step"].item(), artifact.provenance["best"]


@pytest.mark.parametrize(("mode", "step"), [("min", 4), ("max", 10)])
def test_the_first_of_the_best_checkpoints_is_kept(tmp_path: Path, mode: Any, step: int) -> None:
    play(tmp_path, KeepBest("loss", mode=mode))
    best = {"measure": "loss", "mode": mode, "value": LOSSES[step], "step": step}
    assert kept(tmp_path / "best") == (step, best)


def test_only_rows_at_checkpoints_count(tmp_path: Path) -> None:
    rows = {3: {"loss": 0.0}, 6: {"loss": 2.0}, 8: {"loss": 3.0, "score": 2.0}}
    play(
        tmp_path, KeepBest("loss", mode="min"), KeepBest("score", mode="max", folder="s"), rows=rows
    )
    assert kept(tmp_path / "best")[0] == 6
    assert kept(tmp_path / "s")[0] == 8


def test_what_is_of_no_use_yet_is_passed_over(tmp_path: Path) -> None:
    play(tmp_path, KeepBest("loss", mode="min"), warm_up=4)
    assert kept(tmp_path / "best")[0] == 8


@pytest.mark.parametrize("reached", [4, 6, 8, 10])
@pytest.mark.parametrize("lost", [False, True])
def test_a_killed_run_keeps_the_same(tmp_path: Path, reached: int, lost: bool) -> None:
    """The process is killed after a checkpoint, with or without having told the callbacks."""
    first = [at for at in (4, 6, 8, 10) if at < reached or (at == reached and not lost)]
    play(tmp_path, KeepBest("loss", mode="min"), checkpoints=first)
    for step in (reached, 4):  # it may also fall back to an earlier checkpoint
        play(tmp_path, KeepBest("loss", mode="min"), step=step)
        assert kept(tmp_path / "best")[0] == 4


def test_the_checkpoint_of_an_interruption_does_not_count(tmp_path: Path) -> None:
    play(tmp_path, KeepBest("loss", mode="min"), checkpoints=[6])
    # The row of step 4 is better, but an uninterrupted run has no checkpoint there.
    play(tmp_path, KeepBest("loss", mode="min"), checkpoints=[6], step=4)
    assert kept(tmp_path / "best")[0] == 6


def test_a_damaged_artifact_is_replaced(tmp_path: Path) -> None:
    play(tmp_path, KeepBest("loss", mode="min"))
    weights = tmp_path / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="the next checkpoint replaces it"):
        play(tmp_path, KeepBest("loss", mode="min"), step=6)
    assert kept(tmp_path / "best")[0] == 8


def test_other_folders_are_not_replaced(tmp_path: Path) -> None:
    play(tmp_path, KeepBest("loss", mode="min"))
    message = r"folder: expected nothing, or the best by 'loss' \(max\), got .*best, which holds"
    with pytest.raises(CallbackError, match=message):
        play(tmp_path, KeepBest("loss", mode="max"))
    with pytest.raises(CallbackError, match="which holds something else"):
        play(tmp_path, KeepBest("loss", mode="min", folder="tensorboard"))
    assert kept(tmp_path / "best")[0] == 4


def test_a_measure_that_is_never_logged_is_told(tmp_path: Path) -> None:
    message = "measure: expected one of loss, got 'lost', which was not logged"
    with pytest.warns(UserWarning, match=message):
        play(tmp_path, KeepBest("lost", mode="min"))
    with pytest.warns(UserWarning, match=message):
        play(tmp_path, KeepBest("lost", mode="min"), step=10, rows={})
    context = RunContext(name="toy", path=tmp_path, step=10, save=lambda path, provenance: None)
    with (
        pytest.raises(ZeroDivisionError),  # it may have been logged later
        CallbackList([KeepBest("lost", mode="min")], context),
    ):
        raise ZeroDivisionError
    assert not (tmp_path / "best").exists()


def test_trainings_without_artifacts_are_refused(tmp_path: Path) -> None:
    for context, message in (
        (RunContext(name="toy"), "expected the folder of a run, got none in the training 'toy'"),
        (RunContext(name="toy", path=tmp_path), "expected a training that can save an artifact"),
    ):
        with (
            pytest.raises(CallbackError, match=message),
            CallbackList([KeepBest("loss", mode="min")], context),
        ):
            pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"measure": ""}, "measure: expected a non-empty name"),
        ({"mode": "least"}, "mode: expected one of"),
        ({"folder": "a/b"}, "folder: expected the name of a folder"),
        ({"folder": "artifact"}, "folder: expected the name of a folder"),
        ({"folder": ".best"}, "folder: expected the name of a folder"),
    ],
)
def test_wrong_arguments_are_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        KeepBest(**{"measure": "loss", "mode": "min"} | given)  # type: ignore[arg-type]
