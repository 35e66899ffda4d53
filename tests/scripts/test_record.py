from pathlib import Path

import cv2
import pytest

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


def test_an_unknown_agent_is_a_short_error(capsys: pytest.CaptureFixture) -> None:
    assert run(["record", "nobody"]) == 2
    assert "no artifact 'nobody'" in capsys.readouterr().err
