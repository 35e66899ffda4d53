import errno
import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import wmrl.storage.artifact
from wmrl.scripts import doctor
from wmrl.scripts.cli import run
from wmrl.scripts.doctor import Check


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Any, agent_path: Path) -> Path:
    """A folder of shipped artifacts: the tiny ones, under three names."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    for name, path in (
        ("vision", tiny.vision),
        ("dreams", tiny.memory),
        ("driver", agent_path),
    ):
        (folder / name).mkdir()
        for file in Path(path).iterdir():
            (folder / name / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(wmrl.storage.artifact, "SHIPPED", folder)
    monkeypatch.setattr(doctor, "SHIPPED_NAMES", ("vision", "dreams", "driver"))
    return folder


def artifacts() -> dict[str, Check]:
    return {check.subject: check for check in doctor.check_shipped()}


def test_intact_artifacts_are_ok(shipped: Path) -> None:
    assert {name: check.state for name, check in artifacts().items()} == {
        "vision": "ok",
        "dreams": "ok",
        "driver": "ok",
    }


def test_a_missing_artifact_is_a_problem(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SHIPPED_NAMES", ("vision", "lost"))
    check = artifacts()["lost"]
    assert check.state == "problem"
    assert "no artifact 'lost'" in check.found
    assert check.fix


def test_a_damaged_artifact_is_a_problem_and_orphans_what_was_trained_on_it(shipped: Path) -> None:
    model = shipped / "vision" / "model.safetensors"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    found = artifacts()
    assert "damaged" in found["vision"].found
    assert found["dreams"].found == "trained with another vision model than those that were found"
    assert found["dreams"].state == "problem"
    assert found["driver"].state == "problem"


def test_a_package_that_is_too_old_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=999", 'surely-missing>=1; extra == "video"', "rich>=1", "box2d>=0"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: lines)
    found = {check.subject: check for check in doctor.check_packages()}
    assert found["numpy"].state == "problem"
    assert found["numpy"].fix == 'pip install "numpy>=999"'
    assert found["surely-missing [video]"].state == "note"
    assert found["surely-missing [video]"].fix == 'pip install "wmrl[video]"'
    assert found["rich"].state == "ok"


def test_packages_that_shadow_each_other_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0")
    problems = [check for check in doctor.check_packages() if "same module" in check.found]
    assert problems[0].subject == "box2d and box2d-py"
    assert problems[0].fix == "pip uninstall box2d box2d-py, then pip install box2d"


def test_the_rest_of_this_installation_is_ok() -> None:
    checks_to_run = (
        doctor.check_machine,
        doctor.check_imports,
        doctor.check_devices,
        doctor.check_game,
        doctor.check_workers,
        doctor.check_locks,
        doctor.check_videos,
    )
    checks = [check for run_check in checks_to_run for check in run_check()]
    assert [check for check in checks if check.state == "problem"] == []
    found = {"Python", "imports", "device", "CPU", "vsg/CarRacing-v3", "workers", "locks", "MP4"}
    assert found <= {check.subject for check in checks}


def test_every_required_package_is_imported() -> None:
    installed = metadata.packages_distributions()
    imported = {name for module in doctor._MODULES for name in installed[module]}
    lines = [line for line in metadata.requires("wmrl") or () if "extra ==" not in line]
    required = {canonicalize_name(Requirement(line).name) for line in lines}
    assert len(required) > 10
    assert required <= {canonicalize_name(name) for name in imported}


def test_a_module_that_fails_to_load_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", load)
    (check,) = doctor.check_imports()
    assert (check.subject, check.state) == ("import cv2", "problem")
    assert check.found == "ImportError: libGL.so.1: cannot open shared object file"
    assert "opencv-python-headless" in check.fix


@pytest.mark.parametrize(
    ("error", "state", "found"),
    [
        (OSError(errno.ENOLCK, "No locks available"), "problem", "No locks available"),
        (OSError(errno.EOPNOTSUPP, "Operation not supported"), "problem", "not supported"),
        (PermissionError(errno.EACCES, "Permission denied"), "note", "is read-only"),
    ],
)
def test_locks_that_fail_say_why(
    error: OSError, state: str, found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def flock(*args: object) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    (check,) = doctor.check_locks()
    assert (check.state, "in use" in check.found) == (state, False)
    assert found in check.found


def test_a_small_shared_memory_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert [check for check in doctor.check_machine() if check.state == "problem"] == []


def test_exit_status_and_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def check_fine():
        yield Check("fine", "ok", "there [1]")

    def check_broken():
        raise RuntimeError("boom")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (check_fine,))
    assert run(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "there [1]" in printed
    assert "no problems" in printed

    monkeypatch.setattr(doctor, "CHECKS", (check_fine, check_broken))
    assert run(["doctor", "--json"]) == 1
    fine, broken = json.loads(capsys.readouterr().out)
    assert fine["state"] == "ok"
    assert broken == {
        "subject": "broken",
        "state": "problem",
        "found": "RuntimeError: boom",
        "fix": 'reinstall: pip install --force-reinstall "wmrl"',
    }


def test_damaged_compiled_code_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wmrl.envs.car_racing import rasterizer

    damaged = tmp_path / "rasterizer._wipe-1.py311.1.nbc"
    damaged.write_bytes(b"cut")
    monkeypatch.setattr(rasterizer, "cache_folder", lambda: str(tmp_path))
    (check,) = doctor.check_compiled()
    assert (check.state, damaged.exists()) == ("note", False)
    assert "1 damaged files removed" in check.found
    (check,) = doctor.check_compiled()
    assert check.state == "ok"
    monkeypatch.setattr(rasterizer, "cache_folder", lambda: None)
    (check,) = doctor.check_compiled()
    assert "NUMBA_CACHE_DIR" in check.fix
