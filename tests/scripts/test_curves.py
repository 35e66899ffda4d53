import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import pytest

from wmrl.scripts import cli
from wmrl.training.callbacks import RunContext
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
