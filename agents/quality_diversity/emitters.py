"""The reconstruction emitter of Data-Driven Encodings."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from ribs.archives import ArchiveBase
from ribs.emitters import EmitterBase

from wmrl.encodings.base import Encoding


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """How children differ from their parents.

    x + σ_iso m N(0, I) + σ_line (y − x) N(0, 1), for another elite y (Vassiliades and Mouret 2018,
    https://arxiv.org/abs/1804.03906).

    Attributes:
        iso: σ_iso, for solutions in [−1, 1].
        line: σ_line.
        density: share of a child's numbers that isotropic noise reaches, chosen anew for each (the
            mask m); at least one of them on average.
        frontier: whether parents are elites beside empty cells, as long as there are any.
    """

    iso: float = 0.006
    line: float = 0.2
    density: float = 1.0
    frontier: bool = False

    def __post_init__(self) -> None:
        for name in ("iso", "line"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name}: expected a finite number of at least 0, got {value}")
        if not 0.0 < self.density <= 1.0:
            raise ValueError(f"density: expected a share in (0, 1], got {self.density}")


class ReconstructionEmitter(EmitterBase):
    """Children by reconstruction and by mutation, in a fixed ratio.

    Gaier, Asteroth and Mouret 2020 (https://arxiv.org/abs/2003.04389). A reconstructive child is
    (x + D(E(x))) / 2, halfway to what the encoding makes of its parent. All children are clipped
    to [−1, 1].

    Args:
        archive: where parents come from; must not be empty when it is asked.
        encoding: E and D; None if no child is reconstructed.
        crossover: share of the children that are reconstructions, rounded to whole children.
        mutation: how the others are made.
        neighbours: ``(cells, K)``, indices of the cells around each cell, where the mutation asks
            for a frontier.
        batch_size: children a batch.
        seed: of the noise, and of parents at the frontier; others are drawn by the archive.

    Raises:
        ValueError: an argument is out of range, or the encoding is missing or of another size, or
            neighbours are missing.
    """

    def __init__(
        self,
        archive: ArchiveBase,
        encoding: Encoding | None,
        *,
        crossover: float,
        mutation: Mutation | None = None,
        neighbours: np.ndarray | None = None,
        batch_size: int = 100,
        seed: int | np.random.SeedSequence | None = None,
    ) -> None:
        size, mutation = archive.solution_dim, mutation or Mutation()
        if not 0.0 <= crossover <= 1.0:
            raise ValueError(f"crossover: expected a share from 0 to 1, got {crossover}")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        if crossover and encoding is None:
            raise ValueError(f"encoding: expected one for a crossover of {crossover}, got None")
        if encoding is not None and encoding.size != size:
            raise ValueError(
                f"encoding: expected one of vectors of {size} numbers, as the archive's solutions, "
                f"got {encoding.size}"
            )
        if mutation.frontier and neighbours is None:
            raise ValueError("neighbours: expected the archive's for a mutation at the frontier")
        limit = np.ones(size)
        super().__init__(
            archive, solution_dim=size, bounds=None, lower_bounds=-limit, upper_bounds=limit
        )
        self.encoding, self.crossover, self.mutation = encoding, crossover, mutation
        self.batch_size = batch_size
        self._neighbours = neighbours
        self._rng = np.random.default_rng(seed)

    def ask(self) -> np.ndarray:
        """Children ``(batch_size, X)``, reconstructions first.

        Raises:
            ValueError: the archive is empty.
        """
        if self.archive.empty:
            raise ValueError(
                "archive: expected elites to vary, found none; add evaluated solutions first"
            )
        parents = self.archive.sample_elites(self.batch_size)["solution"]
        count = round(self.crossover * self.batch_size)
        children = np.empty_like(parents)
        if count:
            children[:count] = 0.5 * (parents[:count] + self._reconstruct(parents[:count]))
        if count < len(parents):
            if self.mutation.frontier:
                parents[count:] = self._at_the_frontier(len(parents) - count)
            children[count:] = self._mutate(parents[count:])
        return np.clip(children, self.lower_bounds, self.upper_bounds)

    @torch.inference_mode()
    def _reconstruct(self, parents: np.ndarray) -> np.ndarray:
        assert self.encoding is not None
        # The archives of ribs are float64 unless they are told otherwise.
        vectors = torch.from_numpy(parents.astype(np.float32, copy=False)).to(self.encoding.device)
        return self.encoding.reconstruct(vectors).cpu().numpy().astype(parents.dtype, copy=False)

    def _at_the_frontier(self, count: int) -> np.ndarray:
        """Elites ``(count, X)`` beside empty cells; any, where there are none."""
        assert self._neighbours is not None
        found = self.archive.data(["index", "solution"])
        occupied = np.zeros(len(self._neighbours), bool)
        occupied[found["index"]] = True
        beside = np.flatnonzero(~occupied[self._neighbours[found["index"]]].all(1))
        rows = beside if len(beside) else np.arange(len(found["index"]))
        chosen: np.ndarray = found["solution"][self._rng.choice(rows, count)]
        return chosen

    def _mutate(self, parents: np.ndarray) -> np.ndarray:
        mutation, real = self.mutation, parents.dtype.type
        noise = self._rng.standard_normal(parents.shape, dtype=parents.dtype)
        if mutation.density < 1.0:
            share = max(mutation.density, 1.0 / parents.shape[1])
            noise *= self._rng.random(parents.shape, dtype=parents.dtype) < share
        children: np.ndarray = parents + real(mutation.iso) * noise
        if mutation.line:
            others = self.archive.sample_elites(len(parents))["solution"]
            steps = self._rng.standard_normal((len(parents), 1), dtype=parents.dtype)
            children += real(mutation.line) * steps * (others - parents)
        return children
