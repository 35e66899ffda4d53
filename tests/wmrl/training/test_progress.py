"""Progress: lines where there is no terminal, bars on one."""

import os
import re
import subprocess
import sys
import time

import pytest

from wmrl.training import progress
from wmrl.training.progress import announce, heartbeat, progress_bar, stage, stages

_ON_TERMINAL = """
from wmrl.training.progress import announce, progress_bar, stage
with stage("round 0: memory", following="round 0: dream"):
    with progress_bar("memory", total=60) as advance:
        for step in range(60):
            advance(step + 1, "loss 0.5")
"""


def _lines(captured: str) -> list[str]:
    lines = captured.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    return [line[9:] for line in lines]


def test_lines_at_start_and_end_name_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        stage("round 0: memory", following="round 0: dream"),
        progress_bar("memory", total=60) as advance,
    ):
        advance(50, "loss 0.5")
        advance(60, "loss 0.25")
    captured = capsys.readouterr()
    assert captured.out == ""
    named, first, last = _lines(captured.err)
    assert named == "round 0: memory (next: round 0: dream)"
    assert first == "round 0: memory: started, 60 steps"
    assert last.startswith("round 0: memory: done after 0 s; 60 of 60 steps; ")
    assert last.endswith("steps/s; loss 0.25; next: round 0: dream")


def test_a_line_comes_regularly_also_during_a_long_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    with progress_bar("search", total=400, unit="generations") as advance:
        advance(100, "mean 1.5")
        time.sleep(0.4)
    lines = _lines(capsys.readouterr().err)[1:-1]
    assert len(lines) >= 3
    pattern = r"search: 100 of 400 generations; [\d,.]+ generations/s; \d+ s left; mean 1.5"
    assert all(re.fullmatch(pattern, line) for line in lines)


def test_a_stage_without_a_bar_is_not_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    with heartbeat("command"), stage("scores"):
        time.sleep(0.4)
    lines = _lines(capsys.readouterr().err)
    assert lines[0] == "scores"
    assert len(lines) >= 3
    assert set(lines[1:]) <= {"scores: goes on, 0 s so far", "command: goes on, 0 s so far"}
    with heartbeat("command", show=False):
        time.sleep(0.15)
    assert capsys.readouterr().err == ""


def test_items_in_stages_are_numbered(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(stages(("a", "b"), "trial {}".format)) == ["a", "b"]
    first, second = _lines(capsys.readouterr().err)
    assert (first, second) == ("trial a (1 of 2) (next: trial b (2 of 2))", "trial b (2 of 2)")


def test_work_that_a_time_limit_ends_is_shown_as_time(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("vision", total=1_000_000, max_seconds=600.0, seconds=60.0) as advance:
        advance(1200, seconds=120.0)
        advance(5000, seconds=600.4)
    first, last = _lines(capsys.readouterr().err)
    assert first == "vision: started, 1,000,000 steps, at most 600 s"
    assert "600 s of 600 s, 5,000 steps" in last
    assert "1,000,000" not in last


def test_work_that_ends_before_its_time_limit_is_shown_in_units(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bar("vision", total=50, max_seconds=600.0) as advance:
        advance(50, seconds=3.0)
    assert "50 of 50 steps" in _lines(capsys.readouterr().err)[-1]


def test_an_interruption_says_where_it_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with progress_bar("PPO", total=9, done=2) as advance:
            advance(4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    first, last = _lines(capsys.readouterr().err)
    assert first == "PPO: resumed at 2 of 9 steps"
    assert last.startswith("PPO: stopped after 0 s; 4 of 9 steps")


@pytest.mark.parametrize("options", [{"show": False}, {"total": 5, "done": 5}])
def test_silence(options: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("memory", **{"total": 5, **options}) as advance:  # type: ignore[arg-type]
        advance(5)
    announce("a line", show=False)
    with stage("quiet", show=False):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_bar_within_another_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("outer", total=2) as outer:
        with progress_bar("inner", total=2) as inner:
            inner(2)
        outer(2)
    assert "inner" not in capsys.readouterr().err


def test_a_closed_log_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as log:  # noqa: PTH123 - the stream itself is under test
        monkeypatch.setattr(sys, "stderr", log)
    done = []
    with progress_bar("memory", total=1) as advance:
        advance(1)
        done.append(1)
    monkeypatch.setattr(sys, "stderr", None)
    announce("nobody reads this")
    assert done == [1]


def test_an_ascii_log_does_not_end_the_work() -> None:
    code = "from wmrl.training.progress import announce; announce('τ ≥ 1')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert found.returncode == 0
    assert found.stderr.decode("ascii").rstrip().endswith(r"\u03c4 \u2265 1")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_bar_that_ends_full() -> None:
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "140"}
    process = subprocess.Popen(
        [sys.executable, "-c", _ON_TERMINAL], stderr=theirs, stdout=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode())
    last = [line for line in re.split(r"[\r\n]+", text) if line.strip()][-1]
    assert last.startswith("round 0: memory ")
    assert "60 of 60 steps" in last
    assert last.rstrip().endswith("loss 0.5")
