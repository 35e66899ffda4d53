"""What a training run tells of itself: a CSV file and TensorBoard."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np


class MetricsLogger:
    """Rows of named numbers, by step, in ``metrics.csv`` and as TensorBoard events.

    The file is the same bits whether a run was interrupted or not: rows beyond the step that it
    resumes from are dropped. A value that is new adds a column; the file is then rewritten.

    Args:
        folder: where the files go; made if it isn't there.
        resume_step: last step whose row is kept; None starts an empty file, and keeps none.
        tensorboard: also write TensorBoard events, into ``folder/tensorboard``.
    """

    def __init__(
        self, folder: str | Path, *, resume_step: int | None = None, tensorboard: bool = True
    ) -> None:
        self.path = Path(folder) / "metrics.csv"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [] if resume_step is None else read_metrics(self.path)
        self._rows = [row for row in rows if row["step"] <= (resume_step or 0)]
        self._names = _columns(self._rows)
        self._rewrite()
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(
                str(self.path.parent / "tensorboard"),
                purge_step=0 if resume_step is None else resume_step + 1,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a row.

        Args:
            step: greater than the last row's.
            values: numbers by name; a name may be new.

        Raises:
            ValueError: ``step`` isn't greater, or a value is called ``step``.
        """
        if self._rows and step <= self._rows[-1]["step"]:
            raise ValueError(f"step: expected more than {self._rows[-1]['step']}, got {step}")
        if "step" in values:
            raise ValueError("values: 'step' is the name of the first column; choose another")
        row = {"step": step, **{name: float(value) for name, value in values.items()}}
        self._rows.append(row)
        new = [name for name in row if name not in self._names]
        if new:
            self._names += new
            self._rewrite()
        else:
            with self.path.open("a", newline="") as file:
                file.write(_as_csv([row], self._names))
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, float(value), step)

    def close(self) -> None:
        """Writes what TensorBoard has not written yet."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _rewrite(self) -> None:
        aside = self.path.with_name(f".{self.path.name}.new")
        with aside.open("w", newline="") as file:
            if self._names:
                csv.writer(file, lineterminator="\n").writerow(self._names)
            file.write(_as_csv(self._rows, self._names))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)


def log_pictures(folder: str | Path, pictures: Mapping[str, np.ndarray], *, step: int = 0) -> None:
    """Shows pictures ``(H, W, 3) uint8``, by name, in a run's TensorBoard."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(Path(folder) / "tensorboard")) as writer:
        for name, picture in pictures.items():
            writer.add_image(name, picture, step, dataformats="HWC")


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Rows of a ``metrics.csv``, without the values that a row lacks.

    A last line that was cut off (its writer was killed) is left out; no file is no rows.
    """
    path = Path(path)
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    rows = []
    for record in csv.DictReader(io.StringIO(whole, newline="")):
        row = {name: float(value) for name, value in record.items() if value}
        rows.append({**row, "step": int(record["step"])})
    return rows


def _columns(rows: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(["step", *(name for row in rows for name in row)])) if rows else []


def _as_csv(rows: list[dict[str, float]], names: list[str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writerows({name: repr(value) for name, value in row.items()} for row in rows)
    return text.getvalue()
