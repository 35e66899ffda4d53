import os
import threading
from pathlib import Path

import pytest

from wmrl.storage import files as files_module
from wmrl.storage.files import exchange, replace_folder

OLD, NEW = {"a": b"old"}, {"a": b"new", "b": b"more"}


def contents(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


@pytest.fixture(params=[True, False], ids=["exchange", "moves"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is replaced in one step, and one that is moved away first."""
    if not request.param:
        monkeypatch.setattr(files_module, "exchange", lambda first, second: False)
    replace_folder(tmp_path / "folder", OLD)
    return tmp_path / "folder"


def test_one_takes_the_place_of_another(folder: Path) -> None:
    assert contents(folder) == OLD
    replace_folder(folder, NEW)
    assert contents(folder) == NEW
    assert [entry.name for entry in folder.parent.iterdir()] == ["folder"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    replace_folder(tmp_path / "folder", NEW)
    assert contents(tmp_path / "folder") == NEW


def test_an_exchange_leaves_no_moment_without_one(tmp_path: Path) -> None:
    for name, files in (("one", OLD), ("other", NEW)):
        replace_folder(tmp_path / name, files)
    if not exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system can't swap folders")
    assert contents(tmp_path / "one") == NEW
    assert contents(tmp_path / "other") == OLD


def test_the_old_one_comes_back_where_the_new_one_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "exchange", lambda first, second: False)
    renames, rename = [0], Path.rename

    def failing(self: Path, target: Path) -> Path:
        renames[0] += 1
        if renames[0] == 3:  # refused, moved away, and now
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(folder, NEW)
    monkeypatch.undo()
    assert contents(folder) == OLD
    assert [entry.name for entry in folder.parent.iterdir()] == ["folder"]


def test_of_many_writers_one_is_the_last(folder: Path) -> None:
    versions = [{"a": str(number).encode()} for number in range(8)]
    errors = []

    def write(files: dict[str, bytes]) -> None:
        try:
            for _ in range(20):
                replace_folder(folder, files)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(files,)) for files in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert contents(folder) in versions
    assert [entry.name for entry in folder.parent.iterdir()] == ["folder"]


def test_a_link_leads_to_what_is_replaced(folder: Path) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    replace_folder(link, NEW)
    assert link.is_symlink()
    assert contents(folder) == NEW


def test_what_killed_writers_left_is_removed_when_old(folder: Path) -> None:
    names = [".folder.1234.new", ".folder.1234.old", ".folder.5678.new", ".folders.1234.new"]
    left = [folder.parent / name for name in names]
    for path in left:
        path.mkdir()
        if "5678" not in path.name:
            os.utime(path, (0, 0))
    replace_folder(folder, NEW)
    assert [path.exists() for path in left] == [False, False, True, True]
