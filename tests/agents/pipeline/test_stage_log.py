import csv
import time as real_time
from pathlib import Path
from typing import Any

import pytest

from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.pipeline import stage_log as stage_log_module
from wmrl.agents.pipeline.stage_log import StageLog
from wmrl.storage.run import Run


def result(*returns: float) -> EvaluationResult:
    count = len(returns)
    return EvaluationResult(
        agent="a",
        task="t",
        base="b",
        deterministic=True,
        seeds=tuple(range(count)),
        returns=returns,
        lengths=(10,) * count,
        terminated=(False,) * count,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test moves."""
    now = [1000.0]
    monkeypatch.setattr(stage_log_module.time, "monotonic", lambda: now[0])
    return now


def test_curve_survives_interruptions(tmp_path: Path, clock: list[float]) -> None:
    with Run(tmp_path, config={}) as run:
        stage_log = StageLog(run)
        stage_log.add_point("one", result(1.0, 3.0), frames=100, frame_skip=4, promise=result(40.0))
        stage_log.add_point("two", result(5.0), frames=200, frame_skip=4)
    with Run(tmp_path, config={}) as run:
        stage_log = StageLog(run)
        with stage_log.timed("stage"):
            clock[0] += 180
            stage_log.add_point("two", result(7.0), frames=200, frame_skip=4)
        curve = rows(stage_log.write_curve())
    assert [row["point"] for row in curve] == ["one", "two"]
    assert curve[0]["mean"] == "2.0"
    assert curve[0]["standard_error"] == "1.0"
    assert curve[0]["per_agent_step"] == "0.2"
    assert curve[0]["promised_per_agent_step"] == "4.0"
    assert (curve[0]["real_frames"], curve[0]["score_frames"]) == ("100", "80")
    assert (curve[1]["mean"], curve[1]["minutes"], curve[1]["episodes"]) == ("7.0", "3.0", "1")


def test_a_stage_is_timed_over_interruptions_and_without_pauses(
    tmp_path: Path, clock: list[float]
) -> None:
    with Run(tmp_path, config={}) as run:
        stage_log = StageLog(run)

        def interrupted() -> None:
            with stage_log.timed("stage"):
                clock[0] += 5
                raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            interrupted()
        assert stage_log.seconds("stage") is None
    clock[0] += 1000
    with Run(tmp_path, config={}) as run:
        stage_log = StageLog(run)
        with stage_log.timed("stage"):
            clock[0] += 2
            with stage_log.paused():
                clock[0] += 100
            clock[0] += 1
        assert stage_log.seconds("stage") == 8
        with stage_log.timed("stage"):
            clock[0] += 50
        with stage_log.timed("another"):
            clock[0] += 4
        assert StageLog(run).seconds("stage") == 8
        assert StageLog(run).seconds("another") == 4


def test_a_killed_stage_keeps_its_last_beat(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_log_module, "_SAVE_INTERVAL", 0.001)
    with Run(tmp_path, config={}) as run, StageLog(run).timed("stage"):
        clock[0] += 7
        for _ in range(10_000):
            beat = run.load_checkpoint("stage")
            if beat is not None and beat.state["seconds"] == 7:
                break
            real_time.sleep(0.001)
        assert beat is not None
        assert beat.state == {"stage": "stage", "seconds": 7}


def test_a_beat_that_fails_is_not_the_last(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_log_module, "_SAVE_INTERVAL", 0.001)
    beats, save = [0], Run.save_checkpoint

    def failing(self: Run, *args: Any) -> None:
        beats[0] += 1
        if beats[0] == 1:
            raise OSError("no space left")
        save(self, *args)

    monkeypatch.setattr(Run, "save_checkpoint", failing)
    with Run(tmp_path, config={}) as run, StageLog(run).timed("stage"):
        for _ in range(10_000):
            if beats[0] > 2:
                break
            real_time.sleep(0.001)
        assert run.load_checkpoint("stage") is not None


def test_pauses_within_pauses_are_one(tmp_path: Path, clock: list[float]) -> None:
    with Run(tmp_path, config={}) as run:
        stage_log = StageLog(run)
        with stage_log.timed("stage"):
            with stage_log.paused():
                clock[0] += 10
                with stage_log.paused():
                    clock[0] += 10
                clock[0] += 10
            clock[0] += 1
        assert stage_log.seconds("stage") == 1
