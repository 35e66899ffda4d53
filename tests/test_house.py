"""The house: packaging, doors, import times' causes, and what the tree must not hold."""

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from pages import DOCS, NOTEBOOKS, ROOT, markdown

FLOORS = {"wmrl": "wmrl", "wmrl.envs": "envs", "wmrl.agents": "agents", "wmrl.scripts": "scripts"}
SOURCES = [path for folder in FLOORS.values() for path in sorted((ROOT / folder).rglob("*.py"))]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
HEAVY = (
    *("torch", "Box2D", "cv2", "numba", "stable_baselines3", "zarr", "ribs", "vizdoom"),
    *("minari", "onnx", "onnxruntime"),
)


def packages() -> dict[str, Path]:
    """Folder of every package in the tree, by its import name."""
    return {
        ".".join((package, *path.parent.relative_to(ROOT / folder).parts)): path.parent
        for package, folder in FLOORS.items()
        for path in sorted((ROOT / folder).rglob("__init__.py"))
    }


DOORS = [
    name for name in packages() if "lazy_exports(" in (packages()[name] / "__init__.py").read_text()
]


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_there_is_a_tree_to_look_at() -> None:
    assert len(SOURCES) > 150
    assert len(DOORS) > 20


def test_declared_packages_are_the_folders() -> None:
    assert SETTINGS["setuptools"]["package-dir"] == FLOORS
    assert SETTINGS["setuptools"]["packages"] == list(packages())
    for path in SOURCES:
        assert (path.parent / "__init__.py").exists(), f"{path.parent} is no package"


def test_no_room_is_a_hall() -> None:
    for name, folder in packages().items():
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        rooms = [path for path in folder.iterdir() if (path / "__init__.py").exists()]
        most = {"wmrl.scripts": 30}.get(name, 16 if name in FLOORS else 14)
        assert len(modules) + len(rooms) <= most, f"{name} has {len(modules)} + {len(rooms)}"


def test_every_room_has_its_place_in_a_contract() -> None:
    contracts = SETTINGS["importlinter"]["contracts"]
    placed = set()
    for contract in contracts:
        assert contract["exhaustive"]
        assert not contract.get("ignore_imports"), contract["name"]
        (container,) = contract["containers"]
        for layer in contract["layers"]:
            placed |= {f"{container}.{room.strip()}" for room in layer.split("|")}
    # Packages inside an experiment need no layer: their only place is that experiment.
    inside = {name for name in packages() if name.startswith("wmrl.scripts.reproduce.")}
    assert set(packages()) - {"wmrl"} <= placed | inside


@pytest.mark.parametrize("name", DOORS)
def test_doors_lead_to_what_they_promise(name: str) -> None:
    door = import_module(name)
    assert dir(door) == sorted(door.__all__)
    summary, _, index = (door.__doc__ or "").partition("\n")
    assert summary.endswith((".", "``."))
    for export in door.__all__:
        assert getattr(door, export) is not None
        assert f"``{export}``" in index, f"{name}: {export} is not in the list of what is there"
        # A submodule of that name would take its place once it is imported.
        assert not (packages()[name] / f"{export}.py").exists()
        assert not (packages()[name] / export).exists()
    with pytest.raises(AttributeError, match="has no attribute 'nothing_like_it'"):
        door.nothing_like_it  # noqa: B018


def test_doors_are_quick(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom importlib import import_module\n"
        f"for name in {DOORS}: import_module(name)\n"
        f"print([module for module in {HEAVY} if module in sys.modules])"
    )
    result = run_python(code, tmp_path)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("name", ["envs", "agents", "scripts"])
def test_bare_folders_refuse_to_be_imported(name: str) -> None:
    result = run_python(f"import {name}", ROOT)
    assert result.returncode != 0
    assert (
        f"ImportError: {name}: expected an import as 'wmrl.{name}', got an import of the source "
        f"folder '{name}' itself; install wmrl, then import wmrl.{name}\n"
    ) in result.stderr


def test_import_registers_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, wmrl, gymnasium;"
        "ids = sorted(i for i in gymnasium.registry if i.startswith('vsg/'));"
        "print(*ids);"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    result = run_python(code, tmp_path)
    assert result.stdout.splitlines() == [
        "vsg/CarRacing-v3 vsg/CarRacingDream-v0 vsg/CarRacingLatent-v0 vsg/Dream-v0 "
        "vsg/Latent-v0 vsg/PlanarArm-v0 vsg/PlanarArmLatent-v0 vsg/TakeCover-v0 "
        "vsg/TakeCoverDream-v0 vsg/TakeCoverLatent-v0",
        "[]",
    ], result.stderr


def test_no_pickle_in_the_library() -> None:
    forbidden = ("import pickle", "torch.load(", "allow_pickle=True", "cloudpickle.load")
    for path in SOURCES:
        text = path.read_text()
        assert not [word for word in forbidden if word in text], path


def test_the_library_imports_no_experiment() -> None:
    for path in SOURCES:
        if path.is_relative_to(ROOT / "scripts"):
            continue
        assert "wmrl.scripts" not in imported_modules(path), path


def imported_modules(path: Path) -> set[str]:
    """Modules and packages that a file imports anywhere, with all that they are in."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return found


def deep_imports(code: str) -> list[str]:
    """Lines of Python that import from a module instead of a door."""
    doors = {*FLOORS, *DOORS}
    return [
        line
        for line in code.splitlines()
        if (words := line.split())[:1] in (["from"], ["import"])
        and words[1].split(".")[0] == "wmrl"
        and words[1] not in doors
    ]


PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, *NOTEBOOKS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_import_from_doors(page: Path) -> None:
    assert not deep_imports(markdown(page))


def test_deep_imports_are_noticed() -> None:
    assert deep_imports("from wmrl.vision.vae import VAE\nfrom wmrl.vision import VAE") == [
        "from wmrl.vision.vae import VAE"
    ]
