"""The house: packaging, import times' causes, and what the tree must not hold."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"wmrl": "wmrl", "wmrl.envs": "envs", "wmrl.agents": "agents", "wmrl.scripts": "scripts"}


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_declared_packages_are_the_folders() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert declared["package-dir"] == FOLDERS
    assert declared["packages"] == list(FOLDERS)
    for folder in FOLDERS.values():
        inner = [path.parent for path in (ROOT / folder).glob("*/**/__init__.py")]
        assert not inner, f"undeclared packages: {inner}"


def test_every_module_belongs_to_the_contract_of_floors() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    ground = set(contract["contracts"][0]["layers"][-1].split(" : "))
    modules = {path.stem for path in (ROOT / "wmrl").glob("*.py")} - {"__init__"}
    assert ground == modules


@pytest.mark.parametrize("name", ["envs", "agents", "scripts"])
def test_bare_folders_refuse_to_be_imported(name: str) -> None:
    result = run_python(f"import {name}", ROOT)
    assert result.returncode != 0
    assert f"this folder is the package 'wmrl.{name}'" in result.stderr


def test_import_registers_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, wmrl, gymnasium;"
        "ids = sorted(i for i in gymnasium.registry if i.startswith('vsg/'));"
        "print(*ids);"
        "heavy = {'torch', 'Box2D', 'cv2', 'numba', 'stable_baselines3', 'zarr'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = run_python(code, tmp_path)
    assert result.stdout.splitlines() == [
        "vsg/CarRacing-v3 vsg/CarRacingDream-v0 vsg/CarRacingLatent-v0 vsg/PlanarArm-v0 "
        "vsg/PlanarArmLatent-v0",
        "[]",
    ], result.stderr


def test_no_pickle_in_the_library() -> None:
    forbidden = ("import pickle", "torch.load(", "allow_pickle=True", "cloudpickle.load")
    for folder in FOLDERS.values():
        for path in (ROOT / folder).glob("*.py"):
            text = path.read_text()
            assert not [word for word in forbidden if word in text], path
