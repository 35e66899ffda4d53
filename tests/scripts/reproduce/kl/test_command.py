import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
import pytest

from wmrl.scripts import cli
from wmrl.scripts.reproduce.kl.command import run_metrics, start_gradient, write_table
from wmrl.scripts.reproduce.kl.experiment import RUNS, descend
from wmrl.scripts.reproduce.kl.figures import frames
from wmrl.storage.reading import read_json


def read_video(path: Path) -> np.ndarray:
    video, frames = cv2.VideoCapture(str(path)), []
    while (found := video.read())[0]:
        frames.append(found[1].astype(int))
    video.release()
    return np.stack(frames)


def test_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "kl", "--runs", "span-q", "score", "--steps", "12", "--seeds", "0", "5"]
    assert cli.run([*words, "--out", str(tmp_path)]) == 0
    report = read_json(tmp_path / "results.json")
    found = [(row["run"], row["seed"], row["verdict"]) for row in report["rows"]]
    assert found == [
        ("span-q", None, "did not converge"),
        ("score", 0, "stopped"),
        ("score", 5, "did not converge"),
    ]
    assert report["rows"][0]["steps"] == report["runs"]["span-q"]["steps"] == 12
    assert report["runs"]["span-q"]["learning_rate"] == 1e-4
    assert report["rows"][1]["rejected"][1] <= 0
    assert report["args"]["seeds"] == [0, 5]
    assert report["versions"]["matplotlib"]
    for curve, row in zip(report["curves"], [report["rows"][0], report["rows"][1]], strict=True):
        assert curve["step"] == list(range(row["steps"] + 1))
        for key in ("mean", "std", "kl"):
            assert curve[key][-1] == pytest.approx(row["end"][key], rel=1e-4)
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out
    for name in ("curves", "densities"):
        assert iio.imread(tmp_path / f"{name}.png").std() > 10
    for name, row in (("span-q", report["rows"][0]), ("score", report["rows"][1])):
        video = read_video(tmp_path / f"{name}.mp4")
        assert video.shape == (row["steps"] + 1 + 20, 270, 480, 3)  # the last is held for a second
        assert np.abs(video[0] - video[row["steps"]]).max() > 100
    assert sorted(path.suffix for path in tmp_path.iterdir()) == sorted(
        [".png", ".png", ".mp4", ".mp4", ".json", ".md", ".toml"]
    )


def test_frames_follow_the_moving_interval() -> None:
    trace = descend(RUNS["span-q-moving"])
    shown = list(frames("moving", trace, limit=4))
    assert len(shown) == 4
    assert {(frame.shape, frame.dtype) for frame in shown} == {((270, 480, 3), np.dtype("uint8"))}

    def shaded(frame: np.ndarray) -> float:
        """Mean position of the orange in the image: 0 at the left, 1 at the right."""
        red, blue = frame[..., 0].astype(int), frame[..., 2].astype(int)
        return float(np.argwhere(red - blue > 20)[:, 1].mean() / frame.shape[1])

    assert shaded(shown[0]) > 0.55
    assert shaded(shown[-1]) < 0.35


def test_metrics() -> None:
    found = run_metrics(descend(replace(RUNS["span-p"], steps=3)))
    start = {"mean": 5.0, "std": 0.8, "kl": 90.963615, "sum": -0.00053265, "mass": 0.00023262}
    assert found["start"] == pytest.approx(start, rel=1e-4)
    assert found["end"]["mean"] < 5.0
    assert (found["steps"], found["rejected"]) == (3, None)
    assert found["last_gradient"] == pytest.approx(0.00656, abs=2e-5)
    drawn = run_metrics(descend(replace(RUNS["reparameterized"], steps=3)))
    assert drawn["start"]["sum"] is None
    assert drawn["end"]["mass"] is None


def test_gradients_at_the_start() -> None:
    exact = start_gradient(RUNS["span-p"])
    assert exact["exact"] == pytest.approx([44.444444, 7.638889])
    assert exact["spread"] == [0.0, 0.0]
    # Integrals over p's span, of which the sum has its ends too much by half a width each.
    assert exact["mean"] == pytest.approx([0.00160648, -0.00644478], rel=0.02)


def test_table() -> None:
    def row(run: str, end: dict[str, Any], **more: Any) -> dict[str, Any]:
        start = {"mean": 5.0, "std": 0.8, "kl": 90.9636, "sum": None, "mass": None}
        same = {"run": run, "verdict": "converged", "steps": 300, "last_gradient": 0.5}
        return {**same, "start": {**start, **more.pop("start", {})}, "end": end, **more}

    q = {"mean": 1.5, "std": 0.25, "kl": 1.25, "sum": -0.5, "mass": 0.125}
    drawn = {"mean": 1.0, "std": 0.5, "kl": 0.001, "sum": None, "mass": None}
    rows = [
        row("span-q", q, verdict="did not converge", start={"sum": 91.0, "mass": 0.9999}),
        row("score", drawn),
        row("score", {**drawn, "mean": 1.5}, last_gradient=1.5),
        row("score", {**drawn, "mean": 4.0, "kl": 70.0}, verdict="stopped", steps=7),
        row("score", {**drawn, "mean": 4.0, "kl": 70.0}, verdict="stopped", steps=3),
        row("score-plain", {**drawn, "mean": 4.0}, verdict="stopped", steps=4),
    ]
    sums = {"exact": [44.44444, 7.63889], "mean": [44.375, 7.4525], "spread": [0.0, 0.0]}
    draws = {**sums, "spread": [25.875, 48.8]}
    table = write_table(rows, {"span-q": sums, "score": draws, "score-plain": draws})
    assert [line for line in table.splitlines() if line.startswith("| s")] == [
        "| span-q | sum over q's span at the start | 0.0001 | 300 | 1.500 | 0.250 | 1.25 "
        "| 0 of 1 | 0 |",
        "| score | score function, control variates | 0.001 | 300 | 1.250 ± 0.354 | 0.500 ± 0.000 "
        "| 0.001 ± 0 | 2 of 4 | 2, after 3 to 7 steps |",
        "| score-plain | score function, no variance reduction | 0.001 | 4 | – | – | – "
        "| 0 of 1 | 1, after 4 steps |",
        "| span-q | 44.4 | 7.45 | 0.5 | 91 → -0.5 | 0.9999 → 0.125 |",
        "| score | 44.4 ± 25.9 | 7.45 ± 48.8 | 1 ± 0.71 | – | – |",
        "| score-plain | 44.4 ± 25.9 | 7.45 ± 48.8 | – | – | – |",
    ]
    assert "KL is 90.96 at the start" in table
    assert "(44.44, 7.64) by mean" in table
    assert "half of 4 has a standard error\nof 25%." in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runs", "luck"], "runs: expected some of span-q, .*, got the unknown name 'luck'"),
        (["--runs", "span-q", "span-q"], "runs: expected distinct values, got span-q, span-q"),
        (["--seeds"], "seeds: expected at least one seed, got none"),
        (["--seeds", "0", "0"], "seeds: expected distinct values, got 0, 0"),
        (["--seeds", "-1"], "seeds: expected at least 0, got -1"),
        (["--steps", "0"], "steps: expected at least 1, got 0"),
    ],
)
def test_the_impossible_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.run(["reproduce", "kl", *words, "--out", str(out)]) == 2
    assert not out.exists()
    assert re.search(message, capsys.readouterr().err)
