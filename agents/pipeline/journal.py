"""Journal: the times of a run's stages, and its curve of real score over minutes."""

import csv
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from wmrl.agents.evaluation import EvaluationResult
from wmrl.data.store import RolloutStore
from wmrl.storage.run import Run

_CHECKPOINT, _UNDER_WAY = "journal", "stage"
_BEAT = 10.0  # seconds of a stage that a kill loses at most
_COLUMNS = (
    "point",
    "minutes",
    "real_frames",
    "mean",
    "std",
    "standard_error",
    "episodes",
    "per_decision",
    "promised_per_decision",
)


class _Stopwatch:
    """Seconds spent, but for those in pauses."""

    def __init__(self, before: float = 0.0) -> None:
        # Seconds until it last began to run, and when that was; one pair, for another thread reads.
        self._state: tuple[float, float | None] = before, time.monotonic()

    @property
    def seconds(self) -> float:
        before, running_since = self._state
        return before if running_since is None else before + time.monotonic() - running_since

    @contextmanager
    def paused(self) -> Iterator[None]:
        if self._state[1] is None:  # already
            yield
            return
        self._state = self.seconds, None
        try:
            yield
        finally:
            self._state = self._state[0], time.monotonic()


class Journal:
    """Kept in a run's folder through all interruptions.

    Minutes are those of the work alone: what is spent between stages, or while :meth:`paused`,
    as for taking scores, does not count; a stage's seconds before it was killed do.

    Args:
        run: the run that it belongs to.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        checkpoint = run.load_checkpoint(_CHECKPOINT)
        state = {"seconds": {}, "points": []} if checkpoint is None else checkpoint.state
        self._seconds: dict[str, float] = state["seconds"]
        self._points: list[dict[str, Any]] = state["points"]
        self._watch: _Stopwatch | None = None

    def seconds(self, stage: str) -> float | None:
        """How long a stage took; None while it isn't done."""
        return self._seconds.get(stage)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Times a stage until it comes to its end, over all interruptions."""
        if stage in self._seconds:
            yield
            return
        before = self._run.load_checkpoint(_UNDER_WAY)
        known = before is not None and before.state["stage"] == stage
        self._watch = _Stopwatch(before.state["seconds"] if before and known else 0.0)
        try:
            with self._beating(stage, self._watch):
                yield
            self._seconds[stage] = self._watch.seconds
            self._save()
        finally:
            self._watch = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock of the stage under way, if there is one."""
        with nullcontext() if self._watch is None else self._watch.paused():
            yield

    def add_point(
        self,
        label: str,
        score: EvaluationResult,
        *,
        frames: int,
        promise: EvaluationResult | None = None,
    ) -> None:
        """Adds to the curve, in place of a point of the same name.

        Args:
            label: the point's name.
            score: what was measured.
            frames: real base frames behind it.
            promise: what the dream had promised.
        """
        under_way = 0.0 if self._watch is None else self._watch.seconds
        point = {
            "point": label,
            "minutes": round((sum(self._seconds.values()) + under_way) / 60, 2),
            "real_frames": frames,
            "mean": round(score.mean, 2),
            "std": round(score.std, 2),
            "standard_error": round(score.standard_error, 2),
            "episodes": score.episodes,
            "per_decision": round(score.per_decision, 3),
            "promised_per_decision": None if promise is None else round(promise.per_decision, 3),
        }
        self._points = [old for old in self._points if old["point"] != label] + [point]
        self._save()
        self.write_curve()

    def write_curve(self) -> Path:
        """Writes the curve as CSV and returns its path."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._points)
        path = self._run.path / "curve.csv"
        aside = path.with_name(".curve.csv.new")
        aside.write_text(text.getvalue())
        aside.replace(path)
        return path

    @contextmanager
    def _beating(self, stage: str, watch: _Stopwatch) -> Iterator[None]:
        """Keeps the stage's seconds on disk from time to time, and at its end, however it ends."""
        over = threading.Event()

        def save() -> None:
            self._run.save_checkpoint(_UNDER_WAY, {}, {"stage": stage, "seconds": watch.seconds})

        def beat() -> None:
            while not over.wait(_BEAT):
                with suppress(OSError):  # a full disk is for those to tell whose data is lost
                    save()

        thread = threading.Thread(target=beat, name="journal", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            save()

    def _save(self) -> None:
        self._run.save_checkpoint(
            _CHECKPOINT, {}, {"seconds": self._seconds, "points": self._points}
        )


def store_frames(store: RolloutStore) -> int:
    """Base frames that a store's episodes took."""
    skip = store.metadata.frame_skip
    return skip * sum(summary.length for summary in store.summaries)
