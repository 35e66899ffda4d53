from pathlib import Path

import cv2
import pytest

from wmrl.scripts.cli import run


def test_record(driver_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "film.mp4"
    words = ["record", str(driver_path), "--out", str(out), "--decisions", "16", "--seed", "3"]
    assert run([*words, "--width", "120", "--height", "80", "--dream-decisions", "2"]) == 0
    film = cv2.VideoCapture(str(out))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 17
    film.release()
    printed = capsys.readouterr().out
    assert f"{out}: seed 3, 16 decisions" in printed
    assert "dreamed" in printed


def test_an_unknown_agent_is_a_short_error(capsys: pytest.CaptureFixture) -> None:
    assert run(["record", "nobody"]) == 2
    assert "no artifact 'nobody'" in capsys.readouterr().err
