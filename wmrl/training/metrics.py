"""Metrics of training runs, written to a CSV file and as TensorBoard events."""

import csv
import io
import math
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from wmrl.storage.files import sync_tree, write_text
from wmrl.storage.reading import StoredFileError, read_file

_LIMIT = 2**30  # bytes of a CSV file

_TENSORBOARD_FAILED = (
    "{}: TensorBoard's events cannot be written ({}); the run goes on without them, and "
    "metrics.csv still has all numbers"
)


class MetricsLogger:
    """Logger that writes scalar metrics to ``metrics.csv`` and as TensorBoard events.

    In a resumed run, rows after ``resume_step`` are dropped, so that the CSV file is the same as
    that of an uninterrupted run. A metric with a new name adds a column to the file.

    Rows are appended without waiting for the disk. A learner calls :meth:`sync` before it writes a
    checkpoint, so that a power failure never loses rows up to the checkpoint.

    If TensorBoard cannot write its events, for example because the disk is full, the logger warns
    once and goes on without them.

    Args:
        folder: folder of the files; created if it does not exist.
        resume_step: last step whose row is kept; None to start an empty file.
        tensorboard: True to write TensorBoard events to ``folder/tensorboard``, in addition to
            ``metrics.csv``.

    Attributes:
        path: path of ``metrics.csv``.

    Example:
        >>> from wmrl.training import MetricsLogger, read_metrics
        >>> with MetricsLogger("run", tensorboard=False) as logger:
        ...     logger.log(10, {"loss": 0.5})
        ...     logger.log(20, {"loss": 0.25, "accuracy": 0.9})
        >>> read_metrics("run/metrics.csv")
        [{'step': 10, 'loss': 0.5}, {'step': 20, 'loss': 0.25, 'accuracy': 0.9}]
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
            with self._without_failing():
                from torch.utils.tensorboard import SummaryWriter

                _silence_threads()
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
        """Adds the metrics of a step to ``metrics.csv``, as a row, and to the TensorBoard events.

        Args:
            step: number of the step, greater than the step of the last row.
            values: metrics by name; the names may differ from row to row. Values that are not
                finite, such as the mean over no episodes, are left out.

        Raises:
            ValueError: ``step`` is not greater than the step of the last row, or a metric is named
                ``"step"``.
        """
        if self._rows and step <= self._rows[-1]["step"]:
            raise ValueError(f"step: expected more than {self._rows[-1]['step']}, got {step}")
        if "step" in values:
            raise ValueError(
                "values: expected names other than 'step', got 'step', which is the name of the "
                "first column; choose another name"
            )
        values = {name: float(value) for name, value in values.items()}
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        row = {"step": step, **values}
        self._rows.append(row)
        new = [name for name in row if name not in self._names]
        if new:
            self._names += new
            self._rewrite()
        else:
            with self.path.open("a", newline="") as file:
                file.write(_as_csv([row], self._names))
        if self._writer is not None:
            with self._without_failing():
                for name, value in values.items():
                    self._writer.add_scalar(name, float(value), step)

    def sync(self) -> None:
        """Writes all rows and events to the disk."""
        if self._rows:
            sync_tree(self.path)
        if self._writer is not None:
            with self._without_failing():
                self._writer.flush()
                folder = self.path.parent / "tensorboard"
                if folder.is_dir():
                    sync_tree(folder)

    def close(self) -> None:
        """Writes pending TensorBoard events and closes the file of events."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._without_failing():
                writer.close()

    @contextmanager
    def _without_failing(self) -> Iterator[None]:
        """Turns a failure of TensorBoard in a ``with`` block into a warning.

        After a failure, no more events are written.
        """
        try:
            yield
        except Exception as error:
            self._writer = None
            warnings.warn(_TENSORBOARD_FAILED.format(self.path.parent, error), stacklevel=3)

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        if self._names:
            csv.writer(text, lineterminator="\n").writerow(self._names)
        write_text(self.path, text.getvalue() + _as_csv(self._rows, self._names))


def log_images(folder: str | Path, images: Mapping[str, np.ndarray], *, step: int = 0) -> None:
    """Adds named images ``(H, W, 3) uint8`` to the TensorBoard events in a run's folder.

    Issues a warning if TensorBoard cannot write the images.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter

        _silence_threads()
        with SummaryWriter(str(Path(folder) / "tensorboard")) as writer:
            for name, image in images.items():
                writer.add_image(name, image, step, dataformats="HWC")
    except Exception as error:
        warnings.warn(_TENSORBOARD_FAILED.format(folder, error), stacklevel=2)


def _silence_threads() -> None:
    """Keeps TensorBoard's background threads from printing tracebacks.

    If such a thread fails, TensorBoard raises the error again in the thread that logs. Errors in
    threads of other modules are reported as before.
    """
    report = threading.excepthook
    if getattr(report, "silences_tensorboard", False):
        return

    def hook(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            report(failure)

    hook.silences_tensorboard = True  # type: ignore[attr-defined]
    threading.excepthook = hook


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
        warnings.warn(f"{error}; its rows are lost", stacklevel=2)
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
        warnings.warn(f"{path}: {bad} damaged lines are skipped", stacklevel=2)
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


def _columns(rows: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(["step", *(name for row in rows for name in row)])) if rows else []


def _as_csv(rows: list[dict[str, float]], names: list[str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writerows({name: repr(value) for name, value in row.items()} for row in rows)
    return text.getvalue()
