"""A search over codes: the distribution of each code is learned from the best that it gave."""

import math
from dataclasses import dataclass

import numpy as np

from wmrl.agents.policy_search.cma import checked_values
from wmrl.core.seeding import numpy_generator


@dataclass(frozen=True, kw_only=True)
class CodeSearchConfig:
    """How codes are searched.

    Attributes:
        population: P, candidates a generation.
        selected: share of them that the distribution is moved towards.
        learning_rate: α, how far; with 1 it is forgotten at once, which is UMDA.
        smoothing: ε: a code's probability is at least ε / K, so that none is lost for good.
    """

    population: int = 50
    selected: float = 0.2
    learning_rate: float = 0.2
    smoothing: float = 0.02

    def __post_init__(self) -> None:
        if self.population < 2:
            raise ValueError(f"population: expected at least 2, got {self.population}")
        for name in ("selected", "learning_rate"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: expected within (0, 1], got {getattr(self, name)}")
        if not 0.0 <= self.smoothing <= 1.0:
            raise ValueError(f"smoothing: expected within [0, 1], got {self.smoothing}")

    @property
    def parents(self) -> int:
        """How many candidates are selected, at least 1."""
        return max(1, math.floor(self.selected * self.population))


class CodeSearch:
    """Maximises a function of T codes, by the estimation of a distribution.

    Each code has a distribution of its own, which starts uniform. In each generation it moves to
    the share q that each value has among the best candidates: p ← (1 − α) p + α q, and then
    p ← (1 − ε) p + ε / K. Population-Based Incremental Learning (Baluja 1994, CMU-CS-94-163) for
    more than two values, with the truncation of UMDA (Mühlenbein and Paaß 1996, From Recombination
    of Genes to the Estimation of Distributions I, PPSN IV), which it is where α = 1.

    Args:
        tokens: T.
        codes: K.
        config: how.
        seed: root of all that is random.

    Attributes:
        probabilities: ``(T, K) float64``, of each value of each code.
        population: P.

    Raises:
        ValueError: there is no code, or less than two values.
    """

    def __init__(
        self, tokens: int, codes: int, config: CodeSearchConfig | None = None, *, seed: int = 0
    ) -> None:
        for name, given, least in (("tokens", tokens, 1), ("codes", codes, 2)):
            if given < least:
                raise ValueError(f"{name}: expected at least {least}, got {given}")
        self.config = config or CodeSearchConfig()
        self.probabilities = np.full((tokens, codes), 1.0 / codes)
        self.population = self.config.population
        self._seed = seed
        self._generation = 0
        self._asked: np.ndarray | None = None

    def ask(self) -> np.ndarray:
        """The candidates of this generation, ``(P, T) int64`` in 0 … K − 1."""
        generator = numpy_generator(self._seed, "code-search", self._generation)
        tokens, codes = self.probabilities.shape
        drawn = generator.random((self.population, tokens, 1))
        # Where a uniform number falls among the sums; rounding must not lead beyond the last code.
        bounds = self.probabilities.cumsum(axis=1)[:, :-1]  # (T, K − 1)
        found: np.ndarray = (drawn >= bounds).sum(axis=2)
        assert found.max() < codes
        self._asked = found.astype(np.int64)
        return self._asked.copy()

    def tell(self, values: np.ndarray) -> None:
        """Takes what the candidates are worth, ``(P,)``, more being better.

        Raises:
            RuntimeError: nothing was asked since it was last told.
            ValueError: the values are not finite numbers, one a candidate.
        """
        if self._asked is None:
            raise RuntimeError("tell: expected candidates that were asked for; call ask() first")
        values = checked_values(values, self.population)
        best = np.argsort(-values, kind="stable")[: self.config.parents]
        codes = self.probabilities.shape[1]
        shares = (self._asked[best, :, None] == np.arange(codes)).mean(axis=0)  # (T, K)
        rate, smoothing = self.config.learning_rate, self.config.smoothing
        moved = (1.0 - rate) * self.probabilities + rate * shares
        self.probabilities = (1.0 - smoothing) * moved + smoothing / codes
        self._generation += 1
        self._asked = None
