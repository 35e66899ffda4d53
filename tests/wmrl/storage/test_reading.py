"""Files that are read again: regular, of a bounded size, and as they were written."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from wmrl.storage.files import write_json
from wmrl.storage.reading import StoredFileError, parse_json, read_file, read_json

CONTENT = {"steps": 60, "loss": [0.1, -2.5e-7], "names": {"é": None, "b": True}, "text": "a  b"}


def test_json_comes_back(tmp_path: Path) -> None:
    path = write_json(tmp_path / "report.json", {**CONTENT, "pair": (1, 2), "by": {3: 4}})
    assert read_json(path) == {**CONTENT, "pair": [1, 2], "by": {"3": 4}}
    # Other programs may change the layout.
    path.write_text(json.dumps(json.loads(path.read_text()), indent=None))
    assert read_json(path) == {**CONTENT, "pair": [1, 2], "by": {"3": 4}}


def test_no_damage_changes_a_value(tmp_path: Path) -> None:
    path = write_json(tmp_path / "report.json", CONTENT)
    whole = path.read_bytes()
    noticed = 0
    for position in range(len(whole)):
        for bit in range(8):
            bad = bytearray(whole)
            bad[position] ^= 1 << bit
            path.write_bytes(bad)
            try:
                assert read_json(path) == CONTENT  # as in 1E-7 for 1e-7
            except StoredFileError:
                noticed += 1
    assert noticed > 0.98 * 8 * len(whole)
    for size in range(len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(StoredFileError, match=r"report\.json: damaged"):
            read_json(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"steps": 60}', "damaged \\(expected a checksum under .*, got none\\); repeat it"),
        (
            '{"steps": 60, "sha256": "0"}',
            "damaged \\(its content does not match its checksum 'sha256'\\)",
        ),
        ("[1]", "expected a JSON object, got list"),
        ('{"a": 1e999}', "expected finite numbers, got 1e999"),
        ('{"a": NaN}', "expected finite numbers, got NaN"),
        ('{"a": ' + 70 * "[" + 70 * "]" + "}", "expected at most 64 nested levels"),
        ('{"a": ' + 10**6 * "[", "expected at most 64 nested levels"),
        ('{"a": ' + 10**5 * "9" + "}", "not a complete JSON file"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(StoredFileError, match=message):
        read_json(tmp_path / "report.json", mend="repeat it")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match=r"report\.json: expected a JSON file, got nothing"):
        read_json(tmp_path / "report.json")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "report.json", limit=10)


def test_the_name_of_the_checksum_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="content: expected no member named 'sha256'"):
        write_json(tmp_path / "report.json", {"sha256": 1})
    assert not list(tmp_path.iterdir())


def test_depth_counts_levels() -> None:
    for depth, fits in ((63, True), (64, False)):
        text = ('{"a": ' + depth * "[" + depth * "]" + "}").encode()
        if fits:
            assert parse_json(text)
        else:
            with pytest.raises(ValueError, match="nested levels"):
                parse_json(text)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def _large(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "expected a regular file, got a pipe"),
    "folder": (Path.mkdir, "expected a regular file, got a folder"),
    "socket": (_socket, "socket|can't be opened"),
    "endless": (lambda path: path.symlink_to("/dev/zero"), "got a device"),
    "loop": (lambda path: path.symlink_to(path), "can't be opened"),
    "large": (_large, "expected at most 16,777,216 bytes, got 1,099,511,627,776"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    make, message = SPECIAL[kind]
    make(tmp_path / "report.json")
    with pytest.raises(StoredFileError, match=rf"report\.json: .*({message})"):
        read_json(tmp_path / "report.json")


def test_files_that_hide_their_size_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "hidden").symlink_to("/proc/self/status")  # its size is 0
    assert read_file(tmp_path / "hidden", limit=2**20).startswith(b"Name:")
    with pytest.raises(StoredFileError, match="expected at most 10 bytes, got more"):
        read_file(tmp_path / "hidden", limit=10)
