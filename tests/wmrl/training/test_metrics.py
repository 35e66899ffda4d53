"""Reading of metrics, also from damaged files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from wmrl.training.metrics import read_metrics

ROWS = b"""step,loss,"score, mean"
0,1.0,
1,0.5,
2,0.3333333333333333,
3,0.25,0.30000000000000004
4,0.2,0.4
"""


def test_fields_without_a_value_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(ROWS)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows[1:4:2] == [
        {"step": 1, "loss": 0.5},
        {"step": 3, "loss": 0.25, "score, mean": 0.30000000000000004},
    ]


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        (b"2,0.3333333333333333,\n", b"2,0.33\xff33,\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"2,0.3,1.0,9.0\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"\0\0\0\0\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b'"2,0.3\n', [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"1e3,0.3333333333333333,\n", [0, 1, 3, 4]),
        (b"2,0.3333333333333333,\n", b"1,0.3333333333333333,\n", [0, 1, 3, 4]),
        (b"step,", b"stop,", []),
        (b"loss", b"step", []),
    ],
)
def test_a_damaged_line_stops_no_run(tmp_path: Path, old: bytes, new: bytes, kept: list) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(ROWS)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.warns(UserWarning, match=r"metrics\.csv: \d damaged lines are skipped"):
        rows = read_metrics(path)
    assert [row["step"] for row in rows] == kept


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_special_files_are_not_read(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "metrics.csv")
    with pytest.warns(UserWarning, match="expected a regular file, got a"):
        assert read_metrics(tmp_path / "metrics.csv") == []
