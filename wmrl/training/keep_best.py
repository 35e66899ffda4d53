"""Callback that keeps the artifact of the best checkpoint."""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from wmrl.core.validation import check_choice, check_name
from wmrl.core.warning import WMRLWarning
from wmrl.storage.artifact import ArtifactError, load_artifact
from wmrl.storage.recognition import recognize
from wmrl.training.callbacks import Callback, RunContext, Save
from wmrl.training.loggers import run_folder


class KeepBest(Callback):
    """Callback that keeps the best of what a training has learned, by a logged measure.

    At each checkpoint, the row of metrics of the same step is compared with that of the best
    checkpoint so far. If it is better, what has been learned so far is saved as an artifact, in a
    folder of the run. The folder can be used wherever a path of an artifact is expected. Its
    provenance contains the measure, its value and the step under the key ``"best"``.

    Checkpoints without a row, or whose row does not have the measure, are passed over. To judge an
    agent by its score in the game, evaluate it as often as checkpoints are written.

    The artifact of a run that was killed and resumed is that of an uninterrupted run, bit for bit.

    The training must have the folder of a run, and write checkpoints. Searches with ``ribs`` do
    not, because they never lose an elite.

    Args:
        measure: name of the metric: a column of ``metrics.csv``.
        mode: ``"min"`` if lower values are better, ``"max"`` if higher values are better.
        folder: name of the artifact's folder in the folder of the run. Several objects need
            different names.

    Raises:
        ValueError: an argument is not as described.

    Example:
        >>> from wmrl.agents import CMAES, CMAESConfig, DreamFitness, DreamFitnessConfig, load_agent
        >>> from wmrl.envs import WorldModel
        >>> from wmrl.training import KeepBest
        >>> world_model = WorldModel.open("car-racing", "car-racing-vae", "car-racing-mdnrnn")
        >>> fitness = DreamFitness(world_model, DreamFitnessConfig(num_rollouts=2, agent_steps=3))
        >>> config = CMAESConfig(generations=3, population_size=4, checkpoint_every=1)
        >>> best = KeepBest(measure="fitness/mean", mode="max")
        >>> with CMAES(fitness, config, path="runs/cma-es") as search:
        ...     search = search.learn(callbacks=[best], progress=False)
        >>> agent = load_agent("runs/cma-es/best")
    """

    def __init__(self, measure: str, *, mode: Literal["min", "max"], folder: str = "best") -> None:
        self.measure = check_name("measure", measure)
        self.mode = check_choice("mode", mode, ("min", "max"))
        check_name("folder", folder)
        if Path(folder).name != folder or folder.startswith(".") or folder == "artifact":
            raise ValueError(
                "folder: expected the name of a folder in the folder of the run, without a leading "
                f"dot and other than 'artifact', which holds the final result, got {folder!r}"
            )
        self._folder = folder

    def start(self, context: RunContext) -> None:
        """Finds the best checkpoint so far."""
        self._path = run_folder(self, context) / self._folder
        if context.save is None:
            raise ValueError(
                f"context.save: expected a training that can save an artifact at each checkpoint, "
                f"got {context.name!r}, which can't; leave this callback out"
            )
        self._save: Save = context.save
        history = context.history
        self._names = {name for row in history for name in row if name != "step"}
        self._row: tuple[float, Mapping[str, float]] = -1, {}
        if history:
            self._row = history[-1]["step"], history[-1]
        self._best = self._known_best()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Remembers the row."""
        self._row = step, metrics
        self._names.update(metrics)

    def checkpoint(self, step: int, path: Path) -> None:
        """Saves an artifact if the row of this step is better than the best so far."""
        at, metrics = self._row
        value = metrics.get(self.measure) if at == step else None
        if value is None or not self._is_better(value):
            return
        best = {"measure": self.measure, "mode": self.mode, "value": value, "step": step}
        if self._save(self._path, provenance={"best": best}) is not None:
            self._best = value

    def end(self, error: BaseException | None) -> None:
        """Warns if the measure was in no row of a training that was completed."""
        if error is None and self._names and self.measure not in self._names:
            warnings.warn(
                f"measure: expected one of {', '.join(sorted(self._names))}, got "
                f"{self.measure!r}, which was not logged; KeepBest has kept nothing",
                WMRLWarning,
                stacklevel=2,
            )

    def _is_better(self, value: float) -> bool:
        return value < self._best if self.mode == "min" else value > self._best

    def _known_best(self) -> float:
        """Returns the measure of the artifact in the folder.

        If there is no artifact, or a damaged one, the result is infinitely bad.
        """
        worst = math.inf if self.mode == "min" else -math.inf
        found = recognize(self._path)
        if found.kind in ("nothing", "empty"):
            return worst
        best: object = None
        if found.kind == "artifact":
            try:
                best = load_artifact(self._path).provenance.get("best")
            except ArtifactError as error:
                warnings.warn(
                    f"{error}; the next checkpoint replaces it", WMRLWarning, stacklevel=2
                )
                return worst
        expected = {"measure": self.measure, "mode": self.mode}
        if not isinstance(best, dict) or {name: best.get(name) for name in expected} != expected:
            raise ValueError(
                f"folder: expected nothing, or the best by {self.measure!r} ({self.mode}), got "
                f"{self._path}, which holds something else; choose another folder"
            )
        return float(best["value"])
