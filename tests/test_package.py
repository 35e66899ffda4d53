"""The package for an index: one version everywhere, a readme without dead links, all files."""

import io
import re
import runpy
import tarfile
import tomllib
import zipfile
from pathlib import Path

import contents
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pages import ROOT

import wmrl

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
FILES = ("wmrl/a.py", "envs/b/c.py", "scripts/py.typed", "tests/d.py", ".gitignore")
index_readme = runpy.run_path(str(ROOT / "setup.py"))["index_readme"]


def test_the_version_is_the_same_everywhere() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(.*?)\] - \d{4}-\d\d-\d\d$", changelog, re.M)
    assert released[0] == wmrl.__version__
    assert re.findall(r"version = \{(.*?)\}", README) == [wmrl.__version__]


def test_named_versions_of_python_are_those_that_are_required() -> None:
    required = SpecifierSet(PROJECT["requires-python"])
    names = [name.rpartition(" :: ")[2] for name in PROJECT["classifiers"]]
    named = [name for name in names if re.fullmatch(r"3\.\d+", name)]
    assert named == [f"3.{minor}" for minor in range(40) if required.contains(f"3.{minor}")]
    assert f"Python {named[0]} to {named[-1]}" in README


def test_tested_versions_satisfy_the_requirements() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    tested = {canonicalize_name(name): version for name, version in (x.split("==") for x in lines)}
    extras = PROJECT["optional-dependencies"]
    for line in (*PROJECT["dependencies"], *extras["test"], *extras["docs"], *extras["release"]):
        needed = Requirement(line)
        assert needed.specifier.contains(tested[canonicalize_name(needed.name)]), line


def test_the_readme_of_an_index_has_no_relative_links() -> None:
    for source in (None, "https://example.org/ada/wmrl"):
        shown = index_readme(README, source)
        assert not re.search(r"\]\((?!https://)", shown)
        assert "[World Models](https://arxiv.org/abs/1803.10122)" in shown
        assert "Where to read on" in shown


def test_links_of_the_readme_lead_to_the_address() -> None:
    readme = "![A](b/c.webp)\n\n*A caption.*\n\nSee [D](e.md#f), [G](https://h.org) and [I](#j).\n"
    assert index_readme(readme, None) == "See D, [G](https://h.org) and [I](#j).\n"
    assert index_readme(readme, "https://x.org/y/z/") == (
        "![A](https://x.org/y/z/raw/HEAD/b/c.webp)\n\n*A caption.*\n\n"
        "See [D](https://x.org/y/z/blob/HEAD/e.md#f), [G](https://h.org) and [I](#j).\n"
    )


def write_wheel(path: Path, *names: str, readme: str = "") -> Path:
    about = ("RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*names, *(f"wmrl-1.dist-info/{each}" for each in about)):
            archive.writestr(name, "")
        archive.writestr("wmrl-1.dist-info/METADATA", readme)
    return path


def write_sdist(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"wmrl-1/{name}"), io.BytesIO())
    return path


def test_complete_distributions_have_no_problems(tmp_path: Path) -> None:
    names = ("wmrl/a.py", "wmrl/envs/b/c.py", "wmrl/scripts/py.typed")
    assert contents.wheel_problems(write_wheel(tmp_path / "a.whl", *names), FILES) == []
    made = ("PKG-INFO", "setup.cfg", "wmrl.egg-info/SOURCES.txt")
    sdist = write_sdist(tmp_path / "a.tar.gz", *FILES[:-1], *made)
    assert contents.sdist_problems(sdist, FILES) == []


def test_what_is_lost_or_strange_in_a_distribution_is_named(tmp_path: Path) -> None:
    names = ("wmrl/a.py", "envs/b/c.py", "wmrl/scripts/py.typed")
    wheel = write_wheel(tmp_path / "a.whl", *names, readme="[D](e.md)")
    assert contents.wheel_problems(wheel, FILES) == [
        "a.whl lacks wmrl/envs/b/c.py",
        "a.whl should not have envs/b/c.py",
        "the readme has the relative link (e.md)",
    ]
    sdist = write_sdist(tmp_path / "a.tar.gz", "wmrl/a.py", "scripts/py.typed", "tests/d.py", "x")
    assert contents.sdist_problems(sdist, FILES) == [
        "a.tar.gz lacks envs/b/c.py",
        "a.tar.gz should not have x",
    ]


def test_the_files_of_the_repository_are_found() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("a source distribution has no repository")
    files = contents.repository_files(ROOT)
    assert {"setup.py", "wmrl/__init__.py", "results/drive.webp"} <= files
    assert not [path for path in files if path.startswith(("docs/_build", ".venv"))]
    assert {"wmrl/envs/py.typed", "wmrl/artifacts/car-racing-vae/config.json"} <= (
        contents.expected_in_wheel(files)
    )
