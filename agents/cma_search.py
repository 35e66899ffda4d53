"""CMA-ES as something to ask for candidates and to tell their values."""

import math

import numpy as np

from wmrl.agents.cma_update import cma_constants, cma_sample, cma_start, cma_update
from wmrl.seeding import numpy_generator


class CMASearch:
    """Maximises a function of n numbers (https://arxiv.org/abs/1604.00772), without a run's folder.

    For short searches that are made anew if they are interrupted; :class:`~wmrl.agents.CMAES` keeps
    its state. Generations are functions of the seed and their number.

    Args:
        mean: ``(n,)``, where it begins.
        sigma: σ₀, the first step size.
        population: λ, candidates a generation; 4 + ⌊3 ln n⌋ if None, the tutorial's default.
        seed: root of all that is random.

    Attributes:
        population: λ.

    Raises:
        ValueError: an argument is not as described.
    """

    def __init__(
        self, mean: np.ndarray, *, sigma: float, population: int | None = None, seed: int = 0
    ) -> None:
        mean = np.asarray(mean, np.float64)
        if mean.ndim != 1 or not mean.size or not np.isfinite(mean).all():
            raise ValueError(f"mean: expected finite numbers of shape (n,), got {mean.shape}")
        if not 0.0 < sigma < math.inf:
            raise ValueError(f"sigma: expected a finite number above 0, got {sigma}")
        default = 4 + math.floor(3 * math.log(len(mean)))  # Table 1
        self.population = default if population is None else population
        if self.population < 4:
            raise ValueError(f"population: expected at least 4, got {self.population}")
        self._constants = cma_constants(len(mean), self.population)
        self._state = cma_start(mean, sigma)
        self._seed = seed
        self._asked: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """The distribution's mean, ``(n,) float64``."""
        return self._state.mean

    @property
    def sigma(self) -> float:
        """The step size."""
        return float(self._state.sigma)

    def ask(self) -> np.ndarray:
        """The candidates of this generation, ``(λ, n) float64``."""
        generator = numpy_generator(self._seed, "cma-search", int(self._state.generation))
        self._asked = cma_sample(self._state, self._constants, generator)
        return self._asked.copy()

    def tell(self, values: np.ndarray) -> None:
        """Takes what the candidates are worth, ``(λ,)``, more being better.

        Raises:
            RuntimeError: nothing was asked since it was last told.
            ValueError: the values are not finite numbers, one a candidate.
        """
        if self._asked is None:
            raise RuntimeError("tell: expected candidates that were asked for; call ask() first")
        values = checked_values(values, self.population)
        order = np.argsort(-values, kind="stable")
        self._state = cma_update(self._state, self._asked, order, self._constants)
        self._asked = None


def checked_values(values: np.ndarray, count: int) -> np.ndarray:
    """Values of candidates as ``(count,) float64``.

    Raises:
        ValueError: there are others, or one is not finite.
    """
    values = np.asarray(values, np.float64)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(
            f"values: expected finite numbers of shape ({count},), one a candidate, got shape "
            f"{values.shape} with {np.count_nonzero(~np.isfinite(values))} that are not finite"
        )
    return values
