"""Builds wmrl as for a package index, installs it in a new environment, and tests it there.

``python tests/package --out dist`` leaves a source distribution and a wheel in ``dist``. The tests
are those of the source distribution, in a folder without the source code of wmrl.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from contents import FLOORS, repository_files, sdist_problems, wheel_problems

ROOT = Path(__file__).parents[2]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
CONSTRAINTS = ("-c", str(ROOT / "constraints.txt"))
TESTS = (
    *("tests/wmrl/core", "tests/wmrl/storage", "tests/test_plugins.py"),
    *("tests/envs/dream/test_env.py", "tests/envs/latent/test_env.py"),
    *("tests/envs/planar_arm/test_latent_env.py", "tests/agents/test_loading.py"),
)
"""Tests of parts that read files of the package, or start processes."""
TOOLS = ("pytest", "hypothesis", "huggingface_hub", "moviepy")  # which these tests use


def main() -> None:
    """Takes all steps, each with a line; the first that fails ends the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder of what is built")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="tests to run, as for pytest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sdist, wheel = build(folder / "built")
        python = install(wheel, folder / "environment")
        compare_installed(sdist, wheel, folder / "from-sdist", python)
        use(python, folder)
        run_tests(sdist, folder / "source", python, options.tests)
        options.out.mkdir(parents=True, exist_ok=True)
        for path in (sdist, wheel):
            print(f"{shutil.copy(path, options.out)} is fit for a package index")


def build(folder: Path) -> tuple[Path, Path]:
    """Builds a source distribution, and from it a wheel; checks their metadata and contents."""
    step("build", sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    step("check the metadata", sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    print("check the contents", flush=True)
    files = repository_files(ROOT)
    problems = sdist_problems(sdist, files) + wheel_problems(wheel, files)
    if problems:
        raise SystemExit("\n".join(problems))
    return sdist, wheel


def install(wheel: Path, folder: Path) -> Path:
    """Installs a wheel and what it requires in a new environment; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    step("install the wheel", python, *PIP, "install", *CONSTRAINTS, wheel)
    step("check what is installed", python, *PIP, "check")
    return python


def compare_installed(sdist: Path, wheel: Path, folder: Path, python: Path) -> None:
    """Checks that the source distribution installs the files of the wheel."""
    step("install the sdist", python, *PIP, "install", "--no-deps", "--target", folder, sdist)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "dist-info/" not in name and archive.read(name) != (folder / name).read_bytes():
                raise SystemExit(f"the sdist installs another {name} than the wheel")


def use(python: Path, folder: Path) -> None:
    """Imports all public names, opens shipped artifacts, plays, and calls the command."""
    wmrl = python.with_name("wmrl")
    print(
        step("use it", python, ROOT / "tests" / "package" / "installed.py", folder=folder), end=""
    )
    for words in (("--version",), ("--help",), ("doctor",)):
        step(f"wmrl {words[0]}", wmrl, *words, folder=folder)
    list_names = "from wmrl.storage import shipped_artifacts; print(*shipped_artifacts())"
    names = step("list the shipped artifacts", python, "-c", list_names, folder=folder).split()
    step(f"verify {len(names)} artifacts", wmrl, "artifacts", "verify", *names, folder=folder)


def run_tests(sdist: Path, folder: Path, python: Path, tests: list[str]) -> None:
    """Runs tests of the source distribution against the installed package."""
    step("install pytest", python, *PIP, "install", *CONSTRAINTS, *TOOLS)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    for floor in FLOORS:
        shutil.rmtree(source / floor)
    shown = step("run tests", python.with_name("pytest"), *tests, folder=source)
    print(f"  {shown.splitlines()[-1]}")


def step(title: str, *command: str | Path, folder: Path = ROOT) -> str:
    """Runs a command in a folder and returns what it prints; if it fails, ends the program."""
    print(title, flush=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"{result.stdout}\n{title}: exit status {result.returncode}")
    return result.stdout


if __name__ == "__main__":
    main()
