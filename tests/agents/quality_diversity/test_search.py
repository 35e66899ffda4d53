"""Complete searches for elites, each in a folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmrl.agents.quality_diversity import initialization
from wmrl.agents.quality_diversity import search as search_module
from wmrl.agents.quality_diversity.archive import ArchiveConfig, load_elites
from wmrl.agents.quality_diversity.dde_config import DDEConfig
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.agents.quality_diversity.search import EliteSearchConfig, search_elites
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.storage.run import Run, RunError

CELLS = ArchiveConfig(shape="grid", dims=(3, 5), qd_score_offset=-2.0)
PROBLEM = ArmProblem(arm=Arm(num_joints=4), archive=CELLS)


def settings(num_joints: int = 4, **changes) -> DDEConfig:
    return EliteSearchConfig(problem=ArmProblem(arm=Arm(num_joints=num_joints)), **changes).dde()


def test_whole_batches_are_evaluated() -> None:
    assert [settings(evaluations=n).generations for n in (1, 100, 101)] == [1, 1, 2]


@pytest.mark.parametrize(("num_joints", "latent_dim"), [(1, 1), (20, 10), (200, 32)])
def test_the_vae_grows_with_the_arm(num_joints: int, latent_dim: int) -> None:
    encoding = settings(num_joints).encoding
    assert encoding == VectorVAEConfig(input_dim=num_joints, latent_dim=latent_dim)


def test_the_published_settings_are_another_algorithm() -> None:
    assert settings(algorithm="dde-published").reward == "entered"
    assert settings().reward == "qd_score"
    published = settings(algorithm="dde-published", encoding=None)
    assert (published.encoding, published.crossovers) == (None, (0.0,))
    for num_joints, coverage in ((500, 0.05), (1000, 0.002)):
        problem = ArmProblem(arm=Arm(num_joints=num_joints))
        assert EliteSearchConfig(problem=problem).dde().initial_coverage == coverage
        config = EliteSearchConfig(problem=problem, initial_coverage=0.01)
        assert config.dde().initial_coverage == 0.01


def test_auto_is_replaced_by_a_kind() -> None:
    """A run's configuration must describe it."""
    kinds = {name: EliteSearchConfig(algorithm=name).encoding for name in ("dde", "cma-me")}
    assert kinds == {"dde": "vae", "cma-me": None}


@pytest.mark.parametrize("algorithm", ["dde", "line"])
def test_a_video_ends_with_the_end(algorithm: str, tmp_path: Path) -> None:
    """Also if the number of generations is no multiple of those between snapshots."""
    # With this many cells and joints, each batch adds elites.
    archive = ArchiveConfig(shape="grid", dims=(20, 15), qd_score_offset=-2.0)
    config = EliteSearchConfig(
        problem=ArmProblem(arm=Arm(num_joints=12), archive=archive),
        algorithm=algorithm,  # type: ignore[arg-type]
        encoding=None,
        evaluations=20_300,
    )
    found = search_elites(tmp_path, config, progress=False)
    last = np.full(300, np.nan, np.float32)
    last[found.elites.cells] = found.elites.objectives
    assert np.array_equal(found.snapshots[-1], last, equal_nan=True)
    assert 100 <= len(found.snapshots) <= 103
    assert found.metrics["coverage"] == pytest.approx(len(found.elites) / 300)
    assert found.metrics["qd_score"] == pytest.approx((found.elites.objectives + 2.0).sum())


def test_a_folder_in_use_is_refused_and_left(tmp_path: Path) -> None:
    config = EliteSearchConfig(problem=PROBLEM, algorithm="line", evaluations=300)
    with Run(tmp_path / "out", config={}), pytest.raises(RunError, match="in use"):
        search_elites(tmp_path / "out", config, progress=False)
    assert (tmp_path / "out" / "config.json").exists()


def test_a_folder_taken_by_another_process_is_left(tmp_path: Path, monkeypatch) -> None:
    def taken(path: Path, *, config: dict[str, Any], limits: Any) -> Run:
        path.mkdir()
        (path / "config.json").write_text("theirs")
        raise RunError("in use")

    monkeypatch.setattr(search_module, "Run", taken)
    with pytest.raises(RunError, match="in use"):
        search_elites(tmp_path / "out", EliteSearchConfig(), progress=False)
    assert (tmp_path / "out" / "config.json").read_text() == "theirs"


def test_invalid_options_leave_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few random arms cannot fill half of a grid this fine."""
    monkeypatch.setattr(initialization, "_MAX_BATCHES", 20)
    fine = ArmProblem(arm=PROBLEM.arm, archive=ArchiveConfig(shape="grid", dims=(80, 80)))
    config = EliteSearchConfig(problem=fine, algorithm="iso", initial_coverage=0.5, evaluations=300)
    with pytest.raises(ValueError, match="initial_coverage: expected random solutions to fill 50"):
        search_elites(tmp_path / "out", config, progress=False)
    assert not (tmp_path / "out").exists()
    mended = search_elites(tmp_path / "out", replace(config, initial_coverage=1e-3), progress=False)
    assert len(mended.elites)


def test_clear_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="path: expected a folder or a new path, got the file"):
        search_elites(tmp_path / "file", EliteSearchConfig())
    assert (tmp_path / "file").read_text() == "mine"
    for wrong, message in (
        ({"algorithm": "luck"}, "algorithm: expected one of 'dde', .*, got 'luck'"),
        ({"encoding": "pca"}, "encoding: expected one of 'auto', .*, got 'pca'"),
        ({"algorithm": "iso", "encoding": "fsq"}, "encoding: expected none with 'iso'"),
        ({"evaluations": 0}, "evaluations: expected at least 1"),
        ({"initial_coverage": 0.6}, "initial_coverage: expected at most 0.5"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            EliteSearchConfig(**wrong)
    with pytest.raises(ValueError, match="algorithm: expected 'dde' or 'dde-published', got 'iso'"):
        settings(algorithm="iso")


@pytest.mark.parametrize("algorithm", ["dde", "line"])
def test_a_finished_search_can_be_extended(
    algorithm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "write_map_video", lambda *_, **__: None)
    config = EliteSearchConfig(
        problem=PROBLEM, algorithm=algorithm, encoding=None, evaluations=5_300
    )
    more = replace(config, evaluations=7_400)
    search_elites(tmp_path / "parts", config, progress=False)
    parts = search_elites(tmp_path / "parts", more, progress=False)
    whole = search_elites(tmp_path / "whole", more, progress=False)
    for name, value in vars(whole.elites).items():
        assert np.array_equal(value, getattr(parts.elites, name)), name
    assert parts.metrics == whole.metrics
    files = [tmp_path / name / "elites" / "SHA256SUMS" for name in ("parts", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()
    with pytest.raises(RunError, match=r"evaluations: expected at least 7400, .*got 5300"):
        search_elites(tmp_path / "parts", config, progress=False)


def test_the_elites_are_saved_before_the_video_is_made(tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no ffmpeg")

    monkeypatch.setattr(search_module, "write_map", fail)
    config = EliteSearchConfig(problem=PROBLEM, algorithm="line", evaluations=300)
    with pytest.raises(OSError, match="no ffmpeg"):
        search_elites(tmp_path / "out", config, progress=False)
    assert len(load_elites(tmp_path / "out" / "elites")[0]) > 0
