import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from matplotlib.figure import Figure

from wmrl.scripts import cli
from wmrl.scripts.curves import draw_group
from wmrl.training.callbacks import RunContext
from wmrl.training.curves import RunGroup
from wmrl.training.loggers import CSVLogger


def log(folder: Path, rows: Mapping[int, Mapping[str, float]]) -> None:
    """Writes a metrics.csv."""
    logger = CSVLogger()
    logger.start(RunContext(name="test", path=folder))
    for step, metrics in rows.items():
        logger.log(step, metrics)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, columns in (("a", ("loss", "kl")), ("b", ("loss",))):
        rows = {step: dict.fromkeys(columns, 1.0 / step) for step in (1, 2, 3)}
        log(tmp_path / "runs" / name, rows)
    return tmp_path / "runs"


def test_curves_of_all_runs_below_a_folder(runs: Path, tmp_path: Path) -> None:
    assert cli.run(["curves", str(runs), "-o", str(tmp_path / "plots" / "all.png")]) == 0
    both = iio.imread(tmp_path / "plots" / "all.png")
    assert cli.run(["curves", str(runs), "-o", str(tmp_path / "one.png"), "--columns", "kl"]) == 0
    one = iio.imread(tmp_path / "one.png")
    assert both.std() > 1
    assert one.std() > 1
    assert both.shape[0] == 2 * one.shape[0]


def test_a_folder_that_vanishes_is_passed_over(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, scandir = runs / "gone", os.scandir
    gone.mkdir()

    def vanish(path: Any = ".") -> Any:
        if Path(path) == gone and gone.exists():
            gone.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanish)
    assert cli.run(["curves", str(runs), "-o", str(tmp_path / "all.png")]) == 0
    assert not gone.exists()


def test_errors(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path / "x.png")]
    assert cli.run(["curves", str(tmp_path / "none"), *out]) == 2
    assert "runs: expected folders with a metrics.csv" in capsys.readouterr().err
    assert cli.run(["curves", str(runs), *out, "--columns", "los"]) == 2
    error = capsys.readouterr().err
    assert "columns: expected names from ['kl', 'loss', 'step'], got ['los']" in error
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    "name", ["a.png", *(pytest.param(name, marks=pytest.mark.slow) for name in ("a.svg", "a.pdf"))]
)
def test_only_its_own_plots_are_replaced(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words = ["curves", str(runs), "-o", str(tmp_path / name)]
    assert cli.run(words) == cli.run(words) == 0
    (tmp_path / name).write_bytes(b"a photograph")
    assert cli.run(words) == 2
    assert "out: expected a new file or an earlier plot of wmrl curves" in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == b"a photograph"
    assert cli.run(["curves", str(runs), "-o", str(tmp_path / "a.jpg")]) == 2
    assert "ending in .png, .svg or .pdf" in capsys.readouterr().err


def test_panels_without_anything_to_draw_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log(tmp_path / "run", {1: {"loss": 1.0, "gain": -1.0}})
    out = tmp_path / "out.png"
    height = []
    for words in ([], ["--log"]):
        assert cli.run(["curves", str(tmp_path / "run"), "-o", str(out), *words]) == 0
        image = iio.imread(out)
        height.append(image.shape[0])
    assert height == [640, 320]  # two panels, then one
    shown = (image[50:270, 80:650, :3].astype(int) != 255).any(-1).mean()
    assert shown > 0.003  # the single point, and the grid
    printed = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in printed] == ["gain"]
    assert cli.run(["curves", str(tmp_path / "run"), "--columns", "gain", "--log"]) == 2
    assert "expected columns with positive values" in capsys.readouterr().err


def test_a_run_without_metrics_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log(tmp_path / "run", {})
    assert cli.run(["curves", str(tmp_path / "run"), "-o", str(tmp_path / "x.png")]) == 2
    assert "got none yet" in capsys.readouterr().err


def test_runs_of_several_seeds_are_drawn_as_their_mean_and_its_error(tmp_path: Path) -> None:
    nan = float("nan")
    log(tmp_path / "0", {1: {"loss": 1.0}, 2: {"loss": 4.0}, 3: {"loss": 2.0}})
    log(tmp_path / "1", {1: {"loss": 3.0}, 2: {"loss": nan}, 3: {"loss": 8.0}, 4: {"loss": 9.0}})
    log(tmp_path / "2", {1: {"kl": 1.0}})
    group = RunGroup("ours", tuple(tmp_path / name for name in "012"))
    panel = Figure().subplots()
    draw_group(panel, group, "loss")
    (line,), (band,) = panel.lines, panel.collections
    np.testing.assert_allclose(line.get_xydata(), [(1, 2), (2, (4 + 5.5) / 2), (3, 5)])
    assert line.get_label() == "ours (mean ± standard error)"
    corners = {tuple(corner) for corner in np.round(band.get_paths()[0].vertices, 6).tolist()}
    assert corners >= {(1, 1), (1, 3), (2, 4), (2, 5.5), (3, 2), (3, 8)}  # of two runs: both values
    draw_group(panel, group, "kl")
    assert (len(panel.lines), len(panel.collections)) == (2, 1)
    assert panel.lines[1].get_label() == str(tmp_path / "2")


def test_groups_of_the_command(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, name in enumerate("ab"):
        text = f"# The options of wmrl train-vision.\nout = '{name}'\nseed = {seed}\n"
        (runs / name / "run.toml").write_text(text)
    drawn: list[RunGroup] = []

    def draw(panel: Any, group: RunGroup, column: str) -> None:
        drawn.append(group)
        panel.plot([0.0], label=group.label)

    monkeypatch.setattr("wmrl.scripts.curves.draw_group", draw)
    a, b = runs / "a", runs / "b"
    for words, expected in (
        ([], [RunGroup(f"{a}, seeds 0, 1", (a, b))]),
        (["--group", "folder"], [RunGroup(f"{runs}, 2 runs", (a, b))]),
        (["--group", "none"], [RunGroup(str(a), (a,)), RunGroup(str(b), (b,))]),
    ):
        drawn.clear()
        out = ["-o", str(tmp_path / "x.png"), "--columns", "kl"]
        assert cli.run(["curves", str(runs), *out, *words]) == 0
        assert drawn == expected
