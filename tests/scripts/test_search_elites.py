import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
import pytest

from wmrl.agents.quality_diversity.archive import load_elites
from wmrl.agents.quality_diversity.problems import ArmProblem, objective_lower_bound
from wmrl.envs.planar_arm.arm import Arm
from wmrl.scripts.cli import run
from wmrl.storage.artifact import load_artifact

pytestmark = pytest.mark.usefixtures("interpreted_ribs")

ALGORITHMS = ("dde", "dde-published", "iso", "line", "cma-me", "cma-mae")
FURTHER = ("dde-published", "cma-me")  # variants of dde and of cma-mae
SMALL = ["--num-joints", "6", "--cells", "40", "--evaluations", "1500"]


def words(out: Path, *more: str, small: list[str] = SMALL) -> list[str]:
    return ["search-elites", str(out), *small, "--no-progress", "--device", "cpu", *more]


def files(out: Path) -> dict[str, bytes]:
    """Contents of a search's files, by name."""
    paths = [out / "map.png", out / "map.mp4", *sorted((out / "elites").iterdir())]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def video(path: Path) -> list[np.ndarray]:
    """Frames of a video."""
    reader, frames = cv2.VideoCapture(str(path)), []
    while (got := reader.read())[0]:
        frames.append(got[1].astype(int))
    reader.release()
    return frames


class Count:
    """Counts evaluated batches, and interrupts at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.end = 0, -1
        evaluate = ArmProblem.evaluate

        def counted(problem: ArmProblem, solutions: np.ndarray) -> Any:
            self.calls += 1
            if self.calls == self.end:
                raise KeyboardInterrupt
            return evaluate(problem, solutions)

        monkeypatch.setattr(ArmProblem, "evaluate", counted)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    return Count(monkeypatch)


@pytest.mark.parametrize(
    "algorithm",
    [pytest.param(name, marks=pytest.mark.slow if name in FURTHER else ()) for name in ALGORITHMS],
)
def test_each_algorithm_finds_elites(
    algorithm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: Count
) -> None:
    own = words(tmp_path / "out", "--algorithm", algorithm, "--seed", "3")
    assert run(own) == 0
    printed = capsys.readouterr().out
    elites, archive = load_elites(tmp_path / "out" / "elites")
    arm = Arm(num_joints=6)
    objectives, measures = ArmProblem(arm=arm).evaluate(elites.solutions)
    np.testing.assert_allclose(elites.objectives, objectives, atol=1e-6)
    np.testing.assert_allclose(elites.measures, measures, atol=1e-6)
    assert (archive.shape, archive.cells) == ("disc", 40)
    assert len(elites) > 20
    assert archive.qd_score_offset == objective_lower_bound(arm, "std")
    score = (elites.objectives - archive.qd_score_offset).sum()
    assert f"{len(elites) / 40:.1%} ({len(elites)} of 40 cells)" in printed
    assert f"mean fitness: {elites.objectives.mean():.4f}\n" in printed
    best = elites.objectives.max() + 0.0  # a straight arm's is -0.0
    assert f"best fitness: {best:.4f}\n" in printed
    assert f"QD score:     {score:.2f} (offset " in printed
    assert str(tmp_path / "out" / "elites") in printed

    made = load_artifact(tmp_path / "out" / "elites").provenance
    assert (made["command"], made["seed"]) == ("search-elites", 3)
    assert made["settings"]["algorithm"] == algorithm
    assert made["settings"]["arm"]["num_joints"] == 6
    assert 1500 <= made["evaluations"] < 1500 + 15 * 36 + 200
    assert f"evaluations:  {made['evaluations']:,}\n" in printed
    assert {"ribs", "wmrl"} <= set(made["versions"])

    found = files(tmp_path / "out")
    frames = video(tmp_path / "out" / "map.mp4")
    assert len(frames) == (3 if algorithm.startswith("cma") else 15 if "dde" in algorithm else 14)
    assert np.abs(frames[0] - frames[-1]).max() > 50
    before = count.calls
    assert run(own) == 0  # a finished search is read
    assert count.calls == before
    assert files(tmp_path / "out") == found
    left = {path.name for path in (tmp_path / "out").iterdir()}
    known = {"config.json", "lock", "run.toml", "elites", "map.png", "map.mp4"}
    assert left == known | ({"run"} if "dde" in algorithm else {"ribs.checkpoint"})


@pytest.mark.parametrize("encoding", ["vqvae", "fsq", "none"])
def test_each_encoding(encoding: str, tmp_path: Path) -> None:
    assert run(words(tmp_path, "--encoding", encoding)) == 0
    made = load_artifact(tmp_path / "elites").provenance["settings"]["dde"]
    assert made["generations"] == 15
    if encoding == "none":
        assert (made["encoding"], made["crossovers"]) == (None, [0.0])
    else:
        assert (made["encoding"]["quantizer"] == "fsq") == (encoding == "fsq")
        assert made["encoding"]["input_dim"] == 6


def test_dde_continues_bit_by_bit(tmp_path: Path, count: Count) -> None:
    """Interrupted between two checkpoints, and after the search but before its artifact."""
    options = ["--evaluations", "12000", "--num-joints", "5", "--cells", "30"]
    whole, killed = (words(tmp_path / name, small=options) for name in ("whole", "killed"))
    assert run(whole) == 0
    batches = count.calls
    count.end = batches + 110
    assert run(killed) == 130
    assert not (tmp_path / "killed" / "elites").exists()
    count.calls, count.end = 0, -1
    assert run(killed) == 0
    assert 20 <= count.calls < batches
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    shutil.rmtree(tmp_path / "killed" / "elites")
    (tmp_path / "killed" / "map.mp4").unlink()
    count.calls = 0
    assert run(killed) == 0
    assert count.calls == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    for name in ("whole", "killed"):
        assert not list((tmp_path / name).rglob(".*"))


def test_an_interrupted_search_of_ribs_starts_again(tmp_path: Path, count: Count) -> None:
    own, whole = (words(tmp_path / name, "--algorithm", "line") for name in ("killed", "whole"))
    count.end = 5
    assert run(own) == 130
    assert not (tmp_path / "killed" / "elites").exists()
    count.end = -1
    assert run(own) == run(whole) == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_grid_a_custom_arm_and_initial_elites(tmp_path: Path) -> None:
    arm = [
        "--num-joints",
        "4",
        "--link-lengths",
        "0.4",
        "0.3",
        "0.2",
        "0.1",
        "--locks",
        "1",
        "-0.5",
    ]
    arm += ["--obstacles", "0.5", "-0.2", "0.1", "0.2", "0.6", "0.15", "--objective", "variance"]
    options = [*arm, "--dims", "9", "4", "--evaluations", "1000"]
    assert run(words(tmp_path / "first", "--algorithm", "iso", small=options)) == 0
    first, archive = load_elites(tmp_path / "first" / "elites")
    assert (archive.shape, archive.dims, archive.num_cells) == ("grid", (9, 4), 36)
    own = Arm(
        num_joints=4,
        link_lengths=(0.4, 0.3, 0.2, 0.1),
        locks=((1, -0.5),),
        obstacles=((0.5, -0.2, 0.1), (0.2, 0.6, 0.15)),
    )
    assert archive.qd_score_offset == objective_lower_bound(own, "variance")
    objectives, _ = ArmProblem(arm=own, objective="variance").evaluate(first.solutions)
    np.testing.assert_allclose(first.objectives, objectives, rtol=1e-5)
    height, width, _ = iio.imread(tmp_path / "first" / "map.png").shape
    assert width > height  # nine cells along x, four along y

    more = [*options, "--init", str(tmp_path / "first" / "elites"), "--encoding", "none"]
    assert run(words(tmp_path / "more", small=more)) == 0
    elites, _ = load_elites(tmp_path / "more" / "elites")
    best = dict(zip(elites.cells, elites.objectives, strict=True))
    assert all(
        best[cell] >= objective
        for cell, objective in zip(first.cells, first.objectives, strict=True)
    )
    made = load_artifact(tmp_path / "more" / "elites").provenance
    assert made["settings"]["init"] == load_artifact(tmp_path / "first" / "elites").digest
    assert made["evaluations"] >= 1000 + len(first)


def test_a_folder_of_another_search_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(tmp_path, "--algorithm", "line")) == 0
    found = files(tmp_path)
    for more, message in (
        (["--algorithm", "iso"], "algorithm: expected 'iso', got 'line'"),
        (["--algorithm", "line", "--num-joints", "7"], "arm.link_lengths: expected "),
        (["--algorithm", "line", "--seed", "1"], "seed: expected 1, got 0"),
    ):
        assert run(words(tmp_path, *more)) == 2
        err = capsys.readouterr().err
        assert message in err
        assert "choose another folder" in err
    assert files(tmp_path) == found


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--algorithm", "iso", "--encoding", "vae"], "encoding: expected none with 'iso'"),
        (["--algorithm", "iso", "--init", "x"], "init: expected none with 'iso'"),
        (["--init", "nowhere"], "no artifact 'nowhere'"),
        (["--evaluations", "0"], "evaluations: expected at least 1, got 0"),
        (["--evaluations", "90", "--algorithm", "iso"], "evaluations: expected more than the 100"),
        (["--dims", "3", "4"], "cells: expected no value together with dims (3, 4), got 40"),
        (["--cells", "0"], "cells: expected at least 1, got 0"),
        (["--qd-score-offset", "-1"], "qd_score_offset: expected at most -1.570"),
        (["--qd-score-offset", "nan"], "qd_score_offset: expected a finite number"),
        (["--qd-score-offset", "-inf"], "qd_score_offset: expected a finite number"),
        (["--initial-coverage", "0"], "initial_coverage: expected above 0, got 0"),
        (["--seed", "-1"], "seed: expected at least 0, got -1"),
        (["--num-joints", "0"], "num_joints: expected at least 1, got 0"),
        (["--link-lengths", "1", "2"], "link_lengths: expected 6 lengths"),
        (["--locks", "9", "0.1"], "locks: expected joints from 0 to 5, got joint 9"),
        (["--obstacles", "0", "0", "0.1"], "obstacles: expected the base (0, 0) to be free"),
        (["--device", "abacus"], "device: expected 'auto', 'cpu'"),
    ],
)
def test_invalid_options_leave_nothing(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(tmp_path / "out", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_elites_of_another_arm_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(tmp_path / "six", "--algorithm", "iso")) == 0
    init = str(tmp_path / "six" / "elites")
    assert run(words(tmp_path / "out", "--num-joints", "5", "--init", init)) == 2
    assert "init: expected elites of 5 numbers (one per joint)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_left(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert run(words(tmp_path, "--device", "abacus")) == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert run(words(tmp_path)) == 0
    assert json.loads((tmp_path / "config.json").read_text())["algorithm"] == "dde"
