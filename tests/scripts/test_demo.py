from pathlib import Path
from typing import Any

import cv2
import pytest

from wmrl.agents import load_agent
from wmrl.scripts.cli import run


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
def test_demo(agent_path: Path, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "videos"
    words = ["demo", "--out", str(out), "--generations", "2", "--episodes", "1"]
    words += ["--video-agent-steps", "5", "--agents", str(agent_path)]
    assert run([*words, "--vision", str(tiny.vision), "--memory", str(tiny.memory)]) == 0
    printed = capsys.readouterr().out
    assert "as 8 numbers" in printed
    assert "2 generations of 32 controllers" in printed
    for row in ("random actions", "new, just trained in the dream", "agent"):
        assert row in printed
    for name in ("new", "agent"):
        assert str(out / f"{name}.mp4") in printed
        video = cv2.VideoCapture(str(out / f"{name}.mp4"))
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 6
        video.release()
    new = load_agent(out / "new")
    assert new.world_model.memory_digest == tiny.memory_digest


def test_a_missing_agent_is_reported_before_any_work(capsys: pytest.CaptureFixture) -> None:
    assert run(["demo", "--agents", "nobody"]) == 2
    captured = capsys.readouterr()
    assert "no artifact 'nobody'" in captured.err
    assert captured.out == ""
