"""numba's cache: damaged files are compiled again, and there is always a folder."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numba
import pytest

from wmrl.core.numba_cache import damaged_cache_files, guard_numba_cache

MODULE = """
import numba

@numba.njit(cache=True)
def double(x):
    return 2 * x
"""


def run(path: Path) -> tuple[int, int]:
    """Calls the function as a new process would; returns its value, and the hits of the cache."""
    spec = spec_from_file_location("another", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.double(21), sum(module.double.stats.cache_hits.values())


@pytest.mark.parametrize("name", ["rasterizer", "another"])
def test_damaged_files_are_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    guard_numba_cache("rasterizer")
    path = tmp_path / f"{name}.py"
    path.write_text(MODULE)
    assert run(path) == (42, 0)
    assert run(path) == (42, 1)
    index, code = sorted(tmp_path.rglob("*.nb[ci]"), key=lambda file: file.suffix, reverse=True)
    assert (index.suffix, code.suffix) == (".nbi", ".nbc")
    for file in (index, code):
        whole = file.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
        for damaged in (whole[:middle], whole[:-1], b"", flipped):
            file.write_bytes(damaged)
            if name == "rasterizer":
                assert damaged_cache_files(file.parent) == [file]
            assert run(path) == (42, 0), (file.suffix, len(damaged))
            assert damaged_cache_files(file.parent) == []
    assert run(path) == (42, 1)
    code.unlink()
    assert run(path) == (42, 0)


READ_ONLY = """
import os, sys, tempfile
from pathlib import Path

real, own = tempfile.TemporaryFile, sys.argv[1]

def deny(*given, dir=None, **options):
    if dir is not None and not str(dir).startswith(own):
        raise PermissionError(30, "Read-only file system", str(dir))
    return real(*given, dir=dir, **options)

tempfile.TemporaryFile = deny
from wmrl.agents.quality_diversity import search_elites
import numpy_groupies
folder = os.environ["NUMBA_CACHE_DIR"]
assert Path(folder).parent == Path(own), folder
print(folder)
"""


@pytest.mark.slow
def test_a_read_only_installation_without_a_home_has_a_cache(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    home = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "TMPDIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(tmp_path)],
        env=env | home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert not Path(found.stdout.strip()).exists()  # removed at the end
