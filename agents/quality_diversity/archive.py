"""Configuration of archives, and elites that can be saved as artifacts.

Archives are those of ``ribs`` (https://docs.pyribs.org). This module adds disc-shaped archives
whose cells have about the same size, snapshots of archives, and artifacts of elites. An archive can
be restored from its elites.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from ribs.archives import ArchiveBase, CVTArchive, GridArchive
from scipy.spatial import KDTree

from wmrl.core.config import check_fields
from wmrl.core.numba_cache import guard_numba_cache
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.storage.artifact import ArtifactError, load_artifact, save_artifact
from wmrl.storage.restoring import check_dtypes, restore_config

guard_numba_cache()  # for what ribs has numba compile

_MAX_CELLS = 10**7
_FLOATS = (torch.float32, torch.float64)
_DTYPES = {
    "solutions": _FLOATS,
    "objectives": _FLOATS,
    "measures": _FLOATS,
    "cells": (torch.int64,),
}
_SAMPLES_PER_CELL = 64
_LLOYD_STEPS = 20
_ADJACENT = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True, kw_only=True)
class ArchiveConfig:
    """Configuration of an archive over two measures.

    Attributes:
        shape: ``"disc"`` for measures within a disc, or ``"grid"`` for measures within a rectangle.
        cells: number of cells of a disc. All cells have about the same size.
        dims: number of cells of a grid along each measure.
        low: lower bound of each measure.
        high: upper bound of each measure. A disc extends from ``low`` to ``high`` in both measures.
        qd_score_offset: finite lower bound of the objective. The QD score is the sum of
            (objective − ``qd_score_offset``) over all elites.

    Example:
        >>> import numpy as np
        >>> from wmrl.agents.quality_diversity import ArchiveConfig
        >>> config = ArchiveConfig(shape="grid", dims=(2, 2), qd_score_offset=-1.0)
        >>> archive = config.make(3, seed=0)  # an archive of ribs, for solutions of 3 numbers
        >>> solutions = np.zeros((2, 3), np.float32)
        >>> info = archive.add(solutions, [-0.5, -0.25], [[0.1, 0.1], [0.9, 0.1]])
        >>> len(archive), float(archive.stats.qd_score)
        (2, 1.25)
    """

    shape: Literal["disc", "grid"] = "disc"
    cells: int = 1950
    dims: tuple[int, int] = (100, 100)
    low: tuple[float, float] = (0.0, 0.0)
    high: tuple[float, float] = (1.0, 1.0)
    qd_score_offset: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("dims", "low", "high"):
            value = getattr(self, name)
            if not isinstance(value, Sequence | np.ndarray) or len(value) != 2:
                raise ValueError(
                    f"{name}: expected two numbers (one per measure), got {value!r}; pass a tuple "
                    "of two numbers"
                )
            object.__setattr__(self, name, tuple(value))
        check_choice("shape", self.shape, ("disc", "grid"))
        check_int("cells", self.cells, at_least=1, at_most=_MAX_CELLS)
        for dim in self.dims:
            check_int("dims", dim, at_least=1, at_most=_MAX_CELLS)
        check_int("dims", self.dims[0] * self.dims[1], at_most=_MAX_CELLS)
        for low, high in zip(self.low, self.high, strict=True):
            check_float("low", low)
            check_float("high", high, above=low)
        # An infinite offset would make every QD score infinite.
        check_float("qd_score_offset", self.qd_score_offset)

    @property
    def num_cells(self) -> int:
        """Total number of cells."""
        return self.cells if self.shape == "disc" else self.dims[0] * self.dims[1]

    def centers(self) -> np.ndarray:
        """Returns the centers of the cells in measure space, ``(cells, 2)``, ordered by index."""
        low, high = np.array(self.low), np.array(self.high)
        if self.shape == "disc":
            inside: np.ndarray = low + disc_centers(self.cells) * (high - low)
            return inside
        steps = np.meshgrid(*((np.arange(dim) + 0.5) / dim for dim in self.dims), indexing="ij")
        centers: np.ndarray = low + np.stack(steps, -1).reshape(-1, 2) * (high - low)
        return centers

    def neighbors(self) -> np.ndarray:
        """Returns the indices of the K neighbors of each cell, ``(cells, K)``.

        On a disc, the neighbors are the six nearest cells; if the disc has fewer than seven cells,
        they are all other cells. On a grid, they are the eight adjacent cells. At the border of a
        grid, the index of the cell itself replaces missing neighbors.
        """
        if self.shape == "grid":
            indices = np.pad(np.arange(self.num_cells).reshape(self.dims), 1, constant_values=-1)
            around = [np.roll(indices, step, (0, 1))[1:-1, 1:-1].ravel() for step in _ADJACENT]
            own = np.arange(self.num_cells)[:, None]
            beside = np.stack(around, axis=1)
            return np.where(beside < 0, own, beside)
        centers = (self.centers() - self.low) / (np.array(self.high) - self.low)
        ranks = list(range(1, min(7, self.num_cells) + 1))  # the first is the cell itself
        _, nearest = KDTree(centers).query(centers, ranks)
        cells: np.ndarray = nearest[:, 1:]
        return cells

    def make(
        self,
        solution_dim: int,
        *,
        seed: int,
        elites: "Elites | None" = None,
        **options: Any,
    ) -> ArchiveBase:
        """Creates a ``ribs`` archive with this configuration.

        Args:
            solution_dim: X, dimension of a solution.
            seed: seed of the archive's random number generator.
            elites: elites to add to the archive; None for an empty archive.
            options: further keyword arguments of the ``ribs`` archive class, such as
                ``learning_rate``.

        Raises:
            ValueError: the solutions of the elites do not have dimension ``solution_dim``.
        """
        common: dict[str, Any] = {
            "solution_dim": solution_dim,
            "ranges": list(zip(self.low, self.high, strict=True)),
            "qd_score_offset": self.qd_score_offset,
            "seed": seed,
            "solution_dtype": np.float32,
            "objective_dtype": np.float64,
            "measures_dtype": np.float64,
            **options,
        }
        archive: ArchiveBase
        if self.shape == "disc":
            archive = CVTArchive(centroids=self.centers(), **common)
        else:
            archive = GridArchive(dims=self.dims, **common)
        if elites is not None and len(elites):
            if elites.solutions.shape[1] != solution_dim:
                raise ValueError(
                    f"elites: expected solutions of {solution_dim} numbers, got "
                    f"{elites.solutions.shape[1]}; use elites of the same problem, or change "
                    "solution_dim"
                )
            archive.add(elites.solutions, elites.objectives, elites.measures)
        return archive

    def snapshot(self, archive: ArchiveBase) -> np.ndarray:
        """Returns the objective in each cell of an archive.

        Args:
            archive: archive from :meth:`make`.

        Returns:
            ``(cells,) float32``, NaN for empty cells.
        """
        objectives = np.full(self.num_cells, np.nan, np.float32)
        found = archive.data(["index", "objective"])
        objectives[found["index"]] = found["objective"]
        return objectives


@dataclass(frozen=True, eq=False)
class Elites:
    """The N elites of an archive, ordered by the indices of their cells.

    Attributes:
        solutions: ``(N, X) float32``, solution of each elite, where X is the dimension of a
            solution.
        objectives: ``(N,) float64``, objective of each elite.
        measures: ``(N, 2) float64``, the two measures of each elite.
        cells: ``(N,) int64``, index of each elite's cell.
    """

    solutions: np.ndarray
    objectives: np.ndarray
    measures: np.ndarray
    cells: np.ndarray

    def __len__(self) -> int:
        return len(self.solutions)

    @classmethod
    def from_archive(cls, archive: ArchiveBase) -> "Elites":
        """Returns the elites of an archive."""
        data = archive.data(["solution", "objective", "measures", "index"])
        order = np.argsort(data["index"])
        return cls(
            data["solution"][order],
            data["objective"][order],
            data["measures"][order],
            data["index"][order].astype(np.int64),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """Returns the four arrays as tensors, keyed by the names of the attributes."""
        return {name: torch.from_numpy(value) for name, value in vars(self).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> "Elites":
        """Restores elites from the result of :meth:`tensors`."""
        names = ("solutions", "objectives", "measures", "cells")
        return cls(*(tensors[name].numpy() for name in names))

    def save(
        self,
        path: str | Path,
        archive: ArchiveConfig,
        *,
        provenance: Mapping[str, Any] | None = None,
    ) -> str:
        """Saves the elites and the configuration of their archive as an artifact.

        Args:
            path: folder of the artifact.
            archive: configuration of the archive that the elites are from.
            provenance: JSON-serializable description of the search that found the elites.

        Returns:
            The digest of the artifact.
        """
        return save_artifact(
            path,
            kind="elites",
            class_name="Elites",
            config=asdict(archive),
            tensors=self.tensors(),
            provenance=provenance,
        )


def load_elites(name_or_path: str | Path) -> tuple[Elites, ArchiveConfig]:
    """Loads elites and the configuration of their archive, as saved by :meth:`Elites.save`.

    Args:
        name_or_path: name of a shipped artifact, path of an artifact's folder, or reference
            ``hf://user/name`` to a repository of the Hugging Face hub.

    Returns:
        The elites, and the configuration of the archive that they are from.

    Raises:
        ArtifactError: the artifact is missing or damaged, is of another kind, or has no elites.
    """
    artifact = load_artifact(name_or_path, kind="elites")
    if set(artifact.tensors) != set(_DTYPES):
        raise ArtifactError(
            f"{artifact.path}: expected the arrays {sorted(_DTYPES)}, got "
            f"{sorted(artifact.tensors)}; search for the elites again"
        )
    check_dtypes(artifact, _DTYPES)
    elites = Elites.from_tensors(artifact.tensors)
    if not len(elites):
        raise ArtifactError(
            f"{artifact.path}: expected at least one elite, got an empty archive; search for the "
            "elites again"
        )
    return elites, restore_config(ArchiveConfig, artifact)


@lru_cache(maxsize=8)
def _unit_disc(cells: int) -> np.ndarray:
    samples = _sunflower(_SAMPLES_PER_CELL * cells)
    centers = _sunflower(cells)
    for _ in range(_LLOYD_STEPS):
        _, nearest = KDTree(centers).query(samples)
        sizes = np.maximum(np.bincount(nearest, minlength=cells), 1)
        sums = [np.bincount(nearest, weights=axis, minlength=cells) for axis in samples.T]
        centers = np.stack(sums, axis=1) / sizes[:, None]
    centers.setflags(write=False)
    return centers


def disc_centers(cells: int) -> np.ndarray:
    """Returns the centers of a centroidal Voronoi tessellation of the disc inscribed in [0, 1]².

    The centers are computed by Lloyd's algorithm, which starts from an evenly spread sunflower
    pattern (Vogel 1979). The result is deterministic.

    Args:
        cells: number of cells.

    Returns:
        ``(cells, 2) float64``.
    """
    return 0.5 * _unit_disc(cells) + 0.5


def _sunflower(count: int) -> np.ndarray:
    """Returns points ``(count, 2)``, spread evenly over the unit disc in a sunflower pattern."""
    index = np.arange(count) + 0.5
    radius, turn = np.sqrt(index / count), index * _GOLDEN_ANGLE
    return np.stack((radius * np.cos(turn), radius * np.sin(turn)), axis=1)
