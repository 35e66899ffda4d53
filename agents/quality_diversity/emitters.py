"""Emitter of Data-Driven Encodings, which reconstructs and mutates elites."""

from dataclasses import dataclass

import numpy as np
import torch
from ribs.archives import ArchiveBase
from ribs.emitters import EmitterBase

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int
from wmrl.encodings.base import Encoding


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """Isotropic and line mutation of solutions in [−1, 1].

    A parent x becomes x + σ_iso m N(0, I) + σ_line (y − x) N(0, 1), where y is a random elite. This
    is the mutation of Vassiliades and Mouret 2018 (https://arxiv.org/abs/1804.03906) with an
    additional binary mask m.

    Attributes:
        iso_sigma: σ_iso, scale of the isotropic mutation.
        line_sigma: σ_line, scale of the line mutation.
        density: expected share of ones in the mask m. A new mask is drawn for each solution. A
            share below 1/X is raised to 1/X, where X is the dimension of a solution.
        frontier: True to select parents only from elites next to empty cells. If there are no such
            elites, parents are selected from all elites.
    """

    iso_sigma: float = 0.006
    line_sigma: float = 0.2
    density: float = 1.0
    frontier: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        check_float("iso_sigma", self.iso_sigma, at_least=0)
        check_float("line_sigma", self.line_sigma, at_least=0)
        check_float("density", self.density, above=0, at_most=1)


class ReconstructionEmitter(EmitterBase):
    """Emitter of reconstructions and mutations of elites in a fixed ratio.

    The reconstruction of a parent x is (x + D(E(x))) / 2, with the encoder E and the decoder D
    (Gaier, Asteroth and Mouret 2020, https://arxiv.org/abs/2003.04389). All solutions are clipped
    to [−1, 1].

    Args:
        archive: archive from which parents are selected.
        encoding: encoding with the encoder E and the decoder D; may be None if ``crossover`` is 0.
        crossover: share of reconstructions in a batch, from 0 to 1. All other solutions are
            mutations.
        mutation: mutation operator; ``Mutation()`` if None.
        neighbors: ``(cells, K)``, indices of the K cells around each cell of the archive, as
            returned by :meth:`~wmrl.agents.quality_diversity.archive.ArchiveConfig.neighbors`;
            required if ``mutation.frontier`` is True.
        batch_size: number of solutions per batch.
        seed: seed of the mutation noise; None for a random seed. If ``mutation.frontier`` is True,
            this seed also determines the parents of mutations. All other random elites, such as the
            parents of reconstructions, are drawn with the archive's own random generator.

    Raises:
        ValueError: an argument is out of range, the encoding is missing or has a wrong
            ``input_dim``, or the neighbors are missing.

    Example:
        >>> from wmrl.agents.quality_diversity import ArmProblem, Mutation, ReconstructionEmitter
        >>> from wmrl.agents.quality_diversity import fill_archive
        >>> from wmrl.encodings import VectorVAE, VectorVAEConfig
        >>> from wmrl.envs import Arm
        >>> problem = ArmProblem(arm=Arm(num_joints=6))
        >>> archive = problem.archive.make(6, seed=0)
        >>> fill_archive(archive, problem, initial_coverage=0.02, batch_size=50, seed=0)
        50
        >>> encoding = VectorVAE(VectorVAEConfig(input_dim=6, latent_dim=3)).eval()
        >>> emitter = ReconstructionEmitter(archive, encoding, crossover=0.5, seed=0)
        >>> solutions = emitter.ask()
        >>> solutions.shape
        (100, 6)
        >>> objective, measures = problem.evaluate(solutions)
        >>> info = archive.add(solutions, objective, measures)
    """

    def __init__(
        self,
        archive: ArchiveBase,
        encoding: Encoding | None,
        *,
        crossover: float,
        mutation: Mutation | None = None,
        neighbors: np.ndarray | None = None,
        batch_size: int = 100,
        seed: int | np.random.SeedSequence | None = None,
    ) -> None:
        solution_dim, mutation = archive.solution_dim, mutation or Mutation()
        check_float("crossover", crossover, at_least=0, at_most=1)
        check_int("batch_size", batch_size, at_least=1)
        if crossover and encoding is None:
            raise ValueError(
                "encoding: expected an Encoding if crossover is above 0, got None with crossover "
                f"{crossover}; pass an encoding, or set crossover to 0"
            )
        if encoding is not None and encoding.input_dim != solution_dim:
            raise ValueError(
                f"encoding: expected input_dim {solution_dim} (the archive's solution_dim), got "
                f"{encoding.input_dim}"
            )
        if mutation.frontier and neighbors is None:
            raise ValueError(
                "neighbors: expected an array if mutation.frontier is True, got None; pass the "
                "result of ArchiveConfig.neighbors()"
            )
        limit = np.ones(solution_dim)
        super().__init__(
            archive,
            solution_dim=solution_dim,
            bounds=None,
            lower_bounds=-limit,
            upper_bounds=limit,
        )
        self.encoding, self.crossover, self.mutation = encoding, crossover, mutation
        self.batch_size = batch_size
        self._neighbors = neighbors
        self._rng = np.random.default_rng(seed)

    def ask(self) -> np.ndarray:
        """Returns new solutions ``(batch_size, X)``: first reconstructions, then mutations.

        Raises:
            ValueError: the archive is empty.
        """
        if self.archive.empty:
            raise ValueError(
                "archive: expected at least one elite, got none; add evaluated solutions first"
            )
        parents = self.archive.sample_elites(self.batch_size)["solution"]
        count = round(self.crossover * self.batch_size)
        solutions = np.empty_like(parents)
        if count:
            solutions[:count] = 0.5 * (parents[:count] + self._reconstruct(parents[:count]))
        if count < len(parents):
            if self.mutation.frontier:
                parents[count:] = self._frontier_elites(len(parents) - count)
            solutions[count:] = self._mutate(parents[count:])
        return np.clip(solutions, self.lower_bounds, self.upper_bounds)

    @torch.inference_mode()
    def _reconstruct(self, parents: np.ndarray) -> np.ndarray:
        assert self.encoding is not None
        # Archives of ribs are float64 by default.
        vectors = torch.from_numpy(parents.astype(np.float32, copy=False)).to(self.encoding.device)
        return self.encoding.reconstruct(vectors).cpu().numpy().astype(parents.dtype, copy=False)

    def _frontier_elites(self, count: int) -> np.ndarray:
        """Draws random elites that are next to empty cells, and returns their solutions.

        If no elite is next to an empty cell, the elites are drawn from all elites.

        Args:
            count: number of elites to draw, with replacement.

        Returns:
            Solutions of the elites, ``(count, X)``.
        """
        assert self._neighbors is not None
        elites = self.archive.data(["index", "solution"])
        occupied = np.zeros(len(self._neighbors), bool)
        occupied[elites["index"]] = True
        frontier = np.flatnonzero(~occupied[self._neighbors[elites["index"]]].all(1))
        rows = frontier if len(frontier) else np.arange(len(elites["index"]))
        chosen: np.ndarray = elites["solution"][self._rng.choice(rows, count)]
        return chosen

    def _mutate(self, parents: np.ndarray) -> np.ndarray:
        mutation, real = self.mutation, parents.dtype.type
        noise = self._rng.standard_normal(parents.shape, dtype=parents.dtype)
        if mutation.density < 1.0:
            density = max(mutation.density, 1.0 / parents.shape[1])
            noise *= self._rng.random(parents.shape, dtype=parents.dtype) < density
        solutions: np.ndarray = parents + real(mutation.iso_sigma) * noise
        if mutation.line_sigma:
            others = self.archive.sample_elites(len(parents))["solution"]
            steps = self._rng.standard_normal((len(parents), 1), dtype=parents.dtype)
            solutions += real(mutation.line_sigma) * steps * (others - parents)
        return solutions
