from pathlib import Path
from typing import Any

import cv2
import pytest

from wmrl.agents import load_agent
from wmrl.scripts.cli import run


def test_demo(driver_path: Path, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "videos"
    words = ["demo", "--out", str(out), "--generations", "2", "--episodes", "1"]
    words += ["--film-decisions", "5", "--drivers", str(driver_path)]
    assert run([*words, "--vision", str(tiny.vision), "--memory", str(tiny.memory)]) == 0
    printed = capsys.readouterr().out
    assert "becomes 8 numbers" in printed
    assert "2 generations of 32 controllers" in printed
    for row in ("random actions", "fresh, just learned in the dream", "driver"):
        assert row in printed
    for name in ("fresh", "driver"):
        assert str(out / f"{name}.mp4") in printed
        film = cv2.VideoCapture(str(out / f"{name}.mp4"))
        assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 6
        film.release()
    fresh = load_agent(out / "fresh")
    assert fresh.eye["memory_digest"] == tiny.memory_digest


def test_a_missing_driver_is_known_before_any_work(capsys: pytest.CaptureFixture) -> None:
    assert run(["demo", "--drivers", "nobody"]) == 2
    captured = capsys.readouterr()
    assert "no artifact 'nobody'" in captured.err
    assert captured.out == ""
