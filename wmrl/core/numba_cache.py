"""numba's cache of compiled functions: a writable cache folder, and verification of its files.

numba stores compiled functions in two kinds of files, index files and files of machine code, and
verifies neither. A truncated file would raise an error at every start, and a changed file may crash
the process.
"""

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_MARK = b"wmrl-sha256:"
_TAIL = len(_MARK) + 32
_MAX_VERSION = 64  # bytes
_own: set[str] = set()  # names of modules whose cache files always have a checksum


def provide_numba_cache(package: str, folder: str) -> None:
    """Creates a temporary cache folder for numba if no other cache folder is writable.

    Without a writable cache folder, numba raises an error when a package with cached functions is
    imported. Call this function before that import. Child processes use the temporary folder, too.
    The process that called this function removes the folder when it ends. Nothing is done if
    ``NUMBA_CACHE_DIR`` is set.

    Args:
        package: name of the package with cached functions; nothing is done if the package is not
            installed.
        folder: path, relative to the package, of the folder whose modules contain the cached
            functions.
    """
    spec = find_spec(package)
    if os.environ.get("NUMBA_CACHE_DIR") or spec is None or not spec.submodule_search_locations:
        return
    beside = Path(next(iter(spec.submodule_search_locations)), folder, "__pycache__")
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    if _writable(beside) or _writable(user / "numba"):
        return
    with suppress(OSError):  # then numba says what is missing
        temporary, owner = tempfile.mkdtemp(prefix="wmrl-numba-"), os.getpid()
        os.environ["NUMBA_CACHE_DIR"] = temporary
        if "numba" in sys.modules:
            sys.modules["numba"].config.CACHE_DIR = temporary
        atexit.register(_remove_folder, temporary, owner)


def guard_numba_cache(*modules: str) -> None:
    """Makes numba verify its cache files, and recompile a function whose files are damaged.

    After the call, numba appends a checksum to each cache file that it writes. Processes without
    this guard ignore the checksum. Cache files of other packages may have no checksum; numba uses
    such a file if it can read it.

    Args:
        modules: file names, without ``.py``, of modules whose functions are always compiled with
            this guard. A cache file of such a module counts as damaged if it has no checksum.
    """
    from numba import core

    _own.update(modules)

    files: Any = getattr(core.caching, "IndexDataCacheFile", None)
    needed = ("load", "save", "_dump", "_load_index", "_load_data")
    if hasattr(files, "wmrl_guard") or not all(hasattr(files, name) for name in needed):
        return  # guarded already, or another numba than this guard was written for
    dump, load, save = files._dump, files.load, files.save
    load_index, load_data = files._load_index, files._load_data

    def dump_with_checksum(self: Any, value: Any) -> bytes:
        data: bytes = dump(self, value)
        return data + _MARK + hashlib.sha256(data).digest()

    def load_verified_index(self: Any) -> Any:
        _verify(Path(self._index_path))
        return load_index(self)

    def load_verified_data(self: Any, name: str) -> Any:
        _verify(Path(self._data_path(name)))
        return load_data(self, name)

    def load_or_forget(self: Any, key: Any) -> Any:
        try:
            return load(self, key)
        except Exception:
            _remove_files(Path(self._index_path))
            return None  # numba compiles the function

    def save_anew(self: Any, key: Any, data: Any) -> None:
        try:
            save(self, key, data)
        except OSError:
            return  # a full disk, for instance; the function works without the cache
        except Exception:
            _remove_files(Path(self._index_path))
            save(self, key, data)

    files._dump, files.load, files.save = dump_with_checksum, load_or_forget, save_anew
    files._load_index, files._load_data = load_verified_index, load_verified_data
    files.wmrl_guard = True


def damaged_cache_files(folder: str | Path) -> list[Path]:
    """Returns the damaged files of guarded modules in a cache folder of numba.

    Guarded modules are those whose names were given to :func:`guard_numba_cache`.
    """
    files = sorted(Path(folder).glob("*.nb[ci]"))
    return [path for path in files if _is_own(path) and not _intact(path)]


def _verify(path: Path) -> None:
    if path.exists() and not _intact(path):
        raise ValueError(f"{path}: expected a file that matches its checksum, got a damaged file")


def _intact(path: Path) -> bool:
    """Returns True if a cache file is undamaged.

    A file without a checksum counts as damaged only if it belongs to a module whose name was given
    to :func:`guard_numba_cache`, or if an incomplete checksum is left near the end of the file.
    """
    data = path.read_bytes()
    if data[-_TAIL:-32] != _MARK:
        return not _is_own(path) and _MARK not in data[-2 * _TAIL :]
    data, checksum = data[:-_TAIL], data[-32:]
    # An index begins with numba's version, which has no part in the checksum.
    starts = range(min(_MAX_VERSION, len(data))) if path.suffix == ".nbi" else (0,)
    return any(hashlib.sha256(data[start:]).digest() == checksum for start in starts)


def _is_own(path: Path) -> bool:
    return path.name.partition(".")[0] in _own


def _remove_files(index: Path) -> None:
    """Removes the cache files of a function: its index file and its files of machine code."""
    for path in (index, *index.parent.glob(f"{index.stem}.*.nbc")):
        with suppress(OSError):
            path.unlink()


def _remove_folder(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # not in a forked process
        shutil.rmtree(folder, ignore_errors=True)


def _writable(folder: Path) -> bool:
    """Returns True if files can be created in a folder; creates the folder if it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
