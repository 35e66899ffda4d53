"""Search over discrete codes with an estimation of distribution algorithm."""

import math
from dataclasses import dataclass

import numpy as np

from wmrl.agents.policy_search.cma import checked_values
from wmrl.core.config import check_fields
from wmrl.core.seeding import numpy_generator
from wmrl.core.validation import check_float, check_int


@dataclass(frozen=True, kw_only=True)
class CodeSearchConfig:
    """Configuration of :class:`CodeSearch`.

    Attributes:
        population_size: P, number of candidates per generation.
        selected: share of the candidates that is selected in each generation. The best candidates
            are selected, and the distributions move toward them.
        learning_rate: α, step size of the distributions, above 0 and at most 1. With 1, the
            previous distributions are discarded, as in UMDA.
        smoothing: ε, weight of the uniform distribution. Each of the K codes keeps a probability of
            at least ε / K, so that no code is lost.
    """

    population_size: int = 50
    selected: float = 0.2
    learning_rate: float = 0.2
    smoothing: float = 0.02

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("population_size", self.population_size, at_least=2)
        check_float("selected", self.selected, above=0, at_most=1)
        check_float("learning_rate", self.learning_rate, above=0, at_most=1)
        check_float("smoothing", self.smoothing, at_least=0, at_most=1)

    @property
    def num_parents(self) -> int:
        """Number of selected candidates, at least 1."""
        return max(1, math.floor(self.selected * self.population_size))


class CodeSearch:
    """Estimation of distribution algorithm that maximizes a function of T tokens.

    Each token has a distribution p over the K codes, initially uniform. In each generation, p moves
    toward the frequencies q of the codes among the best candidates: p ← (1 − α) p + α q, and then
    p ← (1 − ε) p + ε / K.

    This is Population-Based Incremental Learning (Baluja 1994, CMU-CS-94-163), generalized from
    bits to K codes. The best candidates are chosen by truncation selection, as in UMDA (Mühlenbein
    and Paaß 1996, From Recombination of Genes to the Estimation of Distributions I, PPSN IV). With
    α = 1, the algorithm is UMDA with smoothing.

    Args:
        num_tokens: T, number of tokens.
        codebook_size: K, number of codes, at least 2.
        config: configuration of the search.
        seed: root seed.

    Attributes:
        probabilities: ``(T, K) float64``, distribution of each token.
        population_size: P, number of candidates per generation.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_tokens: int,
        codebook_size: int,
        config: CodeSearchConfig | None = None,
        *,
        seed: int = 0,
    ) -> None:
        check_int("num_tokens", num_tokens, at_least=1)
        check_int("codebook_size", codebook_size, at_least=2)
        self.config = config or CodeSearchConfig()
        self.probabilities = np.full((num_tokens, codebook_size), 1.0 / codebook_size)
        self.population_size = self.config.population_size
        self._seed = seed
        self._generation = 0
        self._asked: np.ndarray | None = None

    def ask(self) -> np.ndarray:
        """Draws P candidates, ``(P, T) int64``: each consists of T codes from 0 to K − 1."""
        generator = numpy_generator(self._seed, "code-search", self._generation)
        num_tokens, codebook_size = self.probabilities.shape
        drawn = generator.random((self.population_size, num_tokens, 1))
        # Inverse transform sampling; the last bound is left out, as rounding may put it below 1.
        bounds = self.probabilities.cumsum(axis=1)[:, :-1]  # (T, K − 1)
        found: np.ndarray = (drawn >= bounds).sum(axis=2)
        assert found.max() < codebook_size
        self._asked = found.astype(np.int64)
        return self._asked.copy()

    def tell(self, values: np.ndarray) -> None:
        """Updates the distributions with the values of the candidates.

        Args:
            values: values of the candidates, ``(P,)``; larger is better.

        Raises:
            RuntimeError: :meth:`ask` was not called since the last call of :meth:`tell`.
            ValueError: the values are not one finite number per candidate.
        """
        if self._asked is None:
            raise RuntimeError(
                "tell: expected a previous call of ask(), got none; call ask() first"
            )
        values = checked_values(values, self.population_size)
        best = np.argsort(-values, kind="stable")[: self.config.num_parents]
        codebook_size = self.probabilities.shape[1]
        shares = (self._asked[best, :, None] == np.arange(codebook_size)).mean(axis=0)  # (T, K)
        rate, smoothing = self.config.learning_rate, self.config.smoothing
        moved = (1.0 - rate) * self.probabilities + rate * shares
        self.probabilities = (1.0 - smoothing) * moved + smoothing / codebook_size
        self._generation += 1
        self._asked = None
