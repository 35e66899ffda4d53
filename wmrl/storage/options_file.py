"""The file ``run.toml``: options of a command, from which its run can be repeated."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from wmrl.storage.files import write_text

OPTIONS = "run.toml"

# Folder and text of the file, until the folder's owner writes it.
_pending: ContextVar[tuple[Path, str] | None] = ContextVar("options_file", default=None)


@contextmanager
def options_file(folder: str | Path, text: str) -> Iterator[None]:
    """Provides the text of ``run.toml`` to the run or the store that is opened in a folder.

    The file is written when, within the ``with`` block, a run or a store in this folder has been
    opened for writing. A folder that belongs to another run thus keeps its file.

    Args:
        folder: folder of the run or the store.
        text: content of the file.
    """
    token = _pending.set((Path(folder), text))
    try:
        yield
    finally:
        _pending.reset(token)


def write_options_file(folder: Path) -> None:
    """Writes ``run.toml`` atomically, if :func:`options_file` has provided one for this folder.

    The owner of the folder calls this function as soon as it has claimed the folder.
    """
    pending = _pending.get()
    if pending is not None and pending[0] == folder:
        write_text(folder / OPTIONS, pending[1])
