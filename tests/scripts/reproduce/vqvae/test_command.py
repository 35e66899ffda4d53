import gzip
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from wmrl.scripts import cli
from wmrl.scripts.reproduce.vqvae.command import write_table
from wmrl.scripts.reproduce.vqvae.experiment import PRIORS, VARIANTS
from wmrl.storage.reading import read_json


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """280 noisy images of 8×8 to train on and 40 held-out ones, in files as MNIST has."""
    generator = np.random.default_rng(0)
    (tmp_path / "squares").mkdir()
    for prefix, count in (("train", 280), ("t10k", 40)):
        labels = generator.integers(2, size=count, dtype=np.uint8)
        images = generator.integers(0, 60, (count, 8, 8), dtype=np.uint8)
        images[:, 2:6, 2:6] += 150 * labels[:, None, None]
        write_idx(tmp_path / "squares" / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / "squares" / f"{prefix}-labels-idx1-ubyte.gz", labels)
    return tmp_path / "squares"


@pytest.mark.slow
def test_a_short_run_and_nothing_is_trained_twice(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["reproduce", "vqvae", "--data", str(folder), "--seeds", "0", "--epochs", "1", "8"]
    words += ["--prior-epochs", "1", "--lstm-epochs", "1", "--prior-images", "64"]
    words += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert cli.run(words) == 0
    out = tmp_path / "out"
    report = read_json(out / "results.json")
    assert [row["codebook"] for row in report["visions"]] == list(VARIANTS)
    assert {row["prior"] for row in report["priors"]} == {"unigram", "bigram", *PRIORS}
    assert len(report["priors"]) == 2 * (2 + len(PRIORS))
    assert all(row["nats"] > 0 and row["bits_per_dimension"] > 0 for row in report["priors"])
    assert (out / "table.md").read_text() in capsys.readouterr().out
    for name in (
        "codebook-baseline",
        "codebook-ema-warmup",
        "reconstructions",
        "samples",
        "curves",
    ):
        assert iio.imread(out / f"squares-{name}.png").std() > 1
    monkeypatch.setattr("wmrl.training.trainer.Trainer.train", None)  # would fail if it were called
    assert cli.run(words) == 0
    assert read_json(out / "results.json") == report


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    words = ["reproduce", "vqvae", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert cli.run([*words, "--data", str(tmp_path / "empty")]) == 2
    assert "expected train-images-idx3-ubyte or" in capsys.readouterr().err
    assert cli.run([*words, "--epochs", "1"]) == 2
    assert "epochs: expected two numbers" in capsys.readouterr().err


def test_table() -> None:
    vision = {
        "data": "squares",
        "images": 1280,
        "codebook": "fsq",
        "squared_error": 3.0,
        "utilization": 0.5,
        "perplexity": 12.0,
        "codebook_rank": 2.0,
        "used_rank": 1.5,
        "encoder_rank": 1.25,
        "commitment": 0.125,
    }
    visions = [vision | {"seed": 0}, vision | {"seed": 1, "squared_error": 5.0}]
    prior = {"data": "squares", "images": 64, "codebook": "fsq", "prior": "bigram", "seed": 0}
    lines = write_table(visions, [prior | {"nats": 10.0, "bits_per_dimension": 0.5}]).splitlines()
    assert "## squares: 1,280 training images, 2 seeds" in lines
    assert (
        "| finite scalar quantization, 8 × 8 × 8 | 4.00 ± 1.41 | 50.0% ± 0.0% | 12 ± 0 | "
        "2.0 ± 0.0 | 1.5 ± 0.0 | 1.2 ± 0.0 | 0.12 ± 0.00 |"
    ) in lines
    assert "Priors trained on the codes of 64 of them:" in lines
    assert lines[-1].endswith("| bigram, of the previous code | 10.0 | 0.500 |")
