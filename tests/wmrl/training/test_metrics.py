"""Metrics: the same file whether a run was interrupted or not."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmrl.training.metrics import MetricsLogger, log_images, read_metrics


def log(
    folder: Path, steps: range, *, resume_step: int | None = None, tensorboard: bool = False
) -> None:
    with MetricsLogger(folder, resume_step=resume_step, tensorboard=tensorboard) as logger:
        for step in steps:
            values = {"loss": 1 / (step + 1)}
            if step >= 3:
                values["score, mean"] = step * 0.1  # new, and with a comma
            logger.log(step, values)


def test_rows_come_back_exactly(tmp_path: Path) -> None:
    log(tmp_path, range(5))
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows[2] == {"step": 2, "loss": 1 / 3}
    assert rows[4] == {"step": 4, "loss": 0.2, "score, mean": 0.4}
    assert isinstance(rows[0]["step"], int)
    assert (tmp_path / "metrics.csv").read_text().startswith('step,loss,"score, mean"\n0,1.0,\n')


@pytest.mark.parametrize("reached", [3, 4, 7])
@pytest.mark.parametrize("resumed", [-1, 0, 1, 2])
def test_resumed_file_equals_uninterrupted_one(tmp_path: Path, reached: int, resumed: int) -> None:
    log(tmp_path / "whole", range(8))
    log(tmp_path / "cut", range(reached))  # got beyond its last checkpoint
    log(tmp_path / "cut", range(resumed + 1, 8), resume_step=resumed)
    whole, cut = (tmp_path / name / "metrics.csv" for name in ("whole", "cut"))
    assert cut.read_bytes() == whole.read_bytes()


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    log(tmp_path, range(3))
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-3])
    assert [row["step"] for row in read_metrics(path)] == [0, 1]
    log(tmp_path, range(2, 8), resume_step=1)
    log(tmp_path / "whole", range(8))
    assert path.read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()


def test_a_new_run_starts_an_empty_file(tmp_path: Path) -> None:
    log(tmp_path, range(3))
    log(tmp_path, range(1))
    assert len(read_metrics(tmp_path / "metrics.csv")) == 1
    assert read_metrics(tmp_path / "none.csv") == []


def test_errors(tmp_path: Path) -> None:
    with MetricsLogger(tmp_path, tensorboard=False) as logger:
        logger.log(3, {"loss": 1})
        for step in (3, 2):
            with pytest.raises(ValueError, match=f"step: expected more than 3, got {step}"):
                logger.log(step, {"loss": 1})
        with pytest.raises(ValueError, match="expected names other than 'step'"):
            logger.log(4, {"step": 1})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # protobuf's, inside TensorBoard
def test_tensorboard_forgets_what_is_logged_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLogger(tmp_path) as logger:
        for step in range(5):
            logger.log(step, {"loss": step})
    with MetricsLogger(tmp_path, resume_step=2) as logger:
        logger.log(3, {"loss": 30})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(0, 0), (1, 1), (2, 2), (3, 30)]


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        (b"2,0.3333333333333333,\n", b"2,0.33\xff33,\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"2,0.3,1.0,9.0\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"\0\0\0\0\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b'"2,0.3\n', [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"1e3,0.3333333333333333,\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"1,0.3333333333333333,\n", [0, 1, 3, 4]),
        (b"step,", b"stop,", []),
        (b"loss", b"step", []),
    ],
)
def test_a_damaged_line_stops_no_run(tmp_path: Path, old: bytes, new: bytes, kept: list) -> None:
    log(tmp_path, range(5))
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.warns(UserWarning, match=r"metrics\.csv: \d damaged lines are skipped"):
        rows = read_metrics(path)
    assert [row["step"] for row in rows] == kept
    with pytest.warns(UserWarning, match="damaged lines"):
        log(tmp_path, range(5, 7), resume_step=4)
    assert [row["step"] for row in read_metrics(path)] == [*kept, 5, 6]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_special_files_are_not_read(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "metrics.csv")
    with pytest.warns(UserWarning, match="expected a regular file, got a"):
        assert read_metrics(tmp_path / "metrics.csv") == []


def test_synced_rows_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bytes]] = []

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        if path.is_file():
            synced.append((path.name, path.read_bytes()))

    with MetricsLogger(tmp_path) as logger:
        logger.log(1, {"loss": 2.0})
        logger.log(2, {"loss": 1.0})
        monkeypatch.setattr(os, "fsync", record)
        logger.sync()
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
    with pytest.warns(UserWarning, match=r"TensorBoard's events cannot be written.*No s") as told:
        log(tmp_path, range(1, 30), tensorboard=True)
    assert len(told) == 1
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.csv")] == list(range(1, 30))
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_in_the_place_of_tensorboards_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.warns(UserWarning, match="the run goes on without them"):
        log(tmp_path, range(1), tensorboard=True)
    assert read_metrics(tmp_path / "metrics.csv") == [{"step": 0, "loss": 1.0}]
    with pytest.warns(UserWarning, match="the run goes on without them"):
        log_images(tmp_path, {"image": np.zeros((4, 4, 3), np.uint8)})


def test_errors_of_other_threads_are_still_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    with MetricsLogger(tmp_path):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    assert [failure.exc_type for failure in reported] == [ZeroDivisionError]


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    with MetricsLogger(tmp_path, tensorboard=False) as logger:
        logger.log(1, {"loss": 1.0, "return": float("nan")})
        logger.log(2, {"loss": float("inf"), "return": 3.0})
    assert read_metrics(logger.path) == [{"step": 1, "loss": 1.0}, {"step": 2, "return": 3.0}]
    assert logger.path.read_text() == "step,loss,return\n1,1.0,\n2,,3.0\n"
