"""Searches for elites of a planar arm: the best pose for each position of the end of the arm.

The algorithms are MAP-Elites, CMA-ME, CMA-MAE and Data-Driven Encodings (DDE). DDE is MAP-Elites
with an encoding that is learned from the elites. The other algorithms use the emitters of the
package ribs.

Repeat the command after an interruption, or with more --evaluations to extend a finished search.
In both cases, DDE continues the search, and the other algorithms start again.

The folder of the search contains elites/ (an artifact), map.png (a heatmap), map.mp4 (the heatmap
over time) and, with DDE, run/metrics.csv.
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
    num_joints: int = 20
    """Number of joints of the arm."""
    link_lengths: tuple[float, ...] = ()
    """Length of each link; if not given, all have the length 1 / num_joints."""
    obstacles: tuple[tuple[float, float, float], ...] = ()
    """Circles that no link may enter, each as x, y and radius. The base of the arm is at (0, 0)."""
    locks: tuple[tuple[int, float], ...] = ()
    """Locked joints, each as index and angle in radians. Joint 0 is at the base."""
    objective: Literal["std", "variance"] = "std"
    """Objective to maximize: −std of the joint angles for "std", 100 (1 − their variance) for
    "variance"."""
    cells: int | None = None
    """Number of cells of an archive that is a disc, the default shape; 1950 if not given."""
    dims: tuple[int, int] | None = None
    """Number of cells along x and along y, for an archive that is a grid instead of a disc."""
    qd_score_offset: float | None = None
    """Number that is subtracted from each objective in the QD score; if not given, a lower bound of
    the objective over all poses."""
    algorithm: Literal["dde", "dde-published", "iso", "line", "cma-me", "cma-mae"] = "dde"
    """Search algorithm: DDE, DDE with the published settings, MAP-Elites with isotropic or line
    mutation, CMA-ME or CMA-MAE."""
    encoding: Literal["auto", "vae", "vqvae", "fsq", "none"] = "auto"
    """Encoding that DDE learns. "auto" is a VAE for DDE, and no encoding for other algorithms."""
    evaluations: int = 100_000
    """Budget of evaluations, which the last batch may exceed. With DDE, the evaluations of the
    initialization are not counted."""
    initial_coverage: float | None = None
    """Share of the cells that random poses fill at the start; if not given, 0.05, or 0.002 for arms
    of more than 500 joints."""
    init: str | None = None
    """Artifact of elites, such as the folder elites/ of another search. DDE evaluates these elites
    first. The other algorithms do not support this option."""
    seed: int = 0
    """Root seed."""
    device: str = "auto"
    """Device of the encoding: auto, cpu, cuda …"""
    progress: bool = True
    """Show a progress bar."""


def main(args: Args) -> None:
    """Searches for elites, writes them and prints their metrics."""
    from wmrl.agents.quality_diversity.problems import ArmProblem
    from wmrl.agents.quality_diversity.search import EliteSearchConfig, search_elites
    from wmrl.envs.planar_arm.arm import Arm
    from wmrl.scripts.config_file import recorded

    arm = Arm(
        num_joints=args.num_joints,
        link_lengths=args.link_lengths,
        obstacles=args.obstacles,
        locks=args.locks,
    )
    archive = _archive(args, arm)
    coverage = args.initial_coverage
    config = EliteSearchConfig(
        problem=ArmProblem(arm=arm, objective=args.objective, archive=archive),
        algorithm=args.algorithm,
        encoding=None if args.encoding == "none" else args.encoding,
        evaluations=args.evaluations,
        seed=args.seed,
        **({} if coverage is None else {"initial_coverage": coverage}),
    )
    with recorded(args, args.out, command="search-elites"):
        result = search_elites(
            args.out, config, init=args.init, device=args.device, progress=args.progress
        )
    metrics, cells = result.metrics, f"{len(result.elites):,} of {archive.num_cells:,} cells"
    print(f"coverage:     {metrics['coverage']:.1%} ({cells})")
    print(f"mean fitness: {metrics['mean_fitness']:.4f}")
    print(f"best fitness: {metrics['best_fitness']:.4f}")
    print(f"QD score:     {metrics['qd_score']:.2f} (offset {archive.qd_score_offset:.4f})")
    print(f"evaluations:  {metrics['evaluations']:,.0f}")
    print(f"elites:       {args.out / 'elites'} (map.png and map.mp4 are beside it)")


def _archive(args: Args, arm: "Arm") -> "ArchiveConfig":
    from wmrl.agents.quality_diversity.archive import ArchiveConfig
    from wmrl.agents.quality_diversity.problems import objective_lower_bound

    bound = objective_lower_bound(arm, args.objective)
    offset = bound if args.qd_score_offset is None else args.qd_score_offset
    if offset > bound:
        raise ValueError(
            f"qd_score_offset: expected at most {bound:.6g}, the lower bound of the objective, got "
            f"{offset:g}; leave it out to use the bound"
        )
    if args.dims is None:
        cells = 1950 if args.cells is None else args.cells
        return ArchiveConfig(cells=cells, qd_score_offset=offset)
    if args.cells is not None:
        raise ValueError(
            f"cells: expected no value together with dims {args.dims}, got {args.cells}; pass "
            "--cells if the archive is a disc, or --dims if it is a grid"
        )
    return ArchiveConfig(shape="grid", dims=args.dims, qd_score_offset=offset)
