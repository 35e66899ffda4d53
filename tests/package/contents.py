"""Contents of the distributions, compared with the files of the repository."""

import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

FLOORS = {"wmrl": "wmrl", "envs": "wmrl/envs", "agents": "wmrl/agents", "scripts": "wmrl/scripts"}
"""Folders of the repository, and where a wheel has them."""

_ONLY_IN_GIT = {".ci/run", ".gitignore"}
_DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def repository_files(root: Path) -> set[str]:
    """Returns the paths of all files of the repository that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return {path for path in found.splitlines() if (root / path).exists()}


def expected_in_wheel(files: Iterable[str]) -> set[str]:
    """Returns the paths in a wheel of those files of the repository that belong there."""
    split = [path.partition("/") for path in files]
    return {f"{FLOORS[folder]}/{rest}" for folder, _, rest in split if folder in FLOORS}


def wheel_problems(wheel: Path, files: Iterable[str]) -> list[str]:
    """Returns what is missing in a wheel, what should not be there, and links that lead nowhere."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        metadata = archive.read(f"{info}/METADATA").decode()
    about = {name for name in names if name.startswith(f"{info}/")}
    problems = _differences(wheel.name, names - about, expected_in_wheel(files))
    problems += [
        f"{wheel.name} lacks {name}" for name in _DIST_INFO if f"{info}/{name}" not in about
    ]
    relative = re.findall(r"\]\((?!https?://|#)[^)]*\)", metadata)
    return problems + [f"the readme has the relative link {link[1:]}" for link in relative]


def sdist_problems(sdist: Path, files: Iterable[str]) -> list[str]:
    """Returns what is missing in a source distribution, and what should not be there."""
    with tarfile.open(sdist) as archive:
        members = [member for member in archive if member.isfile()]
        names = {member.name.partition("/")[2] for member in members}
    made = {"PKG-INFO", "setup.cfg", *(name for name in names if "egg-info/" in name)}
    return _differences(sdist.name, names - made, set(files) - _ONLY_IN_GIT)


def _differences(archive: str, found: set[str], expected: set[str]) -> list[str]:
    lost = [f"{archive} lacks {name}" for name in sorted(expected - found)]
    return lost + [f"{archive} should not have {name}" for name in sorted(found - expected)]
