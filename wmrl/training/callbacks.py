"""Callbacks: functions of a user that are called at fixed points of a training."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from wmrl.training.metrics import METRICS, read_metrics


class Save(Protocol):
    """Callable that saves what has been learned so far as an artifact."""

    def __call__(self, path: Path, *, provenance: Mapping[str, Any]) -> str | None:
        """Writes the artifact to a folder.

        Args:
            path: folder of the artifact.
            provenance: JSON-serializable description of the artifact's origin, which is added to
                the description of the run.

        Returns:
            The digest of the artifact; None if nothing was written, because what has been learned
            so far is of no use yet, as in the warm-up of a VQ-VAE.
        """


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Facts about a training, which callbacks receive when it starts.

    Attributes:
        name: kind of the training, such as ``"vision"`` or ``"PPO"``: the title of its progress
            bar.
        path: folder of the run; None if the training has no folder.
        config: JSON-serializable description of everything that the result depends on, as in the
            file ``config.json`` of the folder; empty if the training has none.
        step: step from which the training goes on; 0 for a new run.
        checkpoint: file of the checkpoint from which the training goes on. None for a new run, and
            for a checkpoint that only an interruption such as Ctrl-C has caused.
        save: function that saves what has been learned so far as an artifact; None if the training
            has no artifact.
    """

    name: str
    path: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    checkpoint: Path | None = None
    save: Save | None = None

    def __post_init__(self) -> None:
        if self.path is not None:
            object.__setattr__(self, "path", Path(self.path))

    @property
    def history(self) -> list[dict[str, float]]:
        """Rows that were logged up to ``step``, as read from ``metrics.csv``.

        A callback whose state depends on earlier rows restores its state from them.
        """
        if self.path is None or not self.step:
            return []
        return [row for row in read_metrics(self.path / METRICS) if row["step"] <= self.step]


class Callback:
    """Base class of callbacks, with methods that do nothing.

    A subclass overrides the methods that it needs. In each of them, it may raise
    :class:`StopTraining` to end the training early. Any other error ends the training with a
    :class:`CallbackError`; the run can then be resumed from its last checkpoint.

    Between two log lines, no method is called, so that callbacks do not slow down training steps.

    One object can be used for several trainings, one after another. :meth:`start` must therefore
    set its state anew.

    Example:
        >>> from wmrl.training import Callback, CallbackList, RunContext, StopTraining
        >>> class Patience(Callback):
        ...     \"\"\"Ends the training when the loss has not fallen for two rows.\"\"\"
        ...
        ...     def start(self, context):
        ...         self.losses = [row["loss"] for row in context.history]
        ...
        ...     def log(self, step, metrics):
        ...         self.losses.append(metrics["loss"])
        ...         if min(self.losses[-2:]) > min(self.losses):
        ...             raise StopTraining(f"no better than {min(self.losses)} for two rows")
        >>> with CallbackList([Patience()], RunContext(name="demo"), progress=False) as running:
        ...     for step, loss in enumerate([3.0, 1.0, 2.0, 2.0, 0.5]):
        ...         if not running.stopped:
        ...             running.log(step, {"loss": loss})
        >>> step, running.stopped
        (4, True)
    """

    def start(self, context: RunContext) -> None:
        """Is called before the first step.

        Args:
            context: facts about the training.
        """

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Is called at each log line.

        Args:
            step: number of the step, in the unit of the training: gradient steps, agent steps,
                generations or evaluations.
            metrics: finite numbers by name; read-only. Numbers that are not finite are left out.
        """

    def sync(self) -> None:
        """Is called before a checkpoint is written.

        A callback that writes files syncs them to disk here, so that a power failure never loses
        rows up to a checkpoint from which the run is resumed.
        """

    def checkpoint(self, step: int, path: Path) -> None:
        """Is called after a checkpoint was written, as planned or at the end of the training.

        If a process is killed before this method has returned, the method is called again, for the
        same step, when the run is resumed.

        Args:
            step: number of the step.
            path: file of the checkpoint.
        """

    def end(self, error: BaseException | None) -> None:
        """Is called at the end of the training, also of one that fails or is interrupted.

        The call is left out if :meth:`start` has failed.

        Args:
            error: error or interruption that ended the training; None if there was none.
        """


class StopTraining(Exception):  # noqa: N818 -- no error, but a signal, as StopIteration is
    """Signal by which a callback ends the training.

    A checkpoint is written, and the run ends as at a time limit. The learner or training function
    returns what has been learned so far.

    Args:
        reason: text that the progress shows.
    """


class CallbackError(RuntimeError):
    """Error in a method of a callback; the message names both."""


class StopWhen(Callback):
    """Callback that ends the training when a condition on the logged metrics is true.

    When the run is resumed, the last row before is checked first. A run that the condition has
    ended therefore stays as it is.

    Args:
        condition: function that takes the metrics of a row, and returns True to end the training.
        reason: text that the progress shows.

    Example:
        >>> from wmrl.training import CallbackList, RunContext, StopWhen
        >>> enough = StopWhen(lambda metrics: metrics["loss"] < 1, reason="the loss is below 1")
        >>> with CallbackList([enough], RunContext(name="demo"), progress=False) as running:
        ...     running.log(1, {"loss": 0.5})
        >>> running.stopped
        True
    """

    def __init__(
        self, condition: Callable[[Mapping[str, float]], bool], *, reason: str = "goal reached"
    ) -> None:
        if not callable(condition):
            raise ValueError(
                f"condition: expected a function of the metrics, got {condition!r:.100}; pass for "
                "example lambda metrics: metrics['loss'] < 0.1"
            )
        self._condition, self._reason = condition, reason

    def start(self, context: RunContext) -> None:
        """Checks the last row of a resumed run."""
        if history := context.history:
            self._check(history[-1])

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Checks a row."""
        self._check(metrics)

    def _check(self, metrics: Mapping[str, float]) -> None:
        if self._condition(metrics):
            raise StopTraining(self._reason)


def check_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Checks that the argument ``callbacks`` of a training is a sequence of callbacks.

    Returns:
        The callbacks as a tuple.

    Raises:
        ValueError: the argument is not a sequence, or contains something other than callbacks.
    """
    mend = "pass a list of callbacks, such as [StopWhen(condition)]"
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise ValueError(f"callbacks: expected a sequence, got {callbacks!r:.100}; {mend}")
    given = tuple(callbacks)
    for each in given:
        if not isinstance(each, Callback):
            kind = f"the class {each.__name__}" if isinstance(each, type) else f"{each!r:.100}"
            raise ValueError(f"callbacks: expected objects of type Callback, got {kind}; {mend}")
    return given
