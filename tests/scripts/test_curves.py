from pathlib import Path

import imageio.v3 as iio
import pytest

from wmrl.scripts import cli
from wmrl.training.metrics import MetricsLogger


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, columns in (("a", ("loss", "kl")), ("b", ("loss",))):
        with MetricsLogger(tmp_path / "runs" / name, tensorboard=False) as logger:
            for step in (1, 2, 3):
                logger.log(step, dict.fromkeys(columns, 1.0 / step))
    return tmp_path / "runs"


def test_curves_of_all_runs_below_a_folder(runs: Path, tmp_path: Path) -> None:
    assert cli.run(["curves", str(runs), "-o", str(tmp_path / "plots" / "all.png")]) == 0
    both = iio.imread(tmp_path / "plots" / "all.png")
    assert cli.run(["curves", str(runs), "-o", str(tmp_path / "one.png"), "--columns", "kl"]) == 0
    one = iio.imread(tmp_path / "one.png")
    assert both.std() > 1
    assert one.std() > 1
    assert both.shape[0] == 2 * one.shape[0]


def test_errors(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path / "x.png")]
    assert cli.run(["curves", str(tmp_path / "none"), *out]) == 2
    assert "runs: expected folders with a metrics.csv" in capsys.readouterr().err
    assert cli.run(["curves", str(runs), *out, "--columns", "los"]) == 2
    assert (
        "columns: expected some of ['kl', 'loss', 'step'], got ['los']" in capsys.readouterr().err
    )
    assert not (tmp_path / "x.png").exists()
