"""Reading of the metrics of training runs."""

import csv
import warnings
from pathlib import Path

from wmrl.core.warning import WMRLWarning
from wmrl.storage.reading import StoredFileError, read_file

METRICS = "metrics.csv"

_LIMIT = 2**30  # bytes of a CSV file


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Reads the rows of a ``metrics.csv``.

    An incomplete last line, which a killed writer may leave behind, is skipped. Damaged lines are
    skipped as well.

    Returns:
        One dictionary per row, with the values by column name. The rows are in ascending order of
        step. The list is empty if the file does not exist, can't be read, or has no intact header.

    Warns:
        UserWarning: the file can't be read, or lines are damaged.
    """
    path = Path(path)
    try:
        data = read_file(path, limit=_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except StoredFileError as error:
        warnings.warn(f"{error}; its rows are lost", WMRLWarning, stacklevel=2)
        return []
    lines = data.decode(errors="replace").split("\n")[:-1]
    names, bad = (_values(lines[0]) if lines else []), 0
    if lines and (names[:1] != ["step"] or len(set(names)) < len(names)):
        names, bad = [], len(lines)
    rows: list[dict[str, float]] = []
    for line in lines[1:] if names else []:
        row = _row(line, names)
        if row is None or (rows and row["step"] <= rows[-1]["step"]):
            bad += 1
        else:
            rows.append(row)
    if bad:
        warnings.warn(f"{path}: {bad} damaged lines are skipped", WMRLWarning, stacklevel=2)
    return rows


def _values(line: str) -> list[str]:
    """Splits a line of a CSV file into its fields; returns an empty list if the line is damaged."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []


def _row(line: str, names: list[str]) -> dict[str, float] | None:
    """Parses a line of ``metrics.csv``.

    Args:
        line: the line, without its line break.
        names: names of the columns, of which the first is ``"step"``.

    Returns:
        The numbers by column name, without empty fields; None if the line is damaged.
    """
    values = _values(line)
    try:
        row = {name: float(value) for name, value in zip(names, values, strict=True) if value}
        return {**row, "step": int(values[0])}
    except (ValueError, IndexError):
        return None
