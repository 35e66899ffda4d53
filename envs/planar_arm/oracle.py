"""An oracle for the planar arm: the least std of angles that reaches each target.

It knows the arm's equations and follows their gradients, which no search that only evaluates arms
can: the gap between the two is what such a search leaves undone.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmrl.core.device import resolve_device
from wmrl.core.seeding import torch_generator
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.kinematics import ANGLE_LIMIT

# Doubles that one batch of arms holds: what its steps write stays in the cache.
_BATCH = 2**17
_RIDGE = 1e-10  # keeps systems of equations solvable where an arm is straight


@dataclass(frozen=True, kw_only=True)
class ArmOracleConfig:
    """How hard the oracle tries.

    Attributes:
        starts: arms that each target is tried from; the problem has many local optima.
        survivors: how many of them are followed to the end.
        search_steps: steps of all starts.
        refine_steps: most steps of the survivors; those that stand still stop before.
        tolerance: a target is solved if the end is within this share of the arm's reach.
        seed: of the starts, which are the same for all targets: a target's result does not depend
            on what it is solved together with, up to rounding.
    """

    starts: int = 24
    survivors: int = 4
    search_steps: int = 60
    refine_steps: int = 1000
    tolerance: float = 1e-6
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("starts", "survivors", "search_steps", "refine_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0.0 < self.tolerance < 1.0:
            raise ValueError(f"tolerance: expected between 0 and 1, got {self.tolerance}")


@dataclass(frozen=True, kw_only=True)
class ArmOracleResult:
    """What the oracle found for T targets.

    Attributes:
        angles: ``(T, n) float64``, radians; where a target was not solved, of the start that
            came nearest.
        std: ``(T,) float64`` of these angles, radians.
        distance: ``(T,) float64`` of the end from the target, in units of length.
        solved: ``(T,) bool``, whether that is within the tolerance.
    """

    angles: np.ndarray
    std: np.ndarray
    distance: np.ndarray
    solved: np.ndarray

    @property
    def actions(self) -> np.ndarray:
        """The angles as actions in [−1, 1], ``(T, n) float64``."""
        actions: np.ndarray = np.clip(self.angles / ANGLE_LIMIT, -1.0, 1.0)
        return actions


def solve_targets(
    targets: np.ndarray,
    arm: Arm,
    config: ArmOracleConfig | None = None,
    *,
    device: str | torch.device = "auto",
) -> ArmOracleResult:
    """Finds, for each target, the least std of angles in range whose end is there.

    Minimises ½ Σ_i (θ_i − m)² over θ and m subject to p(θ) = target and |θ_i| ≤ π/2, which has the
    same minima, by sequential quadratic programming: each step solves the problem with p replaced
    by its linearisation in closed form (three unknowns: m and the two multipliers of the target),
    with angles at a bound that they would leave held there, and is shortened until an exact penalty
    function falls (Nocedal and Wright, Numerical Optimization, 2006, chapter 18). At last Newton's
    method without the objective closes what is left of the distance. Local optima are the many
    ways an arm may wind: hence several starts. Targets that only an arm at the very edge of its
    reach comes to (within some thousandths of it) may be left unsolved.

    Args:
        targets: ``(T, 2)`` or ``(2,)``, in units of length. They may be out of reach: such a target
            is not solved.
        arm: with its link lengths and locks. Locked angles count in the std, as in the fitness.
        config: how hard to try.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` …

    Returns:
        Angles, stds, distances, and which targets were solved.

    Raises:
        ValueError: the targets have another shape or are not finite, the arm has obstacles, or the
            device has no float64.
    """
    config = config or ArmOracleConfig()
    points = np.atleast_2d(np.asarray(targets, np.float64))
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(
            f"targets: expected finite numbers of shape (T, 2), got {np.shape(targets)} with "
            f"{np.count_nonzero(~np.isfinite(points))} that are not finite"
        )
    if arm.obstacles:
        raise ValueError(
            f"arm: expected no obstacles, which this oracle can't evade, got {len(arm.obstacles)}; "
            "make the Arm without them, whose least std is a bound for the other"
        )
    solver = _Solver(arm, config, _float64_device(device))
    return solver.solve(points)


def _float64_device(device: str | torch.device) -> torch.device:
    resolved = resolve_device(device)
    if resolved.type != "mps":
        return resolved
    if device == "auto":
        return torch.device("cpu")
    raise ValueError("device: expected one with float64, got 'mps'; use device='cpu'")


class _Solver:
    """One arm's equations and the starts that all its targets share."""

    def __init__(self, arm: Arm, config: ArmOracleConfig, device: torch.device) -> None:
        self._config = config
        self._joints = arm.joints
        self._reach = arm.reach
        self._real: dict[str, Any] = {"dtype": torch.float64, "device": device}
        # In units of the reach, so that tolerances and step lengths fit any arm.
        self._lengths = torch.tensor(arm.link_lengths, **self._real) / arm.reach
        rest = np.zeros((1, arm.joints))
        self._moves = torch.ones(arm.joints, dtype=torch.bool, device=device)
        self._moves[list(arm.locked_joints)] = False
        self._stuck = torch.tensor(arm.angles(rest)[0], **self._real)
        # The same on any device: whole turns of the arm, how many joints it takes to face the
        # target, and what breaks the symmetry.
        generator = torch_generator(config.seed, "arm-oracle")
        column: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
        turns = 1.2 * torch.randn(config.starts, 1, **column)
        bends = torch.ceil(arm.joints ** torch.rand(config.starts, 1, **column))
        noise = torch.randn(config.starts, arm.joints, **column) * 0.3 / math.sqrt(arm.joints)
        self._turns, self._bends, self._noise = (part.to(device) for part in (turns, bends, noise))

    def solve(self, points: np.ndarray) -> ArmOracleResult:
        """All targets, a batch at a time."""
        rows = max(1, _BATCH // (self._joints * self._config.starts))
        count = len(points)
        angles = np.zeros((count, self._joints))
        distance = np.zeros(count)
        for first in range(0, count, rows):
            batch = slice(first, first + rows)
            targets = torch.tensor(points[batch], **self._real) / self._reach
            found, gap = self._solve(targets)
            angles[batch], distance[batch] = found.cpu().numpy(), gap.cpu().numpy()
        return ArmOracleResult(
            angles=angles,
            std=angles.std(axis=1),
            distance=distance * self._reach,
            solved=distance <= self._config.tolerance,
        )

    @torch.inference_mode()
    def _solve(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Angles ``(T, n)`` and distances ``(T,)`` of a batch of targets."""
        config = self._config
        count = len(targets)
        each = targets.repeat_interleave(config.starts, dim=0)  # (T·S, 2)
        angles = self._descend(self._starts(targets), each, config.search_steps)
        kept = min(config.survivors, config.starts)
        best = self._rank(angles, each).view(count, -1).topk(kept, largest=False).indices
        first = config.starts * torch.arange(count, device=best.device)[:, None]
        rows = (first + best).flatten()
        angles, each = angles[rows], each[rows]
        angles = self._descend(angles, each, config.refine_steps)
        angles = self._close_in(angles, each)
        gaps = self._gaps(angles, each).norm(dim=1).view(count, kept)
        stds = angles.std(dim=1, correction=0).view(count, kept)
        # Of those that arrive the most even one, else the one that comes nearest.
        order = torch.where(gaps <= config.tolerance, stds, 10.0 + gaps)
        chosen = kept * torch.arange(count, device=best.device) + order.argmin(dim=1)
        return angles[chosen], gaps.flatten()[chosen]

    def _starts(self, targets: Tensor) -> Tensor:
        """Arms to start from, ``(T·S, n)``.

        Every second one winds in even circles. The others turn towards the target within a few
        joints and go on straight, which is the way to what only a stretched arm reaches.
        """
        facing = torch.atan2(targets[:, 1], targets[:, 0]).view(-1, 1, 1)
        joint = torch.arange(self._joints, device=targets.device)
        winding = 2.0 * math.pi / self._joints * self._turns  # (S, 1)
        turning = torch.where(joint < self._bends, facing / self._bends, 0.0)  # (T, S, n)
        even = (torch.arange(self._config.starts, device=targets.device) % 2 == 0)[:, None]
        starts = torch.where(even, winding, turning) + self._noise
        return self._in_range(starts.flatten(0, 1))

    def _descend(self, angles: Tensor, targets: Tensor, steps: int) -> Tensor:
        """Steps until rows stand still; ``angles`` ``(R, n)``, ``targets`` ``(R, 2)``."""
        result = angles.clone()
        rows = torch.arange(len(angles), device=angles.device)
        length = torch.full_like(targets[:, 0], 0.5)
        weight = torch.zeros_like(length)
        for _ in range(steps):
            step, multipliers = self._step(angles, targets)
            # The multipliers bound the weight above which the penalty function is exact.
            weight = torch.maximum(0.9 * weight, 2.0 * multipliers.norm(dim=1) + 0.1)
            # No link turns by more than a radian, for p is far from linear beyond.
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
        """The way ``(R, n)`` to the linearised problem's solution, and its multipliers ``(R, 2)``.

        With free angles F and others fixed, d = m − θ + Jᵀλ on F, where J_F d = e, and m is the
        mean of all angles, θ + d.
        """
        gaps, jacobian = self._linearised(angles, targets)
        free = self._moves.expand_as(angles)
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
        """Shortest steps that take ends to their targets, with angles kept in range."""
        for _ in range(30):
            gaps, jacobian = self._linearised(angles, targets)
            if (gaps.norm(dim=1) < 0.01 * self._config.tolerance).all():
                break
            inside = self._moves & (angles.abs() < ANGLE_LIMIT)
            slopes = jacobian * inside[:, None]
            square = slopes @ slopes.mT + 1e-14 * torch.eye(2, **self._real)
            step = (slopes.mT @ torch.linalg.solve(square, gaps[:, :, None]))[:, :, 0]
            step /= step.cumsum(dim=1).abs().amax(dim=1, keepdim=True).clamp(min=1.0)
            angles = self._in_range(angles + step)
        return angles

    def _linearised(self, angles: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """What is missing to the targets, ``(R, 2)``, and ∂p/∂θ, ``(R, 2, n)``.

        A joint turns all that comes after it: ∂p/∂θ_i is the way from joint i to the end, turned
        by a right angle.
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
        """Lowest for the starts that promise most, ``(R,)``."""
        missing = self._gaps(angles, targets).norm(dim=1)
        rank: Tensor = angles.std(dim=1, correction=0) + 10.0 * missing
        return rank

    def _in_range(self, angles: Tensor) -> Tensor:
        return torch.where(self._moves, angles.clamp(-ANGLE_LIMIT, ANGLE_LIMIT), self._stuck)
