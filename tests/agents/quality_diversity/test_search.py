"""One search for elites in a folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmrl.agents.quality_diversity import search as search_module
from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.dde import DDEConfig
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.agents.quality_diversity.search import EliteSearchConfig, search_elites
from wmrl.encodings.vector_vae import VectorVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.storage.run import Run, RunError

CELLS = ArchiveConfig(shape="grid", dims=(3, 5), worst=-2.0)
PROBLEM = ArmProblem(arm=Arm(joints=4), archive=CELLS)


def settings(joints: int = 4, **changes) -> DDEConfig:
    return EliteSearchConfig(problem=ArmProblem(arm=Arm(joints=joints)), **changes).dde()


def test_whole_batches_are_evaluated() -> None:
    assert [settings(evaluations=n).generations for n in (1, 100, 101)] == [1, 1, 2]


@pytest.mark.parametrize(("joints", "latents"), [(1, 1), (20, 10), (200, 32)])
def test_the_vae_grows_with_the_arm(joints: int, latents: int) -> None:
    encoding = settings(joints).encoding
    assert encoding == VectorVAEConfig(size=joints, latent_size=latents)


def test_the_published_settings_are_another_algorithm_s() -> None:
    assert settings(algorithm="dde-published").reward == "entered"
    assert settings().reward == "qd_score"
    published = settings(algorithm="dde-published", encoding="none")
    assert (published.encoding, published.crossovers) == (None, (0.0,))
    for joints, fill in ((500, 0.05), (1000, 0.002)):
        problem = ArmProblem(arm=Arm(joints=joints))
        assert EliteSearchConfig(problem=problem).dde().fill == fill
        assert EliteSearchConfig(problem=problem, fill=0.01).dde().fill == 0.01


def test_auto_is_settled() -> None:
    """So that a run says what it is."""
    kinds = {name: EliteSearchConfig(algorithm=name).encoding for name in ("dde", "cma-me")}
    assert kinds == {"dde": "vae", "cma-me": "none"}


@pytest.mark.parametrize("algorithm", ["dde", "line"])
def test_a_film_ends_with_the_end(algorithm: str, tmp_path: Path) -> None:
    """Also where generations are no multiple of what is between two snapshots."""
    # So many cells and joints that each batch finds something new.
    archive = ArchiveConfig(shape="grid", dims=(20, 15), worst=-2.0)
    config = EliteSearchConfig(
        problem=ArmProblem(arm=Arm(joints=12), archive=archive),
        algorithm=algorithm,  # type: ignore[arg-type]
        encoding="none",
        evaluations=20_300,
    )
    found = search_elites(tmp_path, config, progress=False)
    last = np.full(300, np.nan, np.float32)
    last[found.elites.cells] = found.elites.objectives
    assert np.array_equal(found.snapshots[-1], last, equal_nan=True)
    assert 100 <= len(found.snapshots) <= 103
    assert found.figures["coverage"] == pytest.approx(len(found.elites) / 300)
    assert found.figures["qd_score"] == pytest.approx((found.elites.objectives + 2.0).sum())


def test_a_folder_in_use_is_refused_and_left(tmp_path: Path) -> None:
    config = EliteSearchConfig(problem=PROBLEM, algorithm="line", evaluations=300)
    with Run(tmp_path / "out", config={}), pytest.raises(RunError, match="in use"):
        search_elites(tmp_path / "out", config, progress=False)
    assert (tmp_path / "out" / "config.json").exists()


def test_a_folder_that_another_was_quicker_to_take_is_left(tmp_path: Path, monkeypatch) -> None:
    def taken(path: Path, *, config: dict[str, Any]) -> Run:
        path.mkdir()
        (path / "config.json").write_text("theirs")
        raise RunError("in use")

    monkeypatch.setattr(search_module, "Run", taken)
    with pytest.raises(RunError, match="in use"):
        search_elites(tmp_path / "out", EliteSearchConfig(), progress=False)
    assert (tmp_path / "out" / "config.json").read_text() == "theirs"


def test_options_that_fail_are_not_in_the_way(tmp_path: Path) -> None:
    """Random arms are in the disc, so that they can not fill half of so fine a grid."""
    fine = ArmProblem(arm=PROBLEM.arm, archive=ArchiveConfig(shape="grid", dims=(800, 800)))
    config = EliteSearchConfig(problem=fine, algorithm="iso", fill=0.5, evaluations=300)
    with pytest.raises(ValueError, match="fill: expected random solutions to fill 50"):
        search_elites(tmp_path / "out", config, progress=False)
    assert not (tmp_path / "out").exists()
    mended = search_elites(tmp_path / "out", replace(config, fill=1e-5), progress=False)
    assert len(mended.elites)


def test_clear_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="path: expected a folder, or nothing yet, got the file"):
        search_elites(tmp_path / "file", EliteSearchConfig())
    assert (tmp_path / "file").read_text() == "mine"
    for wrong, said in (
        ({"algorithm": "luck"}, "algorithm: expected one of dde, .*, got 'luck'"),
        ({"encoding": "pca"}, "encoding: expected one of auto, .*, got 'pca'"),
        ({"algorithm": "iso", "encoding": "fsq"}, "encoding: expected 'none' with 'iso'"),
        ({"evaluations": 0}, "evaluations: expected at least 1"),
        ({"fill": 0.6}, "fill: expected a share"),
        ({"seed": -1}, "seed: expected a non-negative"),
    ):
        with pytest.raises(ValueError, match=said):
            EliteSearchConfig(**wrong)
    with pytest.raises(ValueError, match="algorithm: expected one of DDE's, got 'iso'"):
        settings(algorithm="iso")
