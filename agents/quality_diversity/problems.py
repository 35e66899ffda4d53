"""Problems: what a search for elites is given, and the planar arm as one."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from wmrl.agents.policy_search.fitness import DreamFitness, RealFitness
from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.kinematics import ANGLE_LIMIT

ArmObjective = Literal["std", "variance"]
"""What an arm is worth, see :class:`ArmProblem`."""

_COLLISION = np.pi / 2
"""Fitness that a collision costs at least: as much as the greatest std of angles."""

_ROUNDING = 1e-6
"""Of float32's sums over thousands of joints, relative to what is summed."""


class Problem(Protocol):
    """What elites are searched for: a pure function of solutions in [−1, 1].

    Attributes:
        archive: the cells that elites compete in.
    """

    @property
    def archive(self) -> ArchiveConfig:
        """The cells that elites compete in."""

    @property
    def size(self) -> int:
        """X, numbers of a solution."""

    def evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Objectives ``(B,)`` and measures ``(B, 2)`` of solutions ``(B, X) float32``."""

    def describe(self) -> dict[str, Any]:
        """What it is, JSON-able: all that evaluations depend on besides solutions."""


@dataclass(frozen=True, kw_only=True)
class ArmProblem:
    """Where a planar arm ends, and how evenly it bends.

    Arms that collide with an obstacle are worth less than any that do not.

    Attributes:
        arm: the arm.
        objective: ``"std"``, −std of the angles as in Data-Driven Encodings, or ``"variance"``,
            100 (1 − variance) as in Fontaine and Nikolaidis 2021
            (https://arxiv.org/abs/2106.03894).
        archive: the cells; if not given a disc of 1950, with a ``worst`` that no pose is below.
    """

    arm: Arm = field(default_factory=Arm)
    objective: ArmObjective = "std"
    archive: ArchiveConfig = None  # type: ignore[assignment]  # is set at once

    def __post_init__(self) -> None:
        if self.objective not in ("std", "variance"):
            raise ValueError(f"objective: expected 'std' or 'variance', got {self.objective!r}")
        if self.archive is None:
            least = least_objective(self.arm, self.objective)  # type: ignore[unreachable]
            object.__setattr__(self, "archive", ArchiveConfig(worst=least))

    @property
    def size(self) -> int:
        """X, the arm's joints."""
        return self.arm.joints

    def evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Problem`; solutions out of [−1, 1] raise ``ValueError``."""
        found = self.arm.evaluate(solutions)
        fitness = found.fitness.astype(np.float64)
        if self.arm.obstacles:
            fitness -= np.where(found.feasible, 0.0, _COLLISION + found.penetration)
        return _objective_of(fitness, self.objective), found.descriptors

    def describe(self) -> dict[str, Any]:
        """See :class:`Problem`."""
        return {
            "problem": "planar-arm",
            "arm": asdict(self.arm),
            "objective": self.objective,
            "archive": asdict(self.archive),
        }


def least_objective(arm: Arm, objective: ArmObjective) -> float:
    """An objective that no pose of an arm is below, for an archive's ``worst``.

    The std of angles is greatest where half of them are at each end of their range, and no link
    reaches deeper into an obstacle than to its centre.
    """
    fitness = -ANGLE_LIMIT * (1.0 + _ROUNDING)
    if arm.obstacles:
        deepest = max(radius for _, _, radius in arm.obstacles)
        fitness -= _COLLISION + deepest * (1.0 + _ROUNDING)
    return float(_objective_of(np.float64(fitness), objective))


def _objective_of(fitness: Any, objective: ArmObjective) -> Any:
    """Of −std, or what collisions leave of it."""
    return 100.0 * (1.0 - fitness**2) if objective == "variance" else fitness


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
