"""Files that are replaced as a whole or not at all."""

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from wmrl.storage.files import (
    atomic_path,
    check_writable,
    write_bytes,
    write_image,
    write_json,
    write_text,
)


def test_json_replaces_the_last_one(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", {"b": 1, "a": None})
    write_json(tmp_path / "report.json", {"b": 2.5})
    found = json.loads((tmp_path / "report.json").read_text())
    assert found.pop("sha256") == hashlib.sha256(b'{"b":2.5}').hexdigest()
    assert found == {"b": 2.5}
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^a: expected a finite number, which JSON can store, got nan$"
    ):
        write_json(tmp_path / "report.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_missing_folders_are_created(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "notes.txt"
    assert write_text(path, "σ = 1\n") == path
    assert path.read_bytes() == "σ = 1\n".encode()


def test_an_image_keeps_its_pixels(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = write_image(tmp_path / "new" / "image.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)
    assert [file.name for file in path.parent.iterdir()] == ["image.png"]
    with pytest.raises(
        ValueError, match=r"path: expected a name ending in \.png, got .*image\.jpg"
    ):
        write_image(tmp_path / "image.jpg", image)


def test_a_failure_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bytes(tmp_path / "data", b"old")

    def interrupted() -> None:
        with atomic_path(path) as aside:
            aside.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


def test_folders_are_written_whole_too(tmp_path: Path) -> None:
    def write(content: str) -> None:
        with atomic_path(tmp_path / "folder") as aside:
            (aside / "inner").mkdir(parents=True)
            (aside / "inner" / "file").write_text(content)

    write("first")
    with pytest.raises(OSError, match="not empty"):
        write("second")
    assert (tmp_path / "folder" / "inner" / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_files_and_folders_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system doesn't say which file a descriptor is of")
    monkeypatch.setattr(os, "fsync", note)
    write_text(tmp_path / "notes.txt", "kept")
    file, folder = synced
    assert (file.parent, file.suffix, folder) == (tmp_path, ".txt", tmp_path)


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("path", ["new", "new/deep/er", "there", "there/new"])
def test_paths_that_can_be_written(
    tmp_path: Path, path: str, kind: Literal["file", "folder"]
) -> None:
    (tmp_path / "there").mkdir()
    if path == "there" and kind == "file":
        path = "there/old"
        (tmp_path / path).write_text("old")
    before = sorted(tmp_path.rglob("*"))
    assert check_writable(tmp_path / path, kind=kind) == tmp_path / path
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("folder", "file", "x: expected a file, got the folder .*; name a file in that folder"),
        ("file", "folder", "x: expected a folder, got .*, but .*file' is a file; choose another"),
        ("file/new", "file", "but .*file' is a file"),
        ("file/a/b", "folder", "but .*file' is a file"),
        ("pipe", "file", "pipe' is a special file"),
        ("pipe", "folder", "pipe' is a special file"),
        ("link", "file", "link' is a broken link"),
        ("link/new", "folder", "link' is a broken link"),
        ("a" * 300, "file", "can't be written .*too long"),
        ("a" * 250, "file", "can't be written .*too long"),  # with a temporary name beside it
        ("a" * 300, "folder", "can't be written .*too long"),
        ("a\0b", "file", "can't be written .*null byte"),
        ("/proc/new", "file", "can't be written"),
        ("/proc/new", "folder", "can't be written"),
    ],
)
def test_paths_that_cannot_be_written(
    tmp_path: Path, path: str, kind: Literal["file", "folder"], message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        check_writable(tmp_path / path, kind=kind, name="x")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refused)  # root may write anywhere
    with pytest.raises(ValueError, match=r"x: expected a file, .* \(Permission denied\)"):
        check_writable(tmp_path / "new", kind="file", name="x")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(OSError, match=r"report\.json: expected a file, or nothing, got a folder"):
        write_json(tmp_path / "report.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
