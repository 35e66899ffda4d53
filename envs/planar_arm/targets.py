"""Where a planar arm is to reach, as its environments are told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from wmrl.envs.planar_arm.arm import Arm

#: A point, ``"random"`` for one that is drawn at each reset, or None for none.
Target = Sequence[float] | Literal["random"] | None
_ROUNDS = 1000


@dataclass(frozen=True, eq=False)
class ArmTargets:
    """Targets for batches of one arm.

    Attributes:
        arm: the arm.
        target: a point, ``"random"`` or None.

    Raises:
        ValueError: it is none of these, or the arm can't reach it.
    """

    arm: Arm
    target: Target = None

    def __post_init__(self) -> None:
        if isinstance(self.target, str):
            if self.target != "random":
                raise ValueError(
                    f"target: expected a point (x, y), 'random' or None, got {self.target!r}"
                )
        elif self.target is not None:
            if np.shape(self.target) != (2,):
                raise ValueError(
                    f"target: expected one point (x, y), got {self.target!r} of shape "
                    f"{np.shape(self.target)}"
                )
            self.arm.checked_targets(self.target, "target")

    @property
    def space(self) -> spaces.Box:
        """Space of one observation: the target, or one number that says nothing."""
        if self.target is None:
            return spaces.Box(-1.0, 1.0, (1,), np.float32)
        return spaces.Box(-self.arm.reach, self.arm.reach, (2,), np.float32)

    def next(
        self, count: int, options: dict[str, Any], *, rows: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Targets for the rows that are reset.

        Args:
            count: N, how many arms there are.
            options: of a reset; its ``"target"``, ``(2,)`` or ``(N, 2)``, goes before the arm's.
            rows: ``(K,) int``, the arms that are reset.
            rng: what random targets are drawn from.

        Returns:
            ``(K, 2) float64``; ``(K, 1)`` of zeros where there are no targets.

        Raises:
            ValueError: the option's target has another shape or is out of reach, or there is one
                where the observation has no room for it.
        """
        given = options.get("target")
        if given is not None:
            targets: np.ndarray = self._given(count, given)[rows]
            return targets
        if self.target is None:
            return np.zeros((len(rows), 1))
        if self.target == "random":
            return self._draw(len(rows), rng)
        return np.tile(np.asarray(self.target, np.float64), (len(rows), 1))

    def _given(self, count: int, target: Any) -> np.ndarray:
        if self.target is None:
            raise ValueError(
                f"options['target']: expected none, for this arm was made without a target, got "
                f"{target!r}; make it with target='random' or a point"
            )
        shape = np.shape(target)
        if shape not in ((2,), (count, 2)):
            raise ValueError(f"options['target']: expected shape (2,) or ({count}, 2), got {shape}")
        return np.broadcast_to(self.arm.checked_targets(target, "options['target']"), (count, 2))

    def _draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Points that are spread evenly over where an end may be, ``(count, 2)``."""
        points = np.zeros((count, 2))
        missing = np.arange(count)
        for _ in range(_ROUNDS):
            if not len(missing):
                return points
            low, high = self.arm.hole**2, self.arm.reach**2
            radius = np.sqrt(rng.uniform(low, high, len(missing)))
            turn = rng.uniform(0.0, 2.0 * np.pi, len(missing))
            drawn = np.stack((radius * np.cos(turn), radius * np.sin(turn)), axis=1)
            points[missing] = drawn
            missing = missing[~self.arm.within_reach(drawn)]
        raise ValueError(
            "obstacles: expected them to leave room for random targets, found almost none within "
            "the arm's reach; give fewer or smaller ones, or a fixed target"
        )
