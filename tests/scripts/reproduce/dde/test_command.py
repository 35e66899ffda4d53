from pathlib import Path

import imageio.v3 as iio
import pytest

from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.presets import SearchPreset
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.envs.planar_arm.arm import Arm
from wmrl.scripts import cli
from wmrl.scripts.reproduce.dde import experiment as experiment_module
from wmrl.scripts.reproduce.dde.command import write_table
from wmrl.storage.reading import read_json


def test_a_small_run_whose_searches_are_reused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SearchPreset(
        problem=ArmProblem(
            arm=Arm(num_joints=6), archive=ArchiveConfig(cells=40, qd_score_offset=-1.6)
        ),
        evaluations=3000,
        latent_dim=3,
    )
    monkeypatch.setitem(experiment_module.TASKS, "200-joints", small)
    words = ["reproduce", "dde", "--tasks", "200-joints", "--methods", "line", "dde"]
    words += ["--seeds", "0", "1", "--reduced", "2000", "--race", "4000"]
    words += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert cli.run(words) == 0
    out = tmp_path / "out"
    files = [out / f"200-joints-{method}.json" for method in ("line", "dde")]
    reports = [read_json(file) for file in files]
    report = {key: reports[0][key] + reports[1][key] for key in ("searches", "races")}
    runs = {(row["method"], row["budget"], row["seed"]) for row in report["searches"]}
    assert runs == {
        (method, *run) for method in ("line", "dde") for run in ((3000, 0), (2000, 0), (2000, 1))
    }
    assert all(row["std"] > 0 and row["oracle_coverage"] > 0.2 for row in report["searches"])
    assert {(race["method"], race["seed"]) for race in report["races"]} == {
        (method, seed) for method in ("line", "dde") for seed in (0, 1)
    }
    assert (out / "table.md").read_text() in capsys.readouterr().out
    for method in ("line", "dde"):
        assert iio.imread(out / f"200-joints-{method}.png").std() > 1
    assert (out / "200-joints-dde.mp4").stat().st_size > 1000
    # Calls of these would fail.
    monkeypatch.setattr("wmrl.agents.quality_diversity.dde.DDE.learn", None)
    monkeypatch.setattr("wmrl.agents.quality_diversity.baselines.Scheduler", None)
    assert cli.run(words) == 0
    assert [read_json(file) for file in files] == reports


@pytest.mark.slow
def test_several_calls_may_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = ArmProblem(arm=Arm(num_joints=4), archive=ArchiveConfig(cells=20, qd_score_offset=-1.6))
    for name, method in (("1000-joints", "line"), ("20-joints", "iso"), ("20-joints", "line")):
        monkeypatch.setitem(
            experiment_module.TASKS, name, SearchPreset(problem=tiny, evaluations=500)
        )
        words = ["reproduce", "dde", "--tasks", name, "--methods", method, "--seeds", "0"]
        words += ["--reduced", "200", "--work", str(tmp_path / "work"), "--out", str(tmp_path)]
        assert cli.run(words) == 0
    table = (tmp_path / "table.md").read_text()
    assert table.index("## 20-joints: 500 evaluations") < table.index("## 1000-joints: 200")
    rows = [line[:20] for line in table.splitlines() if line.startswith("| MAP-Elites")]
    assert [row.split(",")[1][:4] for row in rows] == [" iso", " lin"] * 2 + [" lin"] * 2


def test_the_table_has_a_row_for_each_search() -> None:
    row = {"task": "t", "budget": 100, "coverage": 0.5, "mean_fitness": -0.25, "qd_score": 3.0}
    times = {"seconds": 2.0, "training_seconds": 1.0}
    rows = [{**row, **times, "method": "dde", "seed": seed} for seed in (0, 1)]
    rows[1]["coverage"] = 0.7
    races = [{"method": "iso", "seed": 0, "evaluations": 2e6}]
    races += [{"method": "line", "seed": seed, "evaluations": None} for seed in (0, 1)]
    table = write_table(rows, races)
    assert "| DDE: VAE | 2 | 60.0% ± 14.1% | -0.2500 ± 0.0000 | 3 ± 0 | 2 ± 0 | 1 ± 0 |" in table
    assert "| MAP-Elites, isotropic mutation | 1 | 2,000,000 |" in table
    assert "| MAP-Elites, line mutation | 2 | not reached, 2 of 2 times |" in table


@pytest.mark.parametrize("option", ["tasks", "methods"])
def test_unknown_names_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["reproduce", "dde", f"--{option}", "luck"]) == 2
    assert f"{option}: expected some of" in capsys.readouterr().err


def test_nothing_to_do_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "dde", "--out", str(tmp_path / "out")]
    assert cli.run([*words, "--seeds", "--full-seeds"]) == 2
    assert "seeds: expected at least one seed in seeds or full_seeds" in capsys.readouterr().err
    assert cli.run([*words, "--full-seeds", "-1"]) == 2
    assert "full_seeds: expected at least 0, got -1" in capsys.readouterr().err
    for name in ("reduced", "full", "race"):
        assert cli.run([*words, f"--{name}", "0"]) == 2
        assert f"{name}: expected at least 1, got 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
