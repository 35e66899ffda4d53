"""Search for a pose at a target, with any ask-and-tell algorithm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wmrl.core.validation import check_int
from wmrl.envs.planar_arm.reward import ReachEvaluation


class Search(Protocol):
    """Ask-and-tell interface of searches that maximize a function."""

    @property
    def population_size(self) -> int:
        """P, number of candidates per generation."""

    def ask(self) -> np.ndarray:
        """Returns the P candidates of this generation, ``(P, A)`` with A numbers each."""

    def tell(self, values: np.ndarray) -> None:
        """Updates the search with the candidates' values ``(P,)``; larger is better."""


@dataclass(frozen=True, kw_only=True)
class PoseSearchResult:
    """Result of a search for one pose.

    Attributes:
        pose: pose with the highest reward, ``(n,) float32`` for n joints.
        reward: reward of that pose.
        std: std of that pose's angles in radians.
        distance: distance of that pose's end point from the target, in the unit of the link
            lengths.
        collides: True if that pose enters an obstacle.
        evaluations_to_target: number of evaluations up to the first pose that reaches the target;
            None if no pose reaches it.
        std_at_target: minimum std of all poses that reach the target; None if no pose reaches it.
        evaluations: total number of evaluations.
    """

    pose: np.ndarray
    reward: float
    std: float
    distance: float
    collides: bool
    evaluations_to_target: int | None
    std_at_target: float | None
    evaluations: int


def search_pose(
    search: Search,
    decode: Callable[[np.ndarray], np.ndarray],
    objective: Callable[[np.ndarray], ReachEvaluation],
    *,
    evaluations: int = 5000,
    tolerance: float = 0.01,
) -> PoseSearchResult:
    """Runs a search for the best pose, and evaluates a fixed number of poses.

    Args:
        search: search over candidates. Each generation has P candidates of A numbers, ``(P, A)``.
        decode: function that converts candidates ``(P, A)`` to poses ``(P, n)`` of n joints.
        objective: function that evaluates poses.
        evaluations: exact number of evaluations. If this number ends within a generation, only the
            first candidates of that generation are evaluated.
        tolerance: a distance, in the unit of the link lengths. A pose reaches the target if its end
            point is at most this far from the target, and if the pose enters no obstacle.

    Raises:
        ValueError: ``evaluations`` is less than 1.
    """
    check_int("evaluations", evaluations, at_least=1)
    done = 0
    best: PoseSearchResult | None = None
    first: int | None = None
    std_at_target = np.inf
    while done < evaluations:
        poses = decode(search.ask())[: evaluations - done]
        found = objective(poses)
        if len(poses) == search.population_size:
            search.tell(found.rewards)
        at_target = found.on_target(tolerance)
        if at_target.any():
            first = done + int(np.argmax(at_target)) + 1 if first is None else first
            std_at_target = min(std_at_target, float(found.stds[at_target].min()))
        row = int(np.argmax(found.rewards))
        done += len(poses)
        if best is None or found.rewards[row] > best.reward:
            best = _result(poses, found, row)
    assert best is not None
    return PoseSearchResult(
        **vars(best)
        | {
            "evaluations_to_target": first,
            "std_at_target": None if first is None else std_at_target,
            "evaluations": done,
        }
    )


def _result(poses: np.ndarray, found: ReachEvaluation, row: int) -> PoseSearchResult:
    return PoseSearchResult(
        pose=np.clip(poses[row], -1.0, 1.0).astype(np.float32),
        reward=float(found.rewards[row]),
        std=float(found.stds[row]),
        distance=float(found.distances[row]),
        collides=not found.feasible[row],
        evaluations_to_target=None,
        std_at_target=None,
        evaluations=0,
    )
