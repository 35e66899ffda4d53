from pathlib import Path

import imageio.v3 as iio
import pytest

from wmrl.scripts import cli
from wmrl.scripts.config_file import read_options
from wmrl.scripts.reproduce.binary_vae.command import Args, write_table
from wmrl.storage.reading import read_json


def test_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "binary-vae", "--points", "60", "--epochs", "2", "--seeds", "3"]
    assert cli.run([*words, "--out", str(tmp_path)]) == 0
    report = read_json(tmp_path / "results.json")
    assert [row["regime"] for row in report["rows"]] == ["constant", "decayed"]
    for row in report["rows"]:
        assert row["elbo"] < row["log_evidence"] < 0
        assert -1 <= row["silhouette"] <= 1
        assert 0 <= row["probe_accuracy"] <= 1
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out
    for name in ("data", "constant", "decayed"):
        assert iio.imread(tmp_path / f"{name}.png").std() > 1
    args = read_options(tmp_path / "run.toml", Args, command="reproduce binary-vae")
    assert args == Args(tmp_path, points=60, epochs=2, seeds=(3,))


def test_table() -> None:
    metrics = {"log_evidence": -2.0, "silhouette": 0.5, "probe_accuracy": 0.75}
    rows = [{"regime": "constant", "seed": s, "elbo": -3.0 - s, **metrics} for s in (0, 2)]
    assert write_table(rows).splitlines()[-1] == (
        "| constant | 2 | -4.000 ± 1.414 | -2.000 ± 0.000 | 0.500 ± 0.000 | 0.750 ± 0.000 |"
    )
