"""Controllers as solutions: what a search for elites among drivers is given."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from wmrl.agents.elites import ArchiveConfig
from wmrl.agents.fitness import DreamFitness, RealFitness


@dataclass(frozen=True, kw_only=True)
class ControllerProblemConfig:
    """How controllers become solutions, and what tells them apart.

    Attributes:
        measures: two means over a rollout's decisions, each the name of one of the task's actions,
            between bars for its absolute value.
        archive: the cells; what is measured outside of its limits counts as being at them.
        scale: the parameter that a solution's 1 is; parameters are in [−scale, scale].
        seed: of the rollouts, which are the same for all controllers.
    """

    measures: tuple[str, str] = ("|steer|", "pedal")
    archive: ArchiveConfig = field(
        default_factory=lambda: ArchiveConfig(
            shape="grid", dims=(12, 12), low=(0.0, -0.2), high=(0.9, 0.8), worst=-100.0
        )
    )
    scale: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "measures", tuple(self.measures))
        if len(self.measures) != 2:
            raise ValueError(f"measures: expected two names, got {self.measures}")
        if not self.scale > 0:
            raise ValueError(f"scale: expected above 0, got {self.scale}")


class ControllerProblem:
    """Controllers by their mean score and by how they act; a :class:`~.problems.Problem`.

    Args:
        fitness: where controllers are tried, dreams or the real game.
        config: how they become solutions.

    Raises:
        ValueError: the task has no action of a measure's name.
    """

    def __init__(
        self, fitness: DreamFitness | RealFitness, config: ControllerProblemConfig | None = None
    ) -> None:
        self.fitness, self.config = fitness, config or ControllerProblemConfig()
        names = fitness.eye.task.action_names
        for measure in self.config.measures:
            if measure not in (*names, *map("|{}|".format, names)):
                raise ValueError(
                    f"measures: expected names of the task's actions {names}, between bars for "
                    f"absolute values, got {measure!r}"
                )

    @property
    def archive(self) -> ArchiveConfig:
        """The cells that elites compete in."""
        return self.config.archive

    @property
    def size(self) -> int:
        """X, a controller's parameters."""
        return self.fitness.controller.parameter_count

    def parameters(self, solutions: np.ndarray) -> np.ndarray:
        """Solutions ``(B, X)`` in [−1, 1] as controllers' parameters ``(B, X) float32``."""
        parameters: np.ndarray = np.float32(self.config.scale) * np.asarray(solutions, np.float32)
        return parameters

    def solutions(self, parameters: np.ndarray) -> np.ndarray:
        """Parameters ``(B, X)`` as solutions ``(B, X) float32``, clipped to [−1, 1]."""
        scaled = np.asarray(parameters, np.float32) / np.float32(self.config.scale)
        solutions: np.ndarray = np.clip(scaled, -1.0, 1.0)
        return solutions

    def evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean scores ``(B,) float64`` and measures ``(B, 2) float64`` of ``(B, X) float32``."""
        found = self.fitness.rollouts(self.parameters(solutions), self.config.seed)
        means, magnitudes = found.actions.mean(1), found.magnitudes.mean(1)  # (B, A)
        names = self.fitness.eye.task.action_names
        measures = [
            (magnitudes if name.startswith("|") else means)[:, names.index(name.strip("|"))]
            for name in self.config.measures
        ]
        return found.scores.mean(1), np.stack(measures, axis=1)

    def describe(self) -> dict[str, Any]:
        """What it is, JSON-able: all that evaluations depend on besides solutions."""
        return {"problem": "controllers", **asdict(self.config), "fitness": self.fitness.describe()}
