"""Search for poses with which an arm reaches targets.

The searches are over the joint angles, the latents of a VAE, or the codes of a VQ-VAE.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wmrl.agents.policy_search.cma import CMASearch
from wmrl.agents.quality_diversity.archive import Elites, disc_centers
from wmrl.core.hashing import array_digest
from wmrl.core.seeding import integer_seed
from wmrl.encodings.base import Encoding
from wmrl.encodings.vector_vqvae import VectorVQVAE
from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.latent_actions import ArmLatents
from wmrl.envs.planar_arm.oracle import solve_targets
from wmrl.envs.planar_arm.reward import ReachObjective
from wmrl.scripts.reproduce.cached_result import CachedResult
from wmrl.scripts.reproduce.reuse.code_search import CodeSearch, CodeSearchConfig
from wmrl.scripts.reproduce.reuse.pose_search import PoseSearchResult, search_pose
from wmrl.training.progress import progress_bar

TOLERANCE = 0.01
"""Distance from a target within which a pose reaches the target, as a share of the arm's reach."""

POSES = "poses.npy"
"""Name of the file with the best pose of n joint angles for each of T targets, ``(T, n)``."""


@dataclass(frozen=True, kw_only=True)
class ReuseMethod:
    """Method of searching for a pose.

    Attributes:
        title: title in tables.
        space: ``"angles"`` to search the joint angles, ``"vae"`` to search the latents of a VAE, or
            ``"vqvae"`` to search the codes of a VQ-VAE.
        data: training data of the VAE or VQ-VAE. For a search over angles, ``data`` selects the
            initial pose instead: ``"elites"`` for the elite nearest to the target, or None for the
            straight arm.
        sigma: initial step size of CMA-ES. Angles and latents are scaled to [−1, 1]. None for a
            search over codes, which does not use CMA-ES.
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
        title="CMA-ES on angles, σ₀ 0.005, from the nearest elite",
        space="angles",
        data="elites",
        sigma=0.005,
    ),
    "vae": ReuseMethod(
        title="CMA-ES on latents of a VAE, σ₀ 0.1", space="vae", data="elites", sigma=0.1
    ),
    "vqvae": ReuseMethod(title="codes of a VQ-VAE", space="vqvae", data="elites"),
    "vae-random": ReuseMethod(
        title="CMA-ES on latents, random poses, σ₀ 0.1", space="vae", data="random", sigma=0.1
    ),
    "vqvae-random": ReuseMethod(title="codes, random poses", space="vqvae", data="random"),
}
"""Search methods by name. All except ``"elite"`` start from the center of their space. For angles,
the center is the straight arm, whose std is 0. Smaller initial steps keep the angles more equal;
three initial step sizes are therefore compared. ``"elite"`` starts from the elite nearest to the
target. This method uses elites without an encoding. A comparison with this method shows the effect
of an encoding."""


def problems(num_joints: int = 200) -> dict[str, Arm]:
    """Returns a dictionary of arms, keyed by the name of the problem.

    All arms have a reach of 1. The problems are:

    - ``plain``: the problem for which elites were found, with links of equal length.
    - ``obstacles``: three circles of radius 0.15, whose centers are at a distance of 0.45 from the
      base and at angles of 40°, 160° and 280° to the x axis.
    - ``locked``: the joint in the middle is locked at half a radian.
    - ``lengths``: links of decreasing length; the first is three times as long as the last.
    """
    turns = np.deg2rad([40.0, 160.0, 280.0])
    circles = [(0.45 * float(np.cos(turn)), 0.45 * float(np.sin(turn)), 0.15) for turn in turns]
    lengths = np.linspace(1.5, 0.5, num_joints) / num_joints
    return {
        "plain": Arm(num_joints=num_joints),
        "obstacles": Arm(num_joints=num_joints, obstacles=circles),
        "locked": Arm(num_joints=num_joints, locks={num_joints // 2: 0.5}),
        "lengths": Arm(num_joints=num_joints, link_lengths=tuple(lengths / lengths.sum())),
    }


def targets_for(arm: Arm, count: int = 18) -> np.ndarray:
    """Returns targets spread evenly over the reach of an arm, without targets inside obstacles.

    Args:
        arm: planar arm.
        count: number of targets before targets inside obstacles are removed.

    Returns:
        x and y of each of T targets, ``(T, 2) float64``. The targets are placed as in
        :func:`~wmrl.agents.quality_diversity.archive.disc_centers`.
    """
    points = arm.reach * (2.0 * disc_centers(count) - 1.0)
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
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Searches for a pose at each target, or reads the results if the folder contains them.

    Args:
        method: search method.
        arm: planar arm.
        targets: x and y of each of T targets, ``(T, 2)``.
        path: path of the folder.
        encoding: encoding of the kind ``method.space``, trained on ``method.data``. None if the
            method searches the joint angles.
        starts: result of :func:`nearest_elites`, if the method starts from elites; None for all
            other methods.
        evaluations: number of evaluations in each search.
        seed: root seed.
        progress: True to show a progress bar.

    Returns:
        One row for each target, with ``target`` and all fields of
        :class:`~wmrl.scripts.reproduce.reuse.pose_search.PoseSearchResult` except ``pose``.

    Raises:
        ValueError: the folder contains results with other settings, or ``encoding`` or ``starts``
            does not fit the method.
    """
    if encoding is None and method.space != "angles":
        raise ValueError(
            f"encoding: expected an encoding for the method {method.title!r}, got None; pass one "
            "from train_encoding"
        )
    if encoding is not None and method.space == "angles":
        raise ValueError(
            f"encoding: expected None for the method {method.title!r}, got "
            f"{type(encoding).__name__}; a search over angles has no encoding"
        )
    from_elites = method.space == "angles" and method.data == "elites"
    if starts is None and from_elites:
        raise ValueError(
            f"starts: expected poses for the method {method.title!r}, got None; pass the result of "
            "nearest_elites"
        )
    if starts is not None and not from_elites:
        raise ValueError(
            f"starts: expected None for the method {method.title!r}, got poses; this method does "
            "not start from elites"
        )
    key = {
        "method": asdict(method),
        "arm": asdict(arm),
        "targets": targets.tolist(),
        "evaluations": evaluations,
        "seed": seed,
        "encoding": None if encoding is None else encoding.digest,
        "code_search": asdict(CodeSearchConfig()) if method.space == "vqvae" else None,
    }
    if starts is not None:
        key["starts"] = array_digest(np.asarray(starts, np.float32))
    cached = CachedResult(path / "result.json", key, name="search")
    if cached.value is not None:
        rows: list[dict[str, Any]] = cached.value["rows"]
        return rows
    if starts is None:
        starts = np.zeros((len(targets), arm.num_joints))
    found = []
    with progress_bar("poses", total=len(targets), show=progress, unit="targets") as advance:
        for row, (target, start) in enumerate(zip(targets, starts, strict=True)):
            own = integer_seed(seed, "reuse", row)
            found.append(_search(method, arm, target, encoding, start, evaluations, own))
            advance(row + 1, f"distance {found[-1].distance:.4f}, std {found[-1].std:.4f}")
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / POSES, np.stack([each.pose for each in found]))
    rows = [
        {"target": target.tolist(), **{k: v for k, v in vars(each).items() if k != "pose"}}
        for target, each in zip(targets, found, strict=True)
    ]
    cached.store({"rows": rows})
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
    latents = ArmLatents(encoding, device="cpu")  # GPUs do not speed up networks this small
    if isinstance(encoding, VectorVQVAE):
        codes = CodeSearch(encoding.num_tokens, encoding.codebook_size, seed=seed)
        return search_pose(codes, latents.poses, objective, **budget)
    assert method.sigma is not None
    search = CMASearch(np.zeros(encoding.latent_dim), sigma=method.sigma, seed=seed)

    def decoded(actions: np.ndarray) -> np.ndarray:
        return latents.poses(latents.check_actions(actions, actions.shape))

    return search_pose(search, decoded, objective, **budget)


def nearest_elites(elites: Elites, arm: Arm, targets: np.ndarray) -> np.ndarray:
    """Finds, for each target, the elite whose end point is nearest to that target.

    The end points are those of the problem for which the elites were found. On a changed problem,
    the same pose may end elsewhere.

    Returns:
        Poses of the elites found, ``(T, n) float32`` for T targets and n joints.
    """
    ends = (2.0 * elites.measures - 1.0) * arm.reach
    gaps = np.linalg.norm(ends[None] - targets[:, None], axis=2)
    poses: np.ndarray = elites.solutions[gaps.argmin(1)]
    return poses


def oracle_stds_of_targets(arm: Arm, targets: np.ndarray) -> np.ndarray:
    """Returns the smallest std of the joint angles that an oracle finds at each target.

    The oracle uses gradients of the arm's equations. It ignores obstacles. For an arm with
    obstacles, the stds are therefore lower bounds.

    Returns:
        Stds in radians, ``(T,) float64``; NaN for targets at which no pose was found.
    """
    free = Arm(num_joints=arm.num_joints, link_lengths=arm.link_lengths, locks=arm.locks)
    found = solve_targets(targets, free, device="cpu")
    return np.where(found.solved, found.std, np.nan)


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Summarizes the searches of one method, with one seed, at all targets of a problem.

    Args:
        rows: result of :func:`search_targets`.

    Returns:
        A dictionary of summaries:

        - ``std`` and ``distance``: std of the joint angles in radians, and distance from the
          target. Both are medians over the targets, for the pose with the highest reward at each
          target.
        - ``reached``: share of the targets that were reached without a collision.
        - ``evaluations_to_target`` and ``std_at_target``: medians over the targets. For a target
          that was not reached, the value counts as infinite. A median is None if it is infinite.
    """
    return {
        "std": float(np.median([row["std"] for row in rows])),
        "distance": float(np.median([row["distance"] for row in rows])),
        "reached": float(np.mean([row["std_at_target"] is not None for row in rows])),
        **{name: _median(rows, name) for name in ("evaluations_to_target", "std_at_target")},
    }


def _median(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    # If the upper of the two middle values is infinite, so is the median.
    values = sorted(np.inf if row[name] is None else float(row[name]) for row in rows)
    middle = (values[(len(values) - 1) // 2], values[len(values) // 2])
    return None if np.isinf(middle[1]) else float(np.mean(middle))
