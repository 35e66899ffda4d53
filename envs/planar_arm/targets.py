"""Fixed and random targets of planar arms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from wmrl.envs.planar_arm.arm import Arm

#: A fixed point ``(x, y)``; ``"random"`` for a new random point at each reset; None for no target.
Target = Sequence[float] | Literal["random"] | None
_ROUNDS = 1000


@dataclass(frozen=True, eq=False)
class ArmTargets:
    """Source of targets for a batch of identical arms.

    Attributes:
        arm: arm that is to reach the targets.
        target: a fixed point ``(x, y)``; ``"random"`` for a new random point at each reset; None
            for no target.

    Raises:
        ValueError: the target is neither a point, ``"random"`` nor None, or the point is out of the
            arm's reach or in an obstacle.
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
            self.arm.check_targets(self.target, "target")

    @property
    def space(self) -> spaces.Box:
        """Observation space of one arm: x and y of the target, or always 0 without a target."""
        if self.target is None:
            return spaces.Box(-1.0, 1.0, (1,), np.float32)
        return spaces.Box(-self.arm.reach, self.arm.reach, (2,), np.float32)

    def next(
        self,
        num_envs: int,
        options: dict[str, Any],
        *,
        indices: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Returns the new targets of the arms that are reset.

        Args:
            num_envs: number N of arms.
            options: options of the reset. The option ``"target"``, ``(2,)`` or ``(N, 2)``, replaces
                the fixed or random targets.
            indices: ``(K,) int``, indices of the arms that are reset.
            rng: random number generator for random targets.

        Returns:
            ``(K, 2) float64``; if :attr:`target` is None, zeros of shape ``(K, 1)``.

        Raises:
            ValueError: the option ``"target"`` has the wrong shape, is out of reach, is in an
                obstacle, or is given although :attr:`target` is None; or obstacles leave no room
                for random targets.
        """
        given = options.get("target")
        if given is not None:
            targets: np.ndarray = self._given(num_envs, given)[indices]
            return targets
        if self.target is None:
            return np.zeros((len(indices), 1))
        if isinstance(self.target, str):  # it is "random"
            return self._draw(len(indices), rng)
        return np.tile(np.asarray(self.target, np.float64), (len(indices), 1))

    def _given(self, num_envs: int, target: Any) -> np.ndarray:
        if self.target is None:
            raise ValueError(
                "options['target']: expected none in an environment without a target, got "
                f"{target!r}; create the environment with target='random' or target=(x, y)"
            )
        shape = np.shape(target)
        if shape not in ((2,), (num_envs, 2)):
            raise ValueError(
                f"options['target']: expected shape (2,) or ({num_envs}, 2), got {shape}"
            )
        return np.broadcast_to(self.arm.check_targets(target, "options['target']"), (num_envs, 2))

    def _draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws random points ``(count, 2)`` from a uniform distribution within the arm's reach.

        Points in obstacles are rejected and drawn again.
        """
        points = np.zeros((count, 2))
        missing = np.arange(count)
        for _ in range(_ROUNDS):
            if not len(missing):
                return points
            low, high = self.arm.min_reach**2, self.arm.reach**2
            radius = np.sqrt(rng.uniform(low, high, len(missing)))
            angle = rng.uniform(0.0, 2.0 * np.pi, len(missing))
            drawn = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
            points[missing] = drawn
            missing = missing[~self.arm.within_reach(drawn)]
        raise ValueError(
            "obstacles: expected room for random targets, got obstacles that cover almost all of "
            "the arm's reach; use fewer or smaller obstacles, or a fixed target"
        )
