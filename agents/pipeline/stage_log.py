"""Log of a training run: durations of its stages, and its score in the real game over time."""

import csv
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.data.store import RolloutStore
from wmrl.storage.files import write_text
from wmrl.storage.run import Run
from wmrl.training.progress import repeatedly

_CHECKPOINT, _CURRENT = "stage_log", "stage"
_SAVE_INTERVAL = 10.0  # seconds; upper bound of what is lost when the process is killed
_COLUMNS = (
    "point",
    "minutes",
    "real_frames",
    "score_frames",
    "mean",
    "std",
    "standard_error",
    "episodes",
    "per_agent_step",
    "promised_per_agent_step",
)


class _Stopwatch:
    """Stopwatch that starts when it is created, and that can be paused.

    Args:
        before: seconds that the stopwatch shows at the start.
    """

    def __init__(self, before: float = 0.0) -> None:
        # Seconds before the last start, and the time of that start, None while paused. They are one
        # tuple, since another thread reads them.
        self._state: tuple[float, float | None] = before, time.monotonic()

    @property
    def seconds(self) -> float:
        before, running_since = self._state
        return before if running_since is None else before + time.monotonic() - running_since

    @contextmanager
    def paused(self) -> Iterator[None]:
        if self._state[1] is None:  # paused already
            yield
            return
        self._state = self.seconds, None
        try:
            yield
        finally:
            self._state = self._state[0], time.monotonic()


class StageLog:
    """Log of the stages and scores of a training run, stored in the run's folder.

    The log has a clock, which counts the time spent in stages, including time before an
    interruption. The clock does not count the time between stages, or the time while the clock is
    :meth:`paused`, for example during an evaluation.

    Args:
        run: run whose folder holds the log.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        checkpoint = run.load_checkpoint(_CHECKPOINT)
        state = {"seconds": {}, "points": []} if checkpoint is None else checkpoint.state
        self._seconds: dict[str, float] = state["seconds"]
        self._points: list[dict[str, Any]] = state["points"]
        self._watch: _Stopwatch | None = None

    def seconds(self, stage: str) -> float | None:
        """Returns the duration of a stage in seconds; None if the stage is not complete."""
        return self._seconds.get(stage)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measures the duration of a stage, which is run in the ``with`` block.

        The duration includes the time that was spent on the stage before an interruption. If the
        log already has a duration of the stage, the log is not changed.
        """
        if stage in self._seconds:
            yield
            return
        before = self._run.load_checkpoint(_CURRENT)
        known = before is not None and before.state["stage"] == stage
        self._watch = _Stopwatch(before.state["seconds"] if before and known else 0.0)
        try:
            with self._saving(stage, self._watch):
                yield
            self._seconds[stage] = self._watch.seconds
            self._save()
        finally:
            self._watch = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pauses the clock during the ``with`` block."""
        with nullcontext() if self._watch is None else self._watch.paused():
            yield

    def add_point(
        self,
        label: str,
        score: EvaluationResult,
        *,
        frames: int,
        frame_skip: int,
        promise: EvaluationResult | None = None,
    ) -> None:
        """Adds a point to the score curve, or replaces the point with the same label.

        Args:
            label: name of the point.
            score: score in the real game.
            frames: number of frames of the real game that were used for training.
            frame_skip: number of frames of the game per agent step. With it, the method computes
                the number of frames that were played for the score.
            promise: score in the dream; None if the agent was not scored in the dream.
        """
        current = 0.0 if self._watch is None else self._watch.seconds
        point = {
            "point": label,
            "minutes": round((sum(self._seconds.values()) + current) / 60, 2),
            "real_frames": frames,
            "score_frames": frame_skip * sum(score.lengths),
            "mean": round(score.mean, 2),
            "std": round(score.std, 2),
            "standard_error": None if score.episodes == 1 else round(score.standard_error, 2),
            "episodes": score.episodes,
            "per_agent_step": round(score.per_agent_step, 3),
            "promised_per_agent_step": None
            if promise is None
            else round(promise.per_agent_step, 3),
        }
        self._points = [old for old in self._points if old["point"] != label] + [point]
        self._save()
        self.write_curve()

    def write_curve(self) -> Path:
        """Writes the score curve to a CSV file, and returns the path of the file."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._points)
        return write_text(self._run.path / "curve.csv", text.getvalue())

    @contextmanager
    def _saving(self, stage: str, watch: _Stopwatch) -> Iterator[None]:
        """Saves the time spent on a stage: every few seconds, and when the ``with`` block ends.

        Args:
            stage: name of the stage, which is run in the ``with`` block.
            watch: stopwatch that shows the time spent on the stage.
        """

        def save() -> None:
            self._run.save_checkpoint(_CURRENT, {}, {"stage": stage, "seconds": watch.seconds})

        def try_to_save() -> None:
            with suppress(OSError):  # the stage itself reports a full disk
                save()

        try:
            with repeatedly(try_to_save, seconds=_SAVE_INTERVAL):
                yield
        finally:
            save()

    def _save(self) -> None:
        self._run.save_checkpoint(
            _CHECKPOINT, {}, {"seconds": self._seconds, "points": self._points}
        )


def store_frames(store: RolloutStore) -> int:
    """Counts the frames in a store's episodes; an agent step counts as ``frame_skip`` frames."""
    skip = store.metadata.frame_skip
    return skip * sum(summary.length for summary in store.summaries)
