from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.presets import SearchPreset
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.encodings.base import load_encoding
from wmrl.envs.planar_arm.arm import Arm
from wmrl.scripts import cli
from wmrl.scripts.reproduce.dde import experiment as dde_experiment
from wmrl.scripts.reproduce.reuse import experiment as reuse_experiment
from wmrl.scripts.reproduce.reuse.command import DATA, KINDS, encoding_card, write_table
from wmrl.scripts.reproduce.reuse.experiment import METHODS
from wmrl.storage.artifact import load_artifact
from wmrl.storage.reading import read_json

PROBLEMS = ("plain", "obstacles", "locked", "lengths")


def times(folder: Path) -> dict[Path, int]:
    """Modification times of the results."""
    suffixes = (".json", ".npy", ".safetensors")
    files = [file for file in folder.rglob("*") if file.suffix in suffixes]
    return {file: file.stat().st_mtime_ns for file in files}


def quick_stds(arm: Arm, targets: np.ndarray) -> np.ndarray:
    """Replaces the oracle, which takes seconds."""
    stds = np.full(len(targets), 0.5)
    stds[0] = np.nan
    return stds if not arm.obstacles else stds * np.nan


@pytest.mark.slow
def test_a_small_run_whose_results_are_reused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SearchPreset(
        problem=ArmProblem(
            arm=Arm(num_joints=6), archive=ArchiveConfig(cells=40, qd_score_offset=-1.6)
        ),
        latent_dim=3,
    )
    monkeypatch.setitem(dde_experiment.TASKS, "200-joints", small)
    monkeypatch.setattr(reuse_experiment, "oracle_stds_of_targets", quick_stds)
    out, work, ship = tmp_path / "out", tmp_path / "work", tmp_path / "ship"
    words = ["reproduce", "reuse", "--seeds", "3", "4", "--elites", "1000", "--epochs", "2"]
    words += ["--targets", "5", "--evaluations", "60", "--ship", str(ship)]
    words += ["--out", str(out), "--work", str(work)]
    assert cli.run(words) == 0
    report = read_json(out / "results.json")
    assert (out / "table.md").read_text() in capsys.readouterr().out
    assert iio.imread(out / "poses.png").std() > 1
    learned = [(each["seed"], each["kind"], each["data"]) for each in report["encodings"]]
    assert learned == [(seed, kind, data) for seed in (3, 4) for kind in KINDS for data in DATA]
    assert len({each["digest"] for each in report["encodings"]}) == 8
    searched = [(row["seed"], row["problem"], row["method"]) for row in report["searches"]]
    assert searched == [
        (seed, problem, method) for seed in (3, 4) for problem in PROBLEMS for method in METHODS
    ]
    assert {row["evaluations"] for each in report["searches"] for row in each["targets"]} == {60}
    assert report["oracle"] == {"plain": 0.5, "obstacles": None, "locked": 0.5, "lengths": 0.5}
    for kind in KINDS:
        own = next(e for e in report["encodings"] if e["kind"] == kind and e["data"] == "elites")
        shipped = load_encoding(ship / f"planar-arm-{kind}", device="cpu")
        assert shipped.digest == own["digest"]
        assert shipped.input_dim == 6
        made = load_artifact(ship / f"planar-arm-{kind}").provenance
        assert made["held_out"]["explained"] == own["explained"]
        assert made["data"] == load_artifact(work / "elites-3" / "elites").digest
        assert "(seed 3)" in (ship / f"planar-arm-{kind}" / "README.md").read_text()
    made = times(work)
    assert len(made) > 100
    assert cli.run(words) == 0
    assert times(work) == made
    assert read_json(out / "results.json") == report


def test_the_table_has_a_row_for_each_encoding_and_search() -> None:
    metrics = {"explained": 0.75, "moved": 0.0123, "std": 0.05, "std_reconstructed": 0.0625}
    learned = [
        {"kind": kind, "data": data, "seed": seed, **metrics}
        for kind in KINDS
        for data in DATA
        for seed in (0, 1)
    ]
    learned[0]["explained"] = 0.85
    targets = [{"evaluations": 5000}] * 2
    found = {"distance": 0.01, "std": 0.25, "reached": 0.5, "evaluations_to_target": 1234.0}
    rows: list[dict[str, Any]] = [
        {"problem": problem, "method": method, "seed": seed, "targets": targets, **found}
        | {"std_at_target": 0.1 + 0.2 * seed}
        for problem in ("plain", "locked")
        for method in METHODS
        for seed in (0, 1)
    ]
    rows[1]["evaluations_to_target"] = None  # of the first search's second seed
    text = write_table(
        learned, rows, {"plain": 0.0123, "locked": None}, elites=10**6, num_joints=200
    )
    assert "An arm of 200 joints reaches targets, 5,000\nevaluations each;" in text
    assert "± standard deviation over 2 seeds\n" in text
    lines = text.splitlines()
    assert (
        "| vae | elites | 80.0% ± 7.1% | 0.012 ± 0.000 | 0.0500 ± 0.0000 | 0.0625 ± 0.0000 |"
        in (lines)
    )
    assert [line for line in lines if line.startswith("## ")] == [
        "## Encodings",
        "## plain: 2 targets; the oracle's std 0.0123",
        "## locked: 2 targets",
    ]
    start = "| CMA-ES on angles, σ₀ 0.3 | 0.0100 ± 0.0000 | 0.2500 ± 0.0000 | 50% ± 0% |"
    assert [line.removeprefix(start) for line in lines if line.startswith(start)] == [
        " not reached, 1 of 2 | 0.2000 ± 0.1414 |",
        " 1,234 ± 0 | 0.2000 ± 0.1414 |",
    ]
    for how in METHODS.values():
        assert sum(line.startswith(f"| {how.title} |") for line in lines) == 2


def test_model_cards() -> None:
    metrics = {"poses": 1900, "seed": 3, "explained": 0.987, "moved": 0.0042}
    score = {"reached": 0.75, "std_at_target": 0.0321}
    card = encoding_card("vae", metrics, score, evaluations=5000)
    assert card.startswith("# planar-arm-vae\n\nA VAE with 32 latents")
    for said in (
        "1900 elites",
        "(seed 3)",
        "98.7%",
        "0.004 of",
        "75% of",
        "(5,000 evaluations,",
        "there: 0.0321 rad.",
    ):
        assert said in card
    card = encoding_card("vqvae", metrics, score | {"std_at_target": None}, evaluations=60)
    assert "A VQ-VAE with 8 codes of 64" in card
    assert "not reached at the median" in card
    assert "(60 evaluations, evenly\nspread targets)" in card


def test_nothing_to_do_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "reuse", "--out", str(tmp_path / "out")]
    assert cli.run([*words, "--seeds"]) == 2
    assert "seeds: expected at least one seed, got none" in capsys.readouterr().err
    assert cli.run([*words, "--targets", "0"]) == 2
    assert "targets: expected at least 1, got 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
