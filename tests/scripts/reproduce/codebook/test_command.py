from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from wmrl.encodings.vector_vqvae import VectorVQVAE
from wmrl.scripts import cli
from wmrl.scripts.reproduce.codebook import experiment as experiment_module
from wmrl.scripts.reproduce.codebook.command import random_cosine, write_table
from wmrl.scripts.reproduce.codebook.experiment import (
    EARLIER,
    VARIANTS,
    find_poses,
    spread,
    used_codes,
)
from wmrl.storage.reading import read_json


def test_a_small_run_whose_codebooks_are_reused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("earlier-warmup", "ours-random"):
        small = replace(VARIANTS[name].config, hidden_dims=(16, 16), warmup_steps=5)
        short = replace(VARIANTS[name].training, epochs=3)
        variant = replace(VARIANTS[name], config=small, training=short)
        monkeypatch.setitem(experiment_module.VARIANTS, name, variant)
    out = tmp_path / "out"
    words = ["reproduce", "codebook", "--variants", "earlier-warmup", "ours-random"]
    words += ["--seeds", "0", "1", "--evaluations", "3000"]
    words += ["--work", str(tmp_path / "work"), "--out", str(out)]
    assert cli.run(words) == 0
    report = read_json(out / "results.json")
    found = [(row["variant"], row["seed"], row["code_dim"]) for row in report["codebooks"]]
    assert found == [
        (name, seed, size)
        for seed in (0, 1)
        for name, size in (("earlier-warmup", 3), ("ours-random", 8))
    ]
    assert iio.imread(out / "codes.png").std() > 1
    assert (out / "table.md").read_text() in capsys.readouterr().out
    # Calls of these would fail.
    monkeypatch.setattr("wmrl.scripts.reproduce.reuse.encodings.EncodingTrainer", None)
    monkeypatch.setattr("wmrl.scripts.reproduce.dde.experiment.search_with_ribs", None)
    assert cli.run(words) == 0
    assert read_json(out / "results.json") == report


def test_elites_and_as_many_random_poses(tmp_path: Path) -> None:
    poses = find_poses(tmp_path / "poses", seed=1, evaluations=3000)
    assert poses["elites"].shape == poses["random"].shape
    assert poses["elites"].shape[1] == 20
    assert poses["elites"].std() < 0.8 * poses["random"].std()  # elites have even angles
    again = find_poses(tmp_path / "again", seed=1, evaluations=3000)
    for name, value in poses.items():
        np.testing.assert_array_equal(value, again[name])


def test_codes_that_are_not_in_use_are_left_out() -> None:
    model = VectorVQVAE(replace(EARLIER, hidden_dims=(8,)))
    vectors = np.random.default_rng(0).uniform(-1, 1, (50, 20)).astype(np.float32)
    codes = model.codes(torch.from_numpy(vectors)).unique()
    expected = model.quantizer.codebook()[codes]
    assert 0 < len(codes) < 32
    assert torch.equal(used_codes(model, vectors), expected)
    assert spread(expected[:1]) is None


@pytest.mark.parametrize(("size", "expected"), [(1, 1.0), (2, 2 / np.pi), (3, 0.5), (8, 0.2910)])
def test_random_directions(size: int, expected: float) -> None:
    assert random_cosine(size) == pytest.approx(expected, abs=1e-4)


def test_the_table_has_a_row_for_each_codebook() -> None:
    raw = {"rank": 2.0, "mean_cosine": 0.8, "median_cosine": 0.9, "first_share": 0.95}
    other = {"rank": 1.5, "mean_cosine": 0.7, "median_cosine": 0.6, "first_share": 0.5}
    row: dict[str, Any] = {
        "variant": "earlier",
        "codebook_size": 32,
        "code_dim": 3,
        "explained": 0.5,
    }
    row |= {"used": 32, "raw": raw, "centered": other}
    rows = [{**row, "seed": 0}, {**row, "seed": 1, "used": 30}]
    rows += [
        {**row, "seed": 0, "variant": "earlier-dense", "used": 1, "raw": None, "centered": None}
    ]
    table = write_table(rows)
    assert "Random directions have a mean |cos| of 0.50." in table
    shown = "50.0% ± 0.0% | 31 ± 1 | 2.00 ± 0.00 | 0.80 ± 0.00 | 0.90 ± 0.00 | 95% ± 0%"
    centered = "1.50 ± 0.00 | 0.70 ± 0.00 | 0.60 ± 0.00 | 50% ± 0%"
    assert f"| as earlier | {shown} | {centered} |" in table
    assert "| without ReZero | 50.0% | 1 | one code |" in table
    assert "| effective rank | mean \\|cos\\| | median |" in table
    assert "This project's" not in table


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["reproduce", "codebook", "--variants", "luck"]) == 2
    assert "variants: expected some of earlier" in capsys.readouterr().err
    assert cli.run(["reproduce", "codebook", "--seeds"]) == 2
    assert "seeds" in capsys.readouterr().err
    assert cli.run(["reproduce", "codebook", "--evaluations", "0"]) == 2
    assert "evaluations: expected at least 1, got 0" in capsys.readouterr().err
