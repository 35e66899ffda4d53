"""Quality-diversity problems: poses of planar arms, and controllers."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from wmrl.agents.policy_search.fitness import DreamFitness, RealFitness
from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.core.config import check_fields
from wmrl.core.validation import check_choice, check_float
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.kinematics import ANGLE_LIMIT

ArmObjective = Literal["std", "variance"]
"""Names of the objectives of :class:`ArmProblem`."""

_COLLISION = np.pi / 2
"""Minimum penalty of a collision, in radians: the greatest possible std of the joint angles."""

_ROUNDING = 1e-6
"""Upper bound on the relative rounding error of float32 sums over thousands of joints."""


class Problem(Protocol):
    """Interface of quality-diversity problems.

    A solution is a vector of X numbers in [−1, 1]. Its objective and its measures depend on nothing
    but the solution.
    """

    @property
    def archive(self) -> ArchiveConfig:
        """Configuration of the archive in which elites are stored."""

    @property
    def solution_dim(self) -> int:
        """Dimension X of a solution."""

    def evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluates solutions.

        Args:
            solutions: ``(B, X) float32``, in [−1, 1].

        Returns:
            Objectives ``(B,)`` and measures ``(B, 2)``.
        """

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serializable description of the problem.

        The description contains everything that affects evaluations, apart from the solutions.
        """


@dataclass(frozen=True, kw_only=True)
class ArmProblem:
    """Problem whose solutions are poses of a planar arm.

    The two measures of a pose are the position of the arm's end. The objective is highest if all
    joint angles are equal. A pose that collides with an obstacle has a lower objective than any
    pose without a collision.

    Attributes:
        arm: the planar arm.
        objective: ``"std"`` for −std of the joint angles in radians, as in Data-Driven Encodings,
            or ``"variance"`` for 100 (1 − variance of the joint angles), as in Fontaine and
            Nikolaidis 2021 (https://arxiv.org/abs/2106.03894).
        archive: configuration of the archive; by default a disc of 1950 cells, with the result of
            :func:`objective_lower_bound` as its ``qd_score_offset``.

    Example:
        >>> import numpy as np
        >>> from wmrl.agents.quality_diversity import ArmProblem
        >>> from wmrl.envs import Arm
        >>> problem = ArmProblem(arm=Arm(num_joints=2))
        >>> objectives, measures = problem.evaluate(np.array([[0.0, 0.0], [1.0, -1.0]]))
        >>> objectives.round(4).tolist()  # radians
        [-0.0, -1.5708]
        >>> measures.round(4).tolist()  # the position of the end, scaled to [0, 1]²
        [[1.0, 0.5], [0.75, 0.75]]
    """

    arm: Arm = field(default_factory=Arm)
    objective: ArmObjective = "std"
    archive: ArchiveConfig = None  # type: ignore[assignment]  # is set in __post_init__

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, ("std", "variance"))
        if self.archive is None:
            bound = objective_lower_bound(self.arm, self.objective)  # type: ignore[unreachable]
            object.__setattr__(self, "archive", ArchiveConfig(qd_score_offset=bound))

    @property
    def solution_dim(self) -> int:
        """Dimension X of a solution: the number of joints."""
        return self.arm.num_joints

    def evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluates poses.

        Args:
            solutions: ``(B, X)`` in [−1, 1], joint angles divided by π/2.

        Returns:
            Objectives ``(B,)`` and measures ``(B, 2)``.

        Raises:
            ValueError: a solution does not have X numbers, or a number is not within [−1, 1].
        """
        found = self.arm.evaluate(solutions)
        fitness = found.fitness.astype(np.float64)
        if self.arm.obstacles:
            fitness -= np.where(found.feasible, 0.0, _COLLISION + found.penetration)
        return _objective_of(fitness, self.objective), found.descriptors

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serializable description of the arm, the objective and the archive."""
        return {
            "problem": "planar-arm",
            "arm": asdict(self.arm),
            "objective": self.objective,
            "archive": asdict(self.archive),
        }


def objective_lower_bound(arm: Arm, objective: ArmObjective) -> float:
    """Returns a lower bound of the objective over all poses, for use as ``qd_score_offset``.

    The std of the joint angles is at most π/2. It is greatest if one half of the angles is −π/2 and
    the other half is π/2. With obstacles, the penalty of a collision is π/2 plus the depth of the
    collision. The depth is at most the radius of the largest obstacle.
    """
    fitness = -ANGLE_LIMIT * (1.0 + _ROUNDING)
    if arm.obstacles:
        deepest = max(radius for _, _, radius in arm.obstacles)
        fitness -= _COLLISION + deepest * (1.0 + _ROUNDING)
    return float(_objective_of(np.float64(fitness), objective))


def _objective_of(fitness: Any, objective: ArmObjective) -> Any:
    """Converts the fitness of a pose to an objective.

    The fitness is −std of the joint angles in radians, minus the penalty of a collision. For the
    objective ``"std"``, the fitness is returned unchanged.
    """
    return 100.0 * (1.0 - fitness**2) if objective == "variance" else fitness


@dataclass(frozen=True, kw_only=True)
class ControllerProblemConfig:
    """Configuration of :class:`ControllerProblem`.

    Attributes:
        measures: names of two action dimensions of the task, one for each measure. A measure is the
            mean action in its dimension over the agent steps of a rollout, averaged over all
            rollouts of the controller. Bars around a name, as in ``"|steer|"``, select the mean
            absolute action.
        archive: configuration of the archive. A controller whose measures are beyond the archive's
            bounds belongs to the nearest outermost cell.
        scale: factor that converts solutions, which are in [−1, 1], to parameters of controllers,
            which are in [−scale, scale].
        seed: root seed of the rollouts, the same for all controllers.
    """

    measures: tuple[str, str] = ("|steer|", "pedal")
    archive: ArchiveConfig = field(
        default_factory=lambda: ArchiveConfig(
            shape="grid", dims=(12, 12), low=(0.0, -0.2), high=(0.9, 0.8), qd_score_offset=-100.0
        )
    )
    scale: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_float("scale", self.scale, above=0)
        check_fields(self)


class ControllerProblem:
    """Problem whose solutions are controllers.

    The objective is the mean score of a controller, and the measures are means of its actions.

    Args:
        fitness: fitness function, which runs controllers in dreams or in the real game.
        config: configuration of the problem.

    Raises:
        ValueError: a measure is not the name of an action dimension of the task, with or without
            bars.
    """

    def __init__(
        self, fitness: DreamFitness | RealFitness, config: ControllerProblemConfig | None = None
    ) -> None:
        self.fitness, self.config = fitness, config or ControllerProblemConfig()
        names = fitness.world_model.task.action_names
        for measure in self.config.measures:
            if measure not in (*names, *map("|{}|".format, names)):
                raise ValueError(
                    f"measures: expected names of the task's action dimensions {names}, optionally "
                    f"in bars ('|name|') for absolute values, got {measure!r}"
                )

    @property
    def archive(self) -> ArchiveConfig:
        """Configuration of the archive in which elites are stored."""
        return self.config.archive

    @property
    def solution_dim(self) -> int:
        """Dimension X of a solution: the number of parameters of a controller."""
        return self.fitness.controller.parameter_count

    def parameters(self, solutions: np.ndarray) -> np.ndarray:
        """Converts solutions ``(B, X)`` to parameters of controllers ``(B, X) float32``."""
        parameters: np.ndarray = np.float32(self.config.scale) * np.asarray(solutions, np.float32)
        return parameters

    def solutions(self, parameters: np.ndarray) -> np.ndarray:
        """Converts parameters ``(B, X)`` to solutions ``(B, X) float32``, clipped to [−1, 1]."""
        scaled = np.asarray(parameters, np.float32) / np.float32(self.config.scale)
        solutions: np.ndarray = np.clip(scaled, -1.0, 1.0)
        return solutions

    def evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluates controllers in rollouts.

        Args:
            solutions: ``(B, X) float32``, in [−1, 1].

        Returns:
            Mean scores ``(B,) float64`` and measures ``(B, 2) float64``.
        """
        found = self.fitness.rollouts(self.parameters(solutions), self.config.seed)
        means, magnitudes = found.actions.mean(1), found.magnitudes.mean(1)  # (B, A)
        names = self.fitness.world_model.task.action_names
        measures = [
            (magnitudes if name.startswith("|") else means)[:, names.index(name.strip("|"))]
            for name in self.config.measures
        ]
        return found.scores.mean(1), np.stack(measures, axis=1)

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serializable description of the rollouts, measures and archive."""
        return {"problem": "controllers", **asdict(self.config), "fitness": self.fitness.describe()}
