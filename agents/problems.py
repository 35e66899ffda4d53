"""Problems: what a search for elites is given, and the planar arm as one."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from wmrl.agents.elites import ArchiveConfig
from wmrl.envs.arm import Arm


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
        archive: the cells; a disc of 1950 if not given.
    """

    arm: Arm = field(default_factory=Arm)
    objective: Literal["std", "variance"] = "std"
    archive: ArchiveConfig = field(default_factory=lambda: ArchiveConfig(worst=-np.pi / 2))

    def __post_init__(self) -> None:
        if self.objective not in ("std", "variance"):
            raise ValueError(f"objective: expected 'std' or 'variance', got {self.objective!r}")

    @property
    def size(self) -> int:
        """X, the arm's joints."""
        return self.arm.joints

    def evaluate(self, solutions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Problem`; solutions out of [−1, 1] raise ``ValueError``."""
        found = self.arm.evaluate(solutions)
        fitness = found.fitness.astype(np.float64)
        if self.arm.obstacles:
            fitness -= np.where(found.feasible, 0.0, np.pi / 2 + found.penetration)
        if self.objective == "variance":
            fitness = 100.0 * (1.0 - fitness**2)
        return fitness, found.descriptors

    def describe(self) -> dict[str, Any]:
        """See :class:`Problem`."""
        return {
            "problem": "planar-arm",
            "arm": asdict(self.arm),
            "objective": self.objective,
            "archive": asdict(self.archive),
        }
