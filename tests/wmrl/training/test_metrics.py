"""Metrics: the same file whether a run was interrupted or not."""

from pathlib import Path

import pytest

from wmrl.training.metrics import MetricsLogger, read_metrics


def log(folder: Path, steps: range, *, resume_step: int | None = None) -> None:
    with MetricsLogger(folder, resume_step=resume_step, tensorboard=False) as logger:
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


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    with MetricsLogger(tmp_path, tensorboard=False) as logger:
        logger.log(1, {"loss": 1.0, "return": float("nan")})
        logger.log(2, {"loss": float("inf"), "return": 3.0})
    assert read_metrics(logger.path) == [{"step": 1, "loss": 1.0}, {"step": 2, "return": 3.0}]
    assert logger.path.read_text() == "step,loss,return\n1,1.0,\n2,,3.0\n"
