from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from toy_models import toy_agent

from wmrl.scripts.cli import run


def test_record(agent_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "video.mp4"
    words = ["record", str(agent_path), "--out", str(out), "--agent-steps", "16", "--seed", "3"]
    assert run([*words, "--width", "120", "--height", "80", "--dream-agent-steps", "2"]) == 0
    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 17
    video.release()
    printed = capsys.readouterr().out
    assert f"{out}: seed 3, 16 agent steps" in printed
    assert "dreamed return" in printed


def test_a_task_of_ones_own(make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    agent, out = toy_agent(make_tiny, tmp_path), tmp_path / "video.gif"
    sizes = ["--width", "120", "--height", "80", "--agent-steps", "3"]
    words = ["record", str(agent), "--out", str(out), "--task", "toy_game:STEERED", *sizes]
    assert run(words) == 0
    assert out.stat().st_size > 0


def test_outputs_are_tried_before_the_work(
    agent_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "video.mp4"
    folder.mkdir()
    assert run(["record", str(agent_path), "--out", str(folder)]) == 2
    assert "out: expected a file, got the folder" in capsys.readouterr().err


def test_an_unknown_agent_is_a_short_error(capsys: pytest.CaptureFixture) -> None:
    assert run(["record", "nobody"]) == 2
    assert "no artifact 'nobody'" in capsys.readouterr().err
