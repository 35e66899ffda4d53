"""Callbacks that write metrics: to a CSV file, and as TensorBoard events."""

import csv
import io
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wmrl.core.warning import WMRLWarning
from wmrl.storage.files import sync_tree, write_text
from wmrl.training.callbacks import Callback, RunContext
from wmrl.training.metrics import METRICS

_TENSORBOARD_FAILED = (
    "{}: TensorBoard's events cannot be written ({}); the run goes on without them, and "
    "metrics.csv still has all numbers"
)


class CSVLogger(Callback):
    """Callback that writes the rows of metrics to ``metrics.csv``, in the folder of the run.

    In a resumed run, rows after the step of the resumption are dropped, so that the file is the
    same as that of an uninterrupted run. A metric with a new name adds a column to the file.

    Rows are appended without waiting for the disk. They are synced before each checkpoint.

    :func:`~wmrl.training.metrics.read_metrics` reads the file.
    """

    def start(self, context: RunContext) -> None:
        """Creates the file; keeps the rows of a resumed run up to the step of the resumption."""
        self._path = run_folder(self, context) / METRICS
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._rows: list[dict[str, float]] = context.history
        self._names = _columns(self._rows)
        self._rewrite()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a row to the file."""
        row = {"step": step, **metrics}
        self._rows.append(row)
        new = [name for name in row if name not in self._names]
        if new:
            self._names += new
            self._rewrite()
        else:
            with self._path.open("a", newline="") as file:
                file.write(_as_csv([row], self._names))

    def sync(self) -> None:
        """Writes all rows to the disk."""
        if self._rows:
            sync_tree(self._path)

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        if self._names:
            csv.writer(text, lineterminator="\n").writerow(self._names)
        write_text(self._path, text.getvalue() + _as_csv(self._rows, self._names))


class TensorBoardLogger(Callback):
    """Callback that writes metrics as TensorBoard events, to ``tensorboard/`` in the run's folder.

    In a resumed run, TensorBoard does not show the events after the step of the resumption that an
    earlier process wrote.

    If TensorBoard cannot write its events, for example because the disk is full, the callback warns
    once, and the training goes on without events.
    """

    _writer: Any = None

    def start(self, context: RunContext) -> None:
        """Creates the file of events."""
        self._folder = run_folder(self, context) / "tensorboard"
        with self._without_failing():
            from torch.utils.tensorboard import SummaryWriter

            _silence_threads()
            purge_step = context.step + 1 if context.step else 0
            self._writer = SummaryWriter(str(self._folder), purge_step=purge_step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds an event for each of the metrics."""
        if self._writer is not None:
            with self._without_failing():
                for name, value in metrics.items():
                    self._writer.add_scalar(name, value, step)

    def sync(self) -> None:
        """Writes all events to the disk."""
        if self._writer is not None:
            with self._without_failing():
                self._writer.flush()
                if self._folder.is_dir():
                    sync_tree(self._folder)

    def end(self, error: BaseException | None) -> None:
        """Writes pending events and closes the file of events."""
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
            warnings.warn(
                _TENSORBOARD_FAILED.format(self._folder.parent, error), WMRLWarning, stacklevel=3
            )


def run_folder(callback: Callback, context: RunContext) -> Path:
    """Returns the folder of a training's run, for a callback that writes files there.

    Raises:
        ValueError: the training has no folder.
    """
    if context.path is None:
        raise ValueError(
            f"context.path: expected the folder of a run, got none in the training "
            f"{context.name!r}; leave {type(callback).__name__} out"
        )
    return context.path


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
        warnings.warn(_TENSORBOARD_FAILED.format(folder, error), WMRLWarning, stacklevel=2)


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


def _columns(rows: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(["step", *(name for row in rows for name in row)])) if rows else []


def _as_csv(rows: list[dict[str, float]], names: list[str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writerows({name: repr(value) for name, value in row.items()} for row in rows)
    return text.getvalue()
