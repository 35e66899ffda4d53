"""Searches for elites among the poses of a planar arm: the best one for each place of its end.

By MAP-Elites that learns an encoding of its elites (DDE), or by the searches of ribs. Killed at any
moment, the same command goes on with DDE and begins anew with the others. The folder ends up with
elites/ (an artifact), map.png and map.mp4, the map and a film of how it filled; DDE's metrics are
in run/metrics.csv.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from wmrl.agents.quality_diversity.archive import ArchiveConfig
    from wmrl.envs.planar_arm.arm import Arm


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl search-elites``."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the search."""
    joints: int = 20
    """Joints of the arm."""
    link_lengths: tuple[float, ...] = ()
    """A length for each link; 1/joints each if none."""
    obstacles: tuple[tuple[float, float, float], ...] = ()
    """Circles that no link may enter: x, y and radius of each, with the base at (0, 0)."""
    locks: tuple[tuple[int, float], ...] = ()
    """Joints that are stuck: index, 0 at the base, and angle in radians of each."""
    objective: Literal["std", "variance"] = "std"
    """What is best: an even bend, as −std of the angles or as 100 (1 − variance)."""
    cells: int | None = None
    """Cells of the disc that the end may be in; 1950 if not given."""
    dims: tuple[int, int] | None = None
    """Cells along x and along y of a grid in place of the disc."""
    worst: float | None = None
    """Objective that the QD score counts from; one that no arm is below if not given."""
    algorithm: Literal["dde", "dde-published", "iso", "line", "cma-me", "cma-mae"] = "dde"
    """DDE, DDE with the settings of its paper, MAP-Elites with isotropic or line mutation, CMA-ME
    or CMA-MAE."""
    encoding: Literal["auto", "vae", "vqvae", "fsq", "none"] = "auto"
    """What DDE learns of its elites; "auto" for a VAE with DDE, and nothing with the others."""
    evaluations: int = 100_000
    """Arms to evaluate, in whole batches; those that DDE begins with come on top."""
    fill: float | None = None
    """Share of the cells that random arms fill at the start; 0.05 if not given, and 0.002 for arms
    of more than 500 joints."""
    init: str | None = None
    """DDE: elites to begin with, the path of an artifact such as another search's elites/."""
    seed: int = 0
    """Root of all randomness."""
    device: str = "auto"
    """Where an encoding learns: auto, cpu, cuda …"""
    progress: bool = True
    """Show a progress bar."""


def main(args: Args) -> None:
    """Searches, writes what it found, and says how good it is."""
    from wmrl.agents.quality_diversity.problems import ArmProblem
    from wmrl.agents.quality_diversity.search import EliteSearchConfig, search_elites
    from wmrl.envs.planar_arm.arm import Arm

    arm = Arm(
        joints=args.joints,
        link_lengths=args.link_lengths,
        obstacles=args.obstacles,
        locks=args.locks,
    )
    archive = _archive(args, arm)
    config = EliteSearchConfig(
        problem=ArmProblem(arm=arm, objective=args.objective, archive=archive),
        algorithm=args.algorithm,
        encoding=args.encoding,
        evaluations=args.evaluations,
        seed=args.seed,
        **({} if args.fill is None else {"fill": args.fill}),
    )
    found = search_elites(
        args.out, config, init=args.init, device=args.device, progress=args.progress
    )
    figures, cells = found.figures, f"{len(found.elites):,} of {archive.cell_count:,} cells"
    print(f"coverage:     {figures['coverage']:.1%} ({cells})")
    print(f"mean fitness: {figures['mean_fitness']:.4f}")
    print(f"best fitness: {figures['best_fitness']:.4f}")
    print(f"QD score:     {figures['qd_score']:.2f}, counted from {archive.worst:.4f}")
    print(f"{figures['evaluations']:,.0f} arms were evaluated")
    print(f"elites: {args.out / 'elites'} (map.png and map.mp4 beside it)")


def _archive(args: Args, arm: "Arm") -> "ArchiveConfig":
    from wmrl.agents.quality_diversity.archive import ArchiveConfig
    from wmrl.agents.quality_diversity.problems import least_objective

    least = least_objective(arm, args.objective)
    worst = least if args.worst is None else args.worst
    if worst > least:
        raise ValueError(
            f"worst: expected at most {least:.6g}, for an arm may be as bad as that, got "
            f"{worst:g}; leave it out"
        )
    if args.dims is None:
        return ArchiveConfig(cells=1950 if args.cells is None else args.cells, worst=worst)
    if args.cells is not None:
        raise ValueError(
            f"cells: expected none beside dims {args.dims}, got {args.cells}; a disc has cells, a "
            "grid has dims"
        )
    return ArchiveConfig(shape="grid", dims=args.dims, worst=worst)
