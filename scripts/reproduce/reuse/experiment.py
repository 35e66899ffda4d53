"""What elites teach, used again: targets that are reached on angles, on latents and in codes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wmrl.agents.policy_search.cma import CMASearch
from wmrl.agents.quality_diversity.archive import Elites, disc_centres
from wmrl.core.seeding import integer_seed
from wmrl.encodings.base import Encoding
from wmrl.encodings.vector_vqvae import VectorVQVAE
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.latent_actions import ArmLatents
from wmrl.envs.planar_arm.oracle import solve_targets
from wmrl.envs.planar_arm.reward import ReachObjective
from wmrl.scripts.reproduce.cached_result import KeptReport
from wmrl.scripts.reproduce.reuse.code_search import CodeSearch, CodeSearchConfig
from wmrl.scripts.reproduce.reuse.pose_search import PoseSearchResult, search_pose

TOLERANCE = 0.01
"""Distance from a target, as a share of the reach, at which an arm is there."""

POSES = "poses.npy"
"""File with the best pose for each target, ``(T, n)``."""


@dataclass(frozen=True, kw_only=True)
class ReuseMethod:
    """A way to search for a pose.

    Attributes:
        title: in tables.
        space: what is searched: angles, latents of a VAE or codes of a VQ-VAE.
        data: what the encoding was learned from. On angles ``"elites"`` to begin with the elite
            that is nearest to the target, None to begin with the straight arm.
        sigma: the CMA-ES's first step size, where 1 is half of the space's width; None in codes.
    """

    title: str
    space: Literal["angles", "vae", "vqvae"]
    data: Literal["elites", "random"] | None = None
    sigma: float | None = None


METHODS = {
    "direct": ReuseMethod(title="CMA-ES on angles, σ₀ 0.3", space="angles", sigma=0.3),
    "direct-0.1": ReuseMethod(title="CMA-ES on angles, σ₀ 0.1", space="angles", sigma=0.1),
    "direct-0.005": ReuseMethod(title="CMA-ES on angles, σ₀ 0.005", space="angles", sigma=0.005),
    "elite": ReuseMethod(
        title="the same from the nearest elite", space="angles", data="elites", sigma=0.005
    ),
    "vae": ReuseMethod(
        title="CMA-ES on a VAE's latents, σ₀ 0.1", space="vae", data="elites", sigma=0.1
    ),
    "vqvae": ReuseMethod(title="a VQ-VAE's codes", space="vqvae", data="elites"),
    "vae-random": ReuseMethod(
        title="latents, of random arms, σ₀ 0.1", space="vae", data="random", sigma=0.1
    ),
    "vqvae-random": ReuseMethod(title="codes, of random arms", space="vqvae", data="random"),
}
"""Searches side by side. All but one begin in the middle: angles with the straight arm, whose std
is 0, so that a search on angles which hardly dares to leave it stays even; hence three first steps.
The one that begins with an elite tells what an encoding adds to what it was learned from."""


def problems(joints: int = 200) -> dict[str, Arm]:
    """The problem of the elites, and changed ones; all arms have a reach of 1.

    - ``plain``: links of one length.
    - ``obstacles``: three circles of radius 0.15, 0.45 from the base, 40°, 160° and 280° from the
      x axis.
    - ``locked``: the joint in the middle is stuck at half a radian.
    - ``lengths``: links get shorter towards the end, the first is three times the last.
    """
    turns = np.deg2rad([40.0, 160.0, 280.0])
    circles = [(0.45 * float(np.cos(turn)), 0.45 * float(np.sin(turn)), 0.15) for turn in turns]
    lengths = np.linspace(1.5, 0.5, joints) / joints
    return {
        "plain": Arm(joints=joints),
        "obstacles": Arm(joints=joints, obstacles=circles),
        "locked": Arm(joints=joints, locks={joints // 2: 0.5}),
        "lengths": Arm(joints=joints, link_lengths=tuple(lengths / lengths.sum())),
    }


def targets_for(arm: Arm, count: int = 18) -> np.ndarray:
    """Targets spread evenly over the disc of the arm's reach, ``(T, 2) float64``.

    Centres of a tessellation of the disc into so many cells, see
    :func:`~wmrl.agents.quality_diversity.archive.disc_centres`, but for those that an obstacle
    covers.
    """
    points = arm.reach * (2.0 * disc_centres(count) - 1.0)
    within: np.ndarray = points[arm.within_reach(points)]
    return within


def search_targets(
    method: ReuseMethod,
    arm: Arm,
    targets: np.ndarray,
    path: Path,
    *,
    encoding: Encoding | None,
    starts: np.ndarray | None = None,
    evaluations: int = 5000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Searches for a pose at each target, once into a folder of its own.

    Args:
        method: how.
        arm: the problem.
        targets: ``(T, 2)``.
        path: the folder; results that are there already are read.
        encoding: of the method's space, learned from its data; None on angles.
        starts: poses ``(T, n)`` that searches on angles begin with, see :func:`nearest_elites`; the
            straight arm if None.
        evaluations: of each search.
        seed: root of all that is random.

    Returns:
        A row for each target: all of a
        :class:`~wmrl.scripts.reproduce.reuse.pose_search.PoseSearchResult` but the pose, and the
        target.

    Raises:
        ValueError: the folder holds results of other settings, or the encoding is of another kind
            than the method, or it begins with elites and there are no ``starts``, or the reverse.
    """
    if (encoding is None) != (method.space == "angles"):
        raise ValueError(f"encoding: expected one for latents and codes only, got {encoding}")
    if (starts is not None) != (method.space == "angles" and method.data == "elites"):
        raise ValueError(
            "starts: expected poses for searches that begin with elites, and for none else"
        )
    asked = {
        "method": asdict(method),
        "arm": asdict(arm),
        "targets": targets.tolist(),
        "evaluations": evaluations,
        "seed": seed,
        "encoding": None if encoding is None else encoding.digest,
        "code_search": asdict(CodeSearchConfig()) if method.space == "vqvae" else None,
    }
    if starts is not None:
        asked["starts"] = sha256(np.asarray(starts, np.float32).tobytes()).hexdigest()
    report = KeptReport(path / "result.json", asked, what="search")
    if report.found is not None:
        rows: list[dict[str, Any]] = report.found["rows"]
        return rows
    if starts is None:
        starts = np.zeros((len(targets), arm.joints))
    found = [
        _search(method, arm, target, encoding, start, evaluations, integer_seed(seed, "reuse", row))
        for row, (target, start) in enumerate(zip(targets, starts, strict=True))
    ]
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / POSES, np.stack([each.pose for each in found]))
    rows = [
        {"target": target.tolist(), **{k: v for k, v in vars(each).items() if k != "pose"}}
        for target, each in zip(targets, found, strict=True)
    ]
    report.keep({"rows": rows})
    return rows


def _search(
    method: ReuseMethod,
    arm: Arm,
    target: np.ndarray,
    encoding: Encoding | None,
    start: np.ndarray,
    evaluations: int,
    seed: int,
) -> PoseSearchResult:
    objective = ReachObjective(arm=arm, target=(float(target[0]), float(target[1])))
    budget: dict[str, Any] = {"evaluations": evaluations, "tolerance": TOLERANCE * arm.reach}
    if encoding is None:
        assert method.sigma is not None
        direct = CMASearch(start.astype(np.float64), sigma=method.sigma, seed=seed)
        return search_pose(direct, lambda poses: poses, objective, **budget)
    latents = ArmLatents(encoding, device="cpu")  # networks this small gain nothing elsewhere
    if isinstance(encoding, VectorVQVAE):
        codes = CodeSearch(encoding.tokens, encoding.code_count, seed=seed)
        return search_pose(codes, latents.poses, objective, **budget)
    assert method.sigma is not None
    search = CMASearch(np.zeros(encoding.latent_size), sigma=method.sigma, seed=seed)

    def decoded(actions: np.ndarray) -> np.ndarray:
        return latents.poses(latents.checked(actions, actions.shape))

    return search_pose(search, decoded, objective, **budget)


def nearest_elites(elites: Elites, arm: Arm, targets: np.ndarray) -> np.ndarray:
    """The elite whose arm ended nearest to each target when it was found: ``(T, n)``.

    Nothing is evaluated for it, so that on a changed problem it may end elsewhere.
    """
    ends = (2.0 * elites.measures - 1.0) * arm.reach
    gaps = np.linalg.norm(ends[None] - targets[:, None], axis=2)
    poses: np.ndarray = elites.solutions[gaps.argmin(1)]
    return poses


def least_stds(arm: Arm, targets: np.ndarray) -> np.ndarray:
    """The oracle's std at each target, ``(T,)``; NaN where it finds none.

    It doesn't see obstacles: with these it is a bound.
    """
    free = Arm(joints=arm.joints, link_lengths=arm.link_lengths, locks=arm.locks)
    found = solve_targets(targets, free, device="cpu")
    return np.where(found.solved, found.std, np.nan)


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Figures of one seed's searches: medians over the targets.

    Returns:
        ``std`` and ``distance`` of the poses of most reward; ``there``, the share of targets that
        were reached without a collision; ``evaluations_until`` and ``std_there``, for which a
        target that was not reached counts as infinite, and which are None if the median is.
    """
    return {
        "std": float(np.median([row["std"] for row in rows])),
        "distance": float(np.median([row["distance"] for row in rows])),
        "there": float(np.mean([row["std_there"] is not None for row in rows])),
        **{name: _median(rows, name) for name in ("evaluations_until", "std_there")},
    }


def _median(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    # Of two in the middle, the upper may be infinite: then so is the median.
    values = sorted(np.inf if row[name] is None else float(row[name]) for row in rows)
    middle = (values[(len(values) - 1) // 2], values[len(values) // 2])
    return None if np.isinf(middle[1]) else float(np.mean(middle))
