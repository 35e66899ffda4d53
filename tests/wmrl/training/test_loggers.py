"""Metrics in files: the same whether a run was interrupted or not."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmrl.training.callback_list import CallbackList
from wmrl.training.callbacks import Callback, RunContext
from wmrl.training.loggers import CSVLogger, TensorBoardLogger, log_images
from wmrl.training.metrics import read_metrics


def write(
    logger: Callback, folder: Path, rows: Mapping[int, Mapping[str, float]], *, resumed: int = 0
) -> None:
    """Writes rows by a logger, in a run that is resumed at a step."""
    logger.start(RunContext(name="test", path=folder, step=resumed))
    for step, metrics in rows.items():
        logger.log(step, metrics)
    logger.sync()
    logger.end(None)


def rows(steps: range) -> dict[int, dict[str, float]]:
    """Rows of which the later ones have a column that is new, and has a comma."""
    return {
        step: {"loss": 1 / step} | ({"score, mean": step * 0.1} if step >= 4 else {})
        for step in steps
    }


def log(folder: Path, steps: range, *, resumed: int = 0) -> None:
    write(CSVLogger(), folder, rows(steps), resumed=resumed)


def test_rows_come_back_exactly(tmp_path: Path) -> None:
    log(tmp_path, range(1, 6))
    found = read_metrics(tmp_path / "metrics.csv")
    assert found[2] == {"step": 3, "loss": 1 / 3}
    assert found[4] == {"step": 5, "loss": 0.2, "score, mean": 0.5}
    assert isinstance(found[0]["step"], int)
    assert (tmp_path / "metrics.csv").read_text().startswith('step,loss,"score, mean"\n1,1.0,\n')


@pytest.mark.parametrize("reached", [3, 4, 7])
@pytest.mark.parametrize("resumed", [0, 1, 2, 3])
def test_resumed_file_equals_uninterrupted_one(tmp_path: Path, reached: int, resumed: int) -> None:
    log(tmp_path / "whole", range(1, 9))
    log(tmp_path / "cut", range(1, reached + 1))  # got beyond its last checkpoint
    log(tmp_path / "cut", range(resumed + 1, 9), resumed=resumed)
    whole, cut = (tmp_path / name / "metrics.csv" for name in ("whole", "cut"))
    assert cut.read_bytes() == whole.read_bytes()


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    log(tmp_path, range(1, 4))
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-3])
    assert [row["step"] for row in read_metrics(path)] == [1, 2]
    log(tmp_path, range(3, 9), resumed=2)
    log(tmp_path / "whole", range(1, 9))
    assert path.read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()


def test_a_damaged_line_stops_no_run(tmp_path: Path) -> None:
    log(tmp_path, range(1, 6))
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(b"3,0.3333", b"3,0.\xff333"))
    with pytest.warns(UserWarning, match=r"metrics\.csv: 1 damaged lines are skipped"):
        log(tmp_path, range(6, 8), resumed=5)
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 4, 5, 6, 7]


def test_a_new_run_starts_an_empty_file(tmp_path: Path) -> None:
    log(tmp_path, range(1, 4))
    log(tmp_path, range(1, 2))
    assert len(read_metrics(tmp_path / "metrics.csv")) == 1
    assert read_metrics(tmp_path / "none.csv") == []


@pytest.mark.parametrize("logger", [CSVLogger(), TensorBoardLogger()])
def test_a_training_without_a_folder_has_no_files(logger: Callback) -> None:
    message = f"^context.path: expected the folder of a run.*leave {type(logger).__name__} out"
    with pytest.raises(ValueError, match=message):
        logger.start(RunContext(name="demo"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # protobuf's, inside TensorBoard
def test_tensorboard_forgets_what_is_logged_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(TensorBoardLogger(), tmp_path, {step: {"loss": step} for step in range(5)})
    write(TensorBoardLogger(), tmp_path, {3: {"loss": 30}}, resumed=2)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(0, 0), (1, 1), (2, 2), (3, 30)]


def test_synced_rows_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bytes]] = []

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        if path.is_file():
            synced.append((path.name, path.read_bytes()))

    with CallbackList([], RunContext(name="test", path=tmp_path)) as callbacks:
        callbacks.log(1, {"loss": 2.0})
        callbacks.log(2, {"loss": 1.0})
        monkeypatch.setattr(os, "fsync", record)
        callbacks.sync()
    assert dict(synced)["metrics.csv"] == b"step,loss\n1,2.0\n2,1.0\n"
    events = [data for name, data in synced if name.startswith("events.")]
    assert events
    assert events[0].count(b"loss") == 2


class _FullDisk:
    """A file of TensorBoard's events on a disk that fills up."""

    def __init__(self, writer: Any, limit: int) -> None:
        self._writer, self._left = writer, limit

    def write(self, data: bytes) -> None:
        if self._left == 0:
            raise OSError(28, "No space left on device")
        self._left -= 1
        self._writer.write(data)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_training_goes_on_without_tensorboard_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], limit: int
) -> None:
    from tensorboard.summary.writer import event_file_writer

    whole = event_file_writer.RecordWriter
    monkeypatch.setattr(
        event_file_writer, "RecordWriter", lambda file: _FullDisk(whole(file), limit)
    )

    def log_both() -> None:
        with CallbackList([], RunContext(name="test", path=tmp_path)) as callbacks:
            for step, metrics in rows(range(1, 30)).items():
                callbacks.log(step, metrics)
            callbacks.sync()

    with pytest.warns(UserWarning, match=r"TensorBoard's events cannot be written.*No s") as told:
        log_both()
    assert len(told) == 1
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.csv")] == list(range(1, 30))
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_in_the_place_of_tensorboards_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.warns(UserWarning, match="the run goes on without them"):
        write(TensorBoardLogger(), tmp_path, rows(range(1, 3)))
    with pytest.warns(UserWarning, match="the run goes on without them"):
        log_images(tmp_path, {"image": np.zeros((4, 4, 3), np.uint8)})


def test_errors_of_other_threads_are_still_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    with CallbackList([], RunContext(name="test", path=tmp_path)):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    assert [failure.exc_type for failure in reported] == [ZeroDivisionError]


def test_a_full_disk_is_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with CallbackList([], RunContext(name="test", path=tmp_path)) as callbacks:
        callbacks.log(1, {"loss": 1.0})
        monkeypatch.setattr(Path, "open", fail)
        with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device$"):
            callbacks.log(2, {"loss": 1.0})
