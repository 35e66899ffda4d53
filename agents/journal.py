"""Journal: the times of a run's stages, and its curve of real score over minutes."""

import csv
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wmrl.agents.evaluation import EvaluationResult
from wmrl.run import Run
from wmrl.store import RolloutStore

_CHECKPOINT = "journal"
_COLUMNS = (
    "point",
    "minutes",
    "real_frames",
    "mean",
    "std",
    "episodes",
    "per_decision",
    "promised_per_decision",
)


class Journal:
    """Kept in a run's folder through all interruptions.

    Args:
        run: the run that it belongs to.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        checkpoint = run.load_checkpoint(_CHECKPOINT)
        state = {"seconds": {}, "points": []} if checkpoint is None else checkpoint.state
        self._seconds: dict[str, float] = state["seconds"]
        self._points: list[dict[str, Any]] = state["points"]

    def seconds(self, stage: str) -> float | None:
        """How long a stage took; None while it isn't done."""
        return self._seconds.get(stage)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Times a stage, the first time that it comes to its end."""
        started = time.monotonic()
        yield
        if stage not in self._seconds:
            self._seconds[stage] = time.monotonic() - started
            self._save()

    def add_point(
        self,
        label: str,
        score: EvaluationResult,
        *,
        frames: int,
        seconds: float = 0.0,
        promise: EvaluationResult | None = None,
    ) -> None:
        """Adds to the curve, in place of a point of the same name.

        Args:
            label: the point's name.
            score: what was measured.
            frames: real base frames behind it.
            seconds: spent in a stage that is under way.
            promise: what the dream had promised.
        """
        point = {
            "point": label,
            "minutes": round((sum(self._seconds.values()) + seconds) / 60, 2),
            "real_frames": frames,
            "mean": round(score.mean, 2),
            "std": round(score.std, 2),
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

    def _save(self) -> None:
        self._run.save_checkpoint(
            _CHECKPOINT, {}, {"seconds": self._seconds, "points": self._points}
        )


def store_frames(store: RolloutStore) -> int:
    """Base frames that a store's episodes took."""
    skip = store.metadata.frame_skip
    return skip * sum(summary.length for summary in store.summaries)
