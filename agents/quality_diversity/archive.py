"""Elites: archives of the best solution of each kind, how they are made, and how they last.

The archives are those of ``ribs`` (https://docs.pyribs.org). Here is what it lacks: equal cells
over a disc, snapshots that an archive can be made from again, and artifacts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from ribs.archives import ArchiveBase, CVTArchive, GridArchive
from scipy.spatial import KDTree

from wmrl.storage.artifact import ArtifactError, load_artifact, restore_config, save_artifact

_SAMPLES_PER_CELL = 64
_LLOYD_STEPS = 20
_TOUCHING = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True, kw_only=True)
class ArchiveConfig:
    """The cells of an archive over two measures.

    Attributes:
        shape: ``"disc"``, for measures in a disc, or ``"grid"``, for a rectangle.
        cells: of a disc, which are all of about the same size.
        dims: of a grid, how many cells along each measure.
        low: least value of each measure; a disc touches all four sides.
        high: greatest value of each measure.
        worst: a finite objective that no solution is below: the QD score is the sum over cells of
            what their elites have more.
    """

    shape: Literal["disc", "grid"] = "disc"
    cells: int = 1950
    dims: tuple[int, int] = (100, 100)
    low: tuple[float, float] = (0.0, 0.0)
    high: tuple[float, float] = (1.0, 1.0)
    worst: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dims", "low", "high"):
            value = getattr(self, name)
            if not isinstance(value, Sequence | np.ndarray) or len(value) != 2:
                raise ValueError(f"{name}: expected two numbers, one a measure, got {value!r}")
            object.__setattr__(self, name, tuple(value))
        if self.shape not in ("disc", "grid"):
            raise ValueError(f"shape: expected 'disc' or 'grid', got {self.shape!r}")
        counts: dict[str, tuple[Any, ...]] = {"cells": (self.cells,), "dims": self.dims}
        for name, values in counts.items():
            if not all(value >= 1 and isinstance(value, Integral) for value in values):
                raise ValueError(
                    f"{name}: expected whole numbers of at least 1, got {getattr(self, name)}"
                )
        if not all(map(math.isfinite, (*self.low, *self.high))):
            raise ValueError(f"low, high: expected finite numbers, got {self.low}, {self.high}")
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"high: expected more than low ({self.low}), got {self.high}")
        if not math.isfinite(self.worst):
            raise ValueError(
                "worst: expected a finite number that no objective is below, for the QD score "
                f"counts from it, got {self.worst}"
            )

    @property
    def cell_count(self) -> int:
        """How many cells there are."""
        return self.cells if self.shape == "disc" else self.dims[0] * self.dims[1]

    def centres(self) -> np.ndarray:
        """The cells' centres in the order of their indices, ``(cells, 2)``."""
        low, high = np.array(self.low), np.array(self.high)
        if self.shape == "disc":
            inside: np.ndarray = low + disc_centres(self.cells) * (high - low)
            return inside
        steps = np.meshgrid(*((np.arange(dim) + 0.5) / dim for dim in self.dims), indexing="ij")
        centres: np.ndarray = low + np.stack(steps, -1).reshape(-1, 2) * (high - low)
        return centres

    def neighbours(self) -> np.ndarray:
        """The cells around each cell, ``(cells, K)``.

        On a disc the six nearest; on a grid the eight that touch it, of which those beyond its
        border are the cell itself.
        """
        if self.shape == "grid":
            indices = np.pad(np.arange(self.cell_count).reshape(self.dims), 1, constant_values=-1)
            around = [np.roll(indices, step, (0, 1))[1:-1, 1:-1].ravel() for step in _TOUCHING]
            own = np.arange(self.cell_count)[:, None]
            beside = np.stack(around, axis=1)
            return np.where(beside < 0, own, beside)
        centres = (self.centres() - self.low) / (np.array(self.high) - self.low)
        ranks = list(range(1, min(7, self.cell_count) + 1))  # the first is the cell itself
        _, nearest = KDTree(centres).query(centres, ranks)
        cells: np.ndarray = nearest[:, 1:]
        return cells

    def make(
        self,
        size: int,
        *,
        seed: int,
        elites: "Elites | None" = None,
        **options: Any,
    ) -> ArchiveBase:
        """An archive for solutions of ``size`` numbers.

        Args:
            size: X.
            seed: of what the archive draws.
            elites: what it begins with.
            options: further ones of the archive's class, such as ``learning_rate``.

        Raises:
            ValueError: the elites are of another size.
        """
        common: dict[str, Any] = {
            "solution_dim": size,
            "ranges": list(zip(self.low, self.high, strict=True)),
            "qd_score_offset": self.worst,
            "seed": seed,
            "solution_dtype": np.float32,
            "objective_dtype": np.float64,
            "measures_dtype": np.float64,
            **options,
        }
        archive: ArchiveBase
        if self.shape == "disc":
            archive = CVTArchive(centroids=self.centres(), **common)
        else:
            archive = GridArchive(dims=self.dims, **common)
        if elites is not None and len(elites):
            if elites.solutions.shape[1] != size:
                raise ValueError(
                    f"elites: expected solutions of {size} numbers, got {elites.solutions.shape[1]}"
                )
            archive.add(elites.solutions, elites.objectives, elites.measures)
        return archive

    def snapshot(self, archive: ArchiveBase) -> np.ndarray:
        """Objectives ``(cells,) float32`` of an archive of :meth:`make`, NaN where it is empty."""
        objectives = np.full(self.cell_count, np.nan, np.float32)
        found = archive.data(["index", "objective"])
        objectives[found["index"]] = found["objective"]
        return objectives


@dataclass(frozen=True, eq=False)
class Elites:
    """What an archive holds at one time: N elites in the order of their cells.

    Attributes:
        solutions: ``(N, X) float32``.
        objectives: ``(N,) float64``.
        measures: ``(N, 2) float64``.
        cells: ``(N,) int64``, indices of the cells that they are in.
    """

    solutions: np.ndarray
    objectives: np.ndarray
    measures: np.ndarray
    cells: np.ndarray

    def __len__(self) -> int:
        return len(self.solutions)

    @classmethod
    def of(cls, archive: ArchiveBase) -> "Elites":
        """The elites of an archive."""
        data = archive.data(["solution", "objective", "measures", "index"])
        order = np.argsort(data["index"])
        return cls(
            data["solution"][order],
            data["objective"][order],
            data["measures"][order],
            data["index"][order].astype(np.int64),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """Arrays by name, as tensors."""
        return {name: torch.from_numpy(value) for name, value in vars(self).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> "Elites":
        """Of what :meth:`tensors` gave."""
        names = ("solutions", "objectives", "measures", "cells")
        return cls(*(tensors[name].numpy() for name in names))

    def save(
        self,
        path: str | Path,
        archive: ArchiveConfig,
        *,
        provenance: Mapping[str, Any] | None = None,
    ) -> str:
        """Writes an artifact that says which archive they are of, and returns its digest."""
        return save_artifact(
            path,
            kind="elites",
            class_name="Elites",
            config=asdict(archive),
            tensors=self.tensors(),
            provenance=provenance,
        )


def load_elites(name_or_path: str | Path) -> tuple[Elites, ArchiveConfig]:
    """Opens elites that :meth:`Elites.save` wrote.

    Raises:
        ArtifactError: they are missing, damaged, empty, or no elites.
    """
    artifact = load_artifact(name_or_path, kind="elites")
    elites = Elites.from_tensors(artifact.tensors)
    if not len(elites):
        raise ArtifactError(f"{artifact.path}: expected elites, found an empty archive")
    return elites, restore_config(ArchiveConfig, artifact)


@lru_cache(maxsize=8)
def _unit_disc(cells: int) -> np.ndarray:
    samples = _sunflower(_SAMPLES_PER_CELL * cells)
    centres = _sunflower(cells)
    for _ in range(_LLOYD_STEPS):
        _, nearest = KDTree(centres).query(samples)
        sizes = np.maximum(np.bincount(nearest, minlength=cells), 1)
        sums = [np.bincount(nearest, weights=axis, minlength=cells) for axis in samples.T]
        centres = np.stack(sums, axis=1) / sizes[:, None]
    centres.setflags(write=False)
    return centres


def disc_centres(cells: int) -> np.ndarray:
    """Centres of a centroidal Voronoi tessellation of the disc in [0, 1]², ``(cells, 2)``.

    Lloyd's iterations from a sunflower's seeds (Vogel 1979), which are spread evenly: the same
    cells each time, with nothing random about them.
    """
    return 0.5 * _unit_disc(cells) + 0.5


def _sunflower(count: int) -> np.ndarray:
    """Evenly spread points of the unit disc, ``(count, 2)``."""
    index = np.arange(count) + 0.5
    radius, turn = np.sqrt(index / count), index * _GOLDEN_ANGLE
    return np.stack((radius * np.cos(turn), radius * np.sin(turn)), axis=1)
