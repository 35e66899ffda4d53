"""The reconstruction emitter of Data-Driven Encodings."""

import math

import numpy as np
import torch
from ribs.archives import ArchiveBase
from ribs.emitters import EmitterBase

from wmrl.encoding import Encoding


class ReconstructionEmitter(EmitterBase):
    """Children by reconstruction and by line mutation, in a fixed ratio.

    Gaier, Asteroth and Mouret 2020 (https://arxiv.org/abs/2003.04389). A reconstructive child is
    (x + D(E(x))) / 2, halfway to what the encoding makes of its parent; the others are
    x + σ_iso N(0, I) + σ_line (y − x) N(0, 1), for another elite y (Vassiliades and Mouret 2018,
    https://arxiv.org/abs/1804.03906). All are clipped to the bounds.

    Args:
        archive: where parents come from; must not be empty when it is asked.
        encoding: E and D; None if no child is reconstructed.
        crossover: share of the children that are reconstructions, rounded to whole children.
        iso_sigma: σ_iso.
        line_sigma: σ_line.
        bound: solutions are in ±bound.
        batch_size: children a batch.
        seed: of the noise; parents are drawn by the archive.

    Raises:
        ValueError: an argument is out of range, or the encoding is missing or of another size.
    """

    def __init__(
        self,
        archive: ArchiveBase,
        encoding: Encoding | None,
        *,
        crossover: float,
        iso_sigma: float = 0.006,
        line_sigma: float = 0.2,
        bound: float = 1.0,
        batch_size: int = 100,
        seed: int | np.random.SeedSequence | None = None,
    ) -> None:
        size = archive.solution_dim
        if not 0.0 <= crossover <= 1.0:
            raise ValueError(f"crossover: expected a share from 0 to 1, got {crossover}")
        for name, value in (("iso_sigma", iso_sigma), ("line_sigma", line_sigma)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name}: expected a finite number of at least 0, got {value}")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        if crossover and encoding is None:
            raise ValueError(f"encoding: expected one for a crossover of {crossover}, got None")
        if encoding is not None and encoding.size != size:
            raise ValueError(
                f"encoding: expected one of vectors of {size} numbers, as the archive's solutions, "
                f"got {encoding.size}"
            )
        limit = np.full(size, bound)
        super().__init__(
            archive, solution_dim=size, bounds=None, lower_bounds=-limit, upper_bounds=limit
        )
        self.encoding, self.crossover = encoding, crossover
        self.iso_sigma, self.line_sigma, self.batch_size = iso_sigma, line_sigma, batch_size
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
            children[count:] = self._mutate(parents[count:])
        return np.clip(children, self.lower_bounds, self.upper_bounds)

    @torch.inference_mode()
    def _reconstruct(self, parents: np.ndarray) -> np.ndarray:
        assert self.encoding is not None
        vectors = torch.from_numpy(parents).to(self.encoding.device)
        return self.encoding.reconstruct(vectors).cpu().numpy()

    def _mutate(self, parents: np.ndarray) -> np.ndarray:
        noise = self._rng.standard_normal(parents.shape, dtype=parents.dtype)
        children: np.ndarray = parents + parents.dtype.type(self.iso_sigma) * noise
        if self.line_sigma:
            others = self.archive.sample_elites(len(parents))["solution"]
            steps = self._rng.standard_normal((len(parents), 1), dtype=parents.dtype)
            children += parents.dtype.type(self.line_sigma) * steps * (others - parents)
        return children
