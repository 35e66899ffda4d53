"""Searches for one pose: a search of some space, the poses that it stands for, an objective."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wmrl.envs.planar_arm.reward import Reached


class Search(Protocol):
    """What is asked for candidates and told what they are worth."""

    @property
    def population(self) -> int:
        """P, candidates a generation."""

    def ask(self) -> np.ndarray:
        """Candidates ``(P, A)``."""

    def tell(self, values: np.ndarray) -> None:
        """Takes the candidates' values, ``(P,)``."""


@dataclass(frozen=True, kw_only=True)
class PoseSearchResult:
    """What one search found.

    Attributes:
        pose: ``(n,) float32``, the one of most reward.
        reward: of it.
        std: of its angles, radians.
        distance: of its end from the target.
        collides: whether it enters an obstacle.
        evaluations_until: how many poses were evaluated when the first was at the target; None if
            none was.
        std_there: least std of all poses that were at the target; None if none was.
        evaluations: how many were evaluated in all.
    """

    pose: np.ndarray
    reward: float
    std: float
    distance: float
    collides: bool
    evaluations_until: int | None
    std_there: float | None
    evaluations: int


def search_pose(
    search: Search,
    poses_of: Callable[[np.ndarray], np.ndarray],
    objective: Callable[[np.ndarray], Reached],
    *,
    evaluations: int = 5000,
    tolerance: float = 0.01,
) -> PoseSearchResult:
    """Spends so many evaluations on a search.

    Args:
        search: of the space of candidates ``(P, A)``.
        poses_of: what candidates stand for, poses ``(P, n)``.
        objective: what they are worth.
        evaluations: exactly how many; of a last generation that has no room, only the first
            candidates are evaluated, and the search isn't told.
        tolerance: distance from the target at which a pose that enters no obstacle is there.

    Raises:
        ValueError: there are no evaluations.
    """
    if evaluations < 1:
        raise ValueError(f"evaluations: expected at least 1, got {evaluations}")
    done = 0
    best: PoseSearchResult | None = None
    until: int | None = None
    std_there = np.inf
    while done < evaluations:
        poses = poses_of(search.ask())[: evaluations - done]
        found = objective(poses)
        if len(poses) == search.population:
            search.tell(found.rewards)
        there = found.there(tolerance)
        if there.any():
            until = done + int(np.argmax(there)) + 1 if until is None else until
            std_there = min(std_there, float(found.stds[there].min()))
        row = int(np.argmax(found.rewards))
        done += len(poses)
        if best is None or found.rewards[row] > best.reward:
            best = _result(poses, found, row)
    assert best is not None
    return PoseSearchResult(
        **vars(best)
        | {
            "evaluations_until": until,
            "std_there": None if until is None else std_there,
            "evaluations": done,
        }
    )


def _result(poses: np.ndarray, found: Reached, row: int) -> PoseSearchResult:
    return PoseSearchResult(
        pose=np.clip(poses[row], -1.0, 1.0).astype(np.float32),
        reward=float(found.rewards[row]),
        std=float(found.stds[row]),
        distance=float(found.distances[row]),
        collides=not found.feasible[row],
        evaluations_until=None,
        std_there=None,
        evaluations=0,
    )
