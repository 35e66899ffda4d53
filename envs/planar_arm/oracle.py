"""Oracle for planar arms: poses that reach a target with the smallest std of angles.

The oracle uses gradients of the arm's equations. Its results are a reference for searches that can
only evaluate poses.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmrl.core.config import check_fields
from wmrl.core.device import resolve_device
from wmrl.core.seeding import torch_generator
from wmrl.core.validation import check_float, check_int
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.kinematics import ANGLE_LIMIT
from wmrl.envs.planar_arm.validation import LARGEST

# Angles (float64) per batch, so that intermediate results stay in the CPU cache.
_BATCH = 2**17
_RIDGE = 1e-10  # keeps the linear systems solvable if the arm is straight


@dataclass(frozen=True, kw_only=True)
class ArmOracleConfig:
    """Configuration of the oracle.

    Attributes:
        num_starts: number of initial poses per target. Several initial poses are needed because
            there are many local optima.
        num_survivors: number of poses per target that are optimized further after the first
            ``search_steps`` steps. The most promising poses are selected.
        search_steps: maximum number of optimization steps for each initial pose.
        refine_steps: maximum number of further optimization steps for each of the
            ``num_survivors`` poses.
        tolerance: a target counts as solved if its distance from the end point is at most the
            tolerance. The tolerance is a fraction of the arm's reach.
        seed: seed of the random numbers for the initial poses. All targets share these numbers.
            Therefore, the result for a target does not depend on the other targets, up to rounding.

    Raises:
        ValueError: a number of poses or steps is less than 1, or the tolerance is not between 0
            and 1.
    """

    num_starts: int = 24
    num_survivors: int = 4
    search_steps: int = 60
    refine_steps: int = 1000
    tolerance: float = 1e-6
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("num_starts", "num_survivors", "search_steps", "refine_steps"):
            check_int(name, getattr(self, name), at_least=1)
        check_float("tolerance", self.tolerance, above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class ArmOracleResult:
    """Solutions for T targets.

    Attributes:
        angles: ``(T, n) float64``, joint angles in radians. If a target was not solved, its row
            contains the angles whose end point came closest to the target.
        std: ``(T,) float64``, std of the joint angles in radians.
        distance: ``(T,) float64``, distance of the end point from the target, in the unit of the
            link lengths.
        solved: ``(T,) bool``, True if the distance is within the tolerance.
    """

    angles: np.ndarray
    std: np.ndarray
    distance: np.ndarray
    solved: np.ndarray

    @property
    def actions(self) -> np.ndarray:
        """Actions that correspond to the joint angles, ``(T, n) float64`` in [−1, 1]."""
        actions: np.ndarray = np.clip(self.angles / ANGLE_LIMIT, -1.0, 1.0)
        return actions


def solve_targets(
    targets: np.ndarray,
    arm: Arm,
    config: ArmOracleConfig | None = None,
    *,
    device: str | torch.device = "auto",
) -> ArmOracleResult:
    """Finds the pose that reaches each target with the smallest std of the joint angles.

    The method is sequential quadratic programming (Nocedal and Wright, Numerical Optimization,
    2006, chapter 18). It minimizes ½ Σ_i (θ_i − m)² over the angles θ and their mean m, subject to
    p(θ) = target and −π/2 ≤ θ_i ≤ π/2, where p(θ) is the end point. A solution of this problem also
    minimizes the std.

    Each step linearizes p. The linearized problem has a closed-form solution with three unknowns:
    m and the two Lagrange multipliers of p(θ) = target. Angles that would leave their range are
    fixed at the bound. A step that increases an exact penalty function is rejected, and the next
    step is shorter. Finally, Newton's method removes the remaining distance from the target without
    regard to the std.

    An arm can wind in many ways, each of which is a local optimum. Therefore, several initial poses
    are tried. Targets at the very edge of the reach may remain unsolved, for example targets whose
    distance from the base is 99.9 % of the reach.

    Args:
        targets: ``(T, 2)`` or ``(2,)``, x and y in the unit of the link lengths. Targets out of
            reach are allowed but cannot be solved.
        arm: arm without obstacles. The std is that of all joint angles, including the angles of
            locked joints.
        config: configuration; the default configuration if None.
        device: device of the computation, such as ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns:
        Angles, stds and distances, and a mask of the targets that were solved.

    Raises:
        ValueError: the targets have the wrong shape or are not finite, the arm has obstacles, or
            the device does not support float64.

    Example:
        >>> import numpy as np
        >>> from wmrl.envs import Arm, solve_targets
        >>> from wmrl.envs.planar_arm import ArmOracleConfig
        >>> arm = Arm(num_joints=5)
        >>> config = ArmOracleConfig(num_starts=8, refine_steps=50)  # enough for a few joints
        >>> result = solve_targets(np.array([0.5, 0.5]), arm, config, device="cpu")
        >>> bool(result.solved.all())
        True
        >>> arm.evaluate(result.actions).end_points.round(3)
        array([[0.5, 0.5]])
    """
    config = config or ArmOracleConfig()
    points = np.atleast_2d(np.asarray(targets, np.float64))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"targets: expected shape (T, 2) or (2,), got {np.shape(targets)}")
    finite = (np.abs(points) <= LARGEST).all(1)  # False for NaN too
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"targets: expected finite numbers within ±{LARGEST:g}, got {points[row].tolist()} in "
            f"row {row}"
        )
    if arm.obstacles:
        raise ValueError(
            f"arm: expected no obstacles, got {len(arm.obstacles)}; use the same Arm without "
            "obstacles: its smallest std is a lower bound for the arm with obstacles"
        )
    solver = _Solver(arm, config, _float64_device(device))
    return solver.solve(points)


def _float64_device(device: str | torch.device) -> torch.device:
    resolved = resolve_device(device)
    if resolved.type != "mps":
        return resolved
    if device == "auto":
        return torch.device("cpu")
    raise ValueError("device: expected a device that supports float64, got 'mps'; use 'cpu'")


class _Solver:
    """Solver for targets of one arm, with the same random initial poses for all targets."""

    def __init__(self, arm: Arm, config: ArmOracleConfig, device: torch.device) -> None:
        self._config = config
        self._joints = arm.num_joints
        self._reach = arm.reach
        self._real: dict[str, Any] = {"dtype": torch.float64, "device": device}
        # Lengths are fractions of the reach, so that tolerances and step lengths suit any arm.
        self._lengths = torch.tensor(arm.link_lengths, **self._real) / arm.reach
        rest = np.zeros((1, arm.num_joints))
        self._movable = torch.ones(arm.num_joints, dtype=torch.bool, device=device)
        self._movable[list(arm.locked_joints)] = False
        self._locked_angles = torch.tensor(arm.angles(rest)[0], **self._real)
        # Random numbers are drawn on the CPU, so that they are the same for any device: turns of
        # the whole arm, the number of joints that turn it to the target, and noise that breaks
        # symmetries.
        generator = torch_generator(config.seed, "arm-oracle")
        column: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
        turns = 1.2 * torch.randn(config.num_starts, 1, **column)
        bends = torch.ceil(arm.num_joints ** torch.rand(config.num_starts, 1, **column))
        noise = (
            torch.randn(config.num_starts, arm.num_joints, **column)
            * 0.3
            / math.sqrt(arm.num_joints)
        )
        self._turns, self._bends, self._noise = (part.to(device) for part in (turns, bends, noise))

    def solve(self, points: np.ndarray) -> ArmOracleResult:
        """Finds the joint angles for all targets ``(T, 2)``, batch by batch."""
        batch_size = max(1, _BATCH // (self._joints * self._config.num_starts))
        count = len(points)
        angles = np.zeros((count, self._joints))
        distance = np.zeros(count)
        for first in range(0, count, batch_size):
            batch = slice(first, first + batch_size)
            targets = torch.tensor(points[batch], **self._real) / self._reach
            solution, gap = self._solve(targets)
            angles[batch], distance[batch] = solution.cpu().numpy(), gap.cpu().numpy()
        return ArmOracleResult(
            angles=angles,
            std=angles.std(axis=1),
            distance=distance * self._reach,
            solved=distance <= self._config.tolerance,
        )

    @torch.inference_mode()
    def _solve(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the joint angles for T targets.

        Args:
            targets: ``(T, 2)``, as fractions of the reach.

        Returns:
            The angles ``(T, n)`` in radians, and the distances ``(T,)`` of the end points from the
            targets, as fractions of the reach.
        """
        config = self._config
        count = len(targets)
        each = targets.repeat_interleave(config.num_starts, dim=0)  # (T·S, 2)
        angles = self._descend(self._starts(targets), each, config.search_steps)
        kept = min(config.num_survivors, config.num_starts)
        best = self._rank(angles, each).view(count, -1).topk(kept, largest=False).indices
        first = config.num_starts * torch.arange(count, device=best.device)[:, None]
        rows = (first + best).flatten()
        angles, each = angles[rows], each[rows]
        angles = self._descend(angles, each, config.refine_steps)
        angles = self._close_in(angles, each)
        gaps = self._gaps(angles, each).norm(dim=1).view(count, kept)
        stds = angles.std(dim=1, correction=0).view(count, kept)
        # Selects the smallest std within the tolerance or, if there is none, the smallest distance.
        order = torch.where(gaps <= config.tolerance, stds, 10.0 + gaps)
        chosen = kept * torch.arange(count, device=best.device) + order.argmin(dim=1)
        return angles[chosen], gaps.flatten()[chosen]

    def _starts(self, targets: Tensor) -> Tensor:
        """Returns the angles of S initial poses for each of T targets, ``(T·S, n)``.

        Poses of two kinds alternate. In a pose of the first kind, the arm winds along a circle. In
        a pose of the second kind, the first few joints turn the arm to the target, and the rest of
        the arm is straight. The second kind helps with targets near the edge of the reach.
        """
        facing = torch.atan2(targets[:, 1], targets[:, 0]).view(-1, 1, 1)
        joint = torch.arange(self._joints, device=targets.device)
        winding = 2.0 * math.pi / self._joints * self._turns  # (S, 1)
        turning = torch.where(joint < self._bends, facing / self._bends, 0.0)  # (T, S, n)
        even = (torch.arange(self._config.num_starts, device=targets.device) % 2 == 0)[:, None]
        starts = torch.where(even, winding, turning) + self._noise
        return self._in_range(starts.flatten(0, 1))

    def _descend(self, angles: Tensor, targets: Tensor, steps: int) -> Tensor:
        """Optimizes the joint angles of R poses, each for a target of its own.

        Args:
            angles: ``(R, n)``, initial angles in radians.
            targets: ``(R, 2)``, as fractions of the reach.
            steps: maximum number of steps.

        Returns:
            The optimized angles, ``(R, n)``.
        """
        result = angles.clone()
        rows = torch.arange(len(angles), device=angles.device)
        length = torch.full_like(targets[:, 0], 0.5)
        weight = torch.zeros_like(length)
        for _ in range(steps):
            step, multipliers = self._step(angles, targets)
            # The penalty function is exact if its weight exceeds the norm of the multipliers.
            weight = torch.maximum(0.9 * weight, 2.0 * multipliers.norm(dim=1) + 0.1)
            # No link may turn by more than one radian, because p is far from linear beyond that.
            turn = step.cumsum(dim=1).abs().amax(dim=1)
            scale = torch.minimum(length, 1.0 / turn.clamp(min=1e-30))
            tried = self._in_range(angles + scale[:, None] * step)
            before, after = (self._penalty(each, targets, weight) for each in (angles, tried))
            better = after <= before + 1e-15
            angles = torch.where(better[:, None], tried, angles)
            length = torch.where(better, 1.3 * length, 0.4 * length).clamp(1e-4, 1.0)
            result[rows] = angles
            moving = turn > 1e-6
            if not moving.all():
                rows, angles, targets = rows[moving], angles[moving], targets[moving]
                length, weight = length[moving], weight[moving]
            if not len(rows):
                break
        return result

    def _step(self, angles: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Computes one optimization step for each of R poses.

        The step d solves the problem of :func:`solve_targets` with a linearized end point: d is
        m − θ + Jᵀλ for free angles θ, and 0 for angles that are locked or fixed at a bound. J is
        the Jacobian of the end point, and m is the mean of all angles θ + d. The Lagrange
        multipliers λ are chosen so that J d equals the gap between end point and target.

        Returns:
            The steps d, ``(R, n)``, and the multipliers λ, ``(R, 2)``.
        """
        gaps, jacobian = self._linearized(angles, targets)
        free = self._movable.expand_as(angles)
        while True:
            mask = free.to(angles.dtype)
            slopes = jacobian * mask[:, None]  # (R, 2, n)
            sums = slopes.sum(dim=2)
            system = angles.new_zeros(len(angles), 3, 3)
            system[:, :2, :2] = slopes @ slopes.mT + _RIDGE * torch.eye(2, **self._real)
            system[:, :2, 2] = system[:, 2, :2] = sums
            system[:, 2, 2] = mask.sum(dim=1) - self._joints - _RIDGE
            there = gaps + (slopes @ angles[:, :, None])[:, :, 0]
            rest = ((mask - 1.0) * angles).sum(dim=1, keepdim=True)
            solution = torch.linalg.solve(system, torch.cat((there, rest), dim=1))
            multipliers, mean = solution[:, :2], solution[:, 2:]
            step = mask * (mean - angles + (multipliers[:, None] @ jacobian)[:, 0])
            leaving = free & (angles.abs() >= ANGLE_LIMIT) & (step * angles > 0.0)
            if not leaving.any():
                return step, multipliers
            free = free & ~leaving

    def _close_in(self, angles: Tensor, targets: Tensor) -> Tensor:
        """Moves the end points of R poses to R targets by Newton's method.

        Args:
            angles: ``(R, n)``, joint angles of poses that almost reach their targets, in radians.
            targets: ``(R, 2)``, as fractions of the reach.

        Returns:
            The new angles, ``(R, n)``.
        """
        for _ in range(30):
            gaps, jacobian = self._linearized(angles, targets)
            if (gaps.norm(dim=1) < 0.01 * self._config.tolerance).all():
                break
            inside = self._movable & (angles.abs() < ANGLE_LIMIT)
            slopes = jacobian * inside[:, None]
            square = slopes @ slopes.mT + 1e-14 * torch.eye(2, **self._real)
            step = (slopes.mT @ torch.linalg.solve(square, gaps[:, :, None]))[:, :, 0]
            step /= step.cumsum(dim=1).abs().amax(dim=1, keepdim=True).clamp(min=1.0)
            angles = self._in_range(angles + step)
        return angles

    def _linearized(self, angles: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the gaps ``(R, 2)`` and the Jacobians ``(R, 2, n)`` of R poses.

        A gap is the vector from the end point p to the target. The Jacobian is ∂p/∂θ, where θ are
        the joint angles. A joint rotates all links after it. Therefore, ∂p/∂θ_i is the vector from
        joint i to p, rotated by a right angle.
        """
        heading = angles.cumsum(dim=1)
        links = self._lengths * torch.stack((heading.cos(), heading.sin()), dim=1)
        onward = links.flip(2).cumsum(dim=2).flip(2)  # from each joint to the end
        jacobian = torch.stack((-onward[:, 1], onward[:, 0]), dim=1)
        return targets - onward[:, :, 0], jacobian

    def _gaps(self, angles: Tensor, targets: Tensor) -> Tensor:
        heading = angles.cumsum(dim=1)
        ends = (heading.cos() @ self._lengths, heading.sin() @ self._lengths)
        return targets - torch.stack(ends, dim=1)

    def _penalty(self, angles: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        objective = 0.5 * self._joints * angles.var(dim=1, correction=0)
        penalty: Tensor = objective + weight * self._gaps(angles, targets).norm(dim=1)
        return penalty

    def _rank(self, angles: Tensor, targets: Tensor) -> Tensor:
        """Returns a score ``(R,)`` for R poses and R targets; a lower score is more promising."""
        missing = self._gaps(angles, targets).norm(dim=1)
        rank: Tensor = angles.std(dim=1, correction=0) + 10.0 * missing
        return rank

    def _in_range(self, angles: Tensor) -> Tensor:
        return torch.where(
            self._movable, angles.clamp(-ANGLE_LIMIT, ANGLE_LIMIT), self._locked_angles
        )
