"""The callbacks of one training, which are called together."""

import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from wmrl.core.warning import WMRLWarning
from wmrl.training.callbacks import (
    Callback,
    CallbackError,
    RunContext,
    StopTraining,
    check_callbacks,
)
from wmrl.training.loggers import CSVLogger, TensorBoardLogger
from wmrl.training.progress import announce


class CallbackList:
    """Callbacks of one training, as a context manager around its steps.

    At the start of the ``with`` block, the method :meth:`~wmrl.training.callbacks.Callback.start`
    of all callbacks is called, and at its end the method ``end``.

    If the training has a folder, :class:`~wmrl.training.loggers.CSVLogger` and
    :class:`~wmrl.training.loggers.TensorBoardLogger` come first.

    Args:
        callbacks: the user's callbacks.
        context: facts about the training.
        progress: True to print a line if a callback stops the training.

    Attributes:
        stopped: True if a callback has raised :class:`~wmrl.training.callbacks.StopTraining`. The
            training should then end after its current step.

    Raises:
        ValueError: ``callbacks`` contains something other than callbacks.
        CallbackError: a callback of the user failed.

    Example:
        >>> from wmrl.training import CallbackList, RunContext, read_metrics
        >>> with CallbackList([], RunContext(name="demo", path="run")) as callbacks:
        ...     callbacks.log(10, {"loss": 0.5})
        ...     callbacks.log(20, {"loss": 0.25, "accuracy": 0.9})
        >>> read_metrics("run/metrics.csv")
        [{'step': 10, 'loss': 0.5}, {'step': 20, 'loss': 0.25, 'accuracy': 0.9}]
    """

    def __init__(
        self, callbacks: Iterable[Callback], context: RunContext, *, progress: bool = True
    ) -> None:
        given = check_callbacks(callbacks)
        self.stopped = False
        self._loggers: tuple[Callback, ...] = ()
        if context.path is not None:
            self._loggers = (CSVLogger(), TensorBoardLogger())
        self._callbacks = (*self._loggers, *given)
        self._started: list[Callback] = []
        self._context, self._progress = context, progress
        self._step = context.step or -math.inf

    def __enter__(self) -> Self:
        context = self._context
        try:
            for callback in self._callbacks:
                self._call(callback, "start", context)
                self._started.append(callback)
            if context.checkpoint is not None:
                # The process that wrote it may have been killed before it called the callbacks.
                self.checkpoint(context.step, context.checkpoint)
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(error)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Passes the metrics of a step to the callbacks.

        Args:
            step: number of the step, greater than that of the last call.
            metrics: numbers by name; the names may differ from call to call. Numbers that are not
                finite, such as the mean over no episodes, are left out.

        Raises:
            ValueError: ``step`` is not greater than before, or a metric is named ``"step"``.
        """
        if step <= self._step:
            raise ValueError(f"step: expected more than {self._step}, got {step}")
        if "step" in metrics:
            raise ValueError(
                "metrics: expected names other than 'step', got 'step', which is the name of the "
                "first column of metrics.csv; choose another name"
            )
        self._step = step
        numbers = {name: float(value) for name, value in metrics.items()}
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        for callback in self._started:
            self._call(callback, "log", step, MappingProxyType(finite))

    def sync(self) -> None:
        """Tells the callbacks that a checkpoint is about to be written."""
        for callback in self._started:
            self._call(callback, "sync")

    def checkpoint(self, step: int, path: Path) -> None:
        """Tells the callbacks that a checkpoint was written.

        Args:
            step: number of the step.
            path: file of the checkpoint.
        """
        for callback in self._started:
            self._call(callback, "checkpoint", step, path)

    def _call(self, callback: Callback, method: str, *args: Any) -> None:
        try:
            getattr(callback, method)(*args)
        except StopTraining as stop:
            self.stopped = True
            text = f"{self._context.name}: stopped by {type(callback).__name__}: {stop}"
            announce(text, show=self._progress)
        except Exception as error:
            if callback in self._loggers:
                raise
            raise self._failure(callback, method, error) from error

    def _end(self, error: BaseException | None) -> None:
        """Ends all callbacks, even if one of them fails.

        The failure is raised, or becomes a warning if ``error`` has ended the training already.
        """
        failures: list[CallbackError] = []
        for callback in self._started:
            try:
                callback.end(error)
            except StopTraining:
                continue  # the training has ended
            except Exception as failure:
                failures.append(self._failure(callback, "end", failure))
        for failed in failures[error is None :]:
            warnings.warn(str(failed), WMRLWarning, stacklevel=3)
        if failures and error is None:
            raise failures[0]

    def _failure(self, callback: Callback, method: str, error: Exception) -> CallbackError:
        mend = "; the run can be resumed from its last checkpoint" if self._context.path else ""
        name = f"{type(callback).__name__}.{method}"
        failure = CallbackError(f"{name}: {type(error).__name__}: {error}{mend}")
        failure.__cause__ = error
        return failure
