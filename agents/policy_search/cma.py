"""CMA-ES as pure functions on arrays, and as an in-memory search.

The reference is Nikolaus Hansen, The CMA Evolution Strategy: A Tutorial
(https://arxiv.org/abs/1604.00772). Equation numbers in the comments refer to this tutorial. The
state of a search is a few arrays, which can be saved without pickle and restored exactly.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wmrl.core.seeding import numpy_generator
from wmrl.core.validation import check_finite, check_float, check_int, check_seed, check_shape

# Bounds of the step size, which an unbounded objective would otherwise drive to infinity, and an
# optimum at exactly 0 to 0. Candidates then still fit into float32.
_LARGEST_SPREAD, _SMALLEST_SIGMA = 1e30, 1e-250


@dataclass(frozen=True, kw_only=True)
class CMAConstants:
    """Strategy parameters of CMA-ES, as in Table 1 of Hansen's tutorial (arXiv:1604.00772).

    Attributes:
        dimension: n, number of parameters.
        population_size: λ, candidates per generation.
        diagonal: True to adapt only variances, and no covariances (sep-CMA-ES, Ros and Hansen
            2008), for problems with thousands of parameters.
        weights: recombination weights of the candidates, from the best candidate to the worst,
            ``(λ,) float64``. The worse half has negative weights.
        mu: μ, number of positive weights.
        mu_eff: μ_eff, variance-effective selection mass.
        c_sigma: learning rate of the step size's evolution path.
        d_sigma: damping of the step size.
        c_c: learning rate of the covariance's evolution path.
        c_1: learning rate of the covariance's rank-one update.
        c_mu: learning rate of the covariance's rank-μ update.
        chi: approximate expected length E‖N(0, I)‖ of a standard normal vector.
    """

    dimension: int
    population_size: int
    diagonal: bool
    weights: np.ndarray
    mu: int
    mu_eff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi: float

    @property
    def decompose_every(self) -> int:
        """Number of generations between eigendecompositions of the covariance matrix.

        An eigendecomposition costs O(n³) for n parameters. With this number of generations between
        eigendecompositions, their average cost per generation is O(n²).
        """
        n = self.dimension
        return max(1, int(1.0 / (10.0 * n * (self.c_1 + self.c_mu))))


class CMAState(NamedTuple):
    """State of a CMA-ES search; all arrays are float64.

    Attributes:
        mean: ``(n,)``, mean m.
        sigma: ``()``, step size σ.
        path_sigma: ``(n,)``, evolution path p_σ of the step size.
        path_c: ``(n,)``, evolution path p_c of the covariance.
        covariance: ``(n, n)``, covariance matrix C; only its diagonal ``(n,)`` if
            :attr:`CMAConstants.diagonal` is True.
        basis: ``(n, n)``, matrix B whose columns are the eigenvectors of C, from the last
            eigendecomposition; ``(0, 0)`` if :attr:`CMAConstants.diagonal` is True.
        scales: ``(n,)``, square roots of the eigenvalues of C, from the last eigendecomposition.
        generation: ``()``, number of completed generations.
    """

    mean: np.ndarray
    sigma: np.ndarray
    path_sigma: np.ndarray
    path_c: np.ndarray
    covariance: np.ndarray
    basis: np.ndarray
    scales: np.ndarray
    generation: np.ndarray


def cma_constants(dimension: int, population_size: int, *, diagonal: bool = False) -> CMAConstants:
    """Computes the default strategy parameters of CMA-ES.

    Args:
        dimension: n, number of parameters, at least 1.
        population_size: λ, number of candidates per generation, at least 4.
        diagonal: True to adapt only variances, and no covariances.
    """
    n, lam = dimension, population_size
    raw = np.log((lam + 1) / 2) - np.log(np.arange(1, lam + 1))  # eq. 49
    mu = lam // 2
    mu_eff = raw[:mu].sum() ** 2 / (raw[:mu] ** 2).sum()  # eq. 8
    mu_eff_negative = raw[mu:].sum() ** 2 / (raw[mu:] ** 2).sum()
    c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)  # eq. 57
    c_mu = min(1 - c_1, 2 * (0.25 + mu_eff + 1 / mu_eff - 2) / ((n + 2) ** 2 + mu_eff))  # eq. 58
    if diagonal:  # n variances can be learned faster than n²/2 covariances
        faster = (n + 2) / 3
        c_1 = min(1.0, c_1 * faster)
        c_mu = min(1 - c_1, c_mu * faster)
    negative = min(
        1 + c_1 / c_mu,  # eq. 50
        1 + 2 * mu_eff_negative / (mu_eff + 2),  # eq. 51
        (1 - c_1 - c_mu) / (n * c_mu),  # eq. 52
    )
    gains, losses = raw[raw >= 0].sum(), -raw[raw < 0].sum()
    c_sigma = (mu_eff + 2) / (n + mu_eff + 5)  # eq. 55
    return CMAConstants(
        dimension=n,
        population_size=lam,
        diagonal=diagonal,
        weights=np.where(raw >= 0, raw / gains, negative * raw / losses),  # eq. 53
        mu=mu,
        mu_eff=float(mu_eff),
        c_sigma=float(c_sigma),
        d_sigma=float(1 + 2 * max(0.0, np.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma),
        c_c=float((4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n)),  # eq. 56
        c_1=float(c_1),
        c_mu=float(c_mu),
        chi=float(np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))),
    )


def cma_init(mean: np.ndarray, sigma: float, *, diagonal: bool = False) -> CMAState:
    """Creates the initial state of a search.

    Args:
        mean: initial mean, ``(n,)``.
        sigma: initial step size.
        diagonal: True to adapt only variances, and no covariances.
    """
    n = len(mean)
    return CMAState(
        mean=np.array(mean, np.float64),
        sigma=np.array(sigma, np.float64),
        path_sigma=np.zeros(n),
        path_c=np.zeros(n),
        covariance=np.ones(n) if diagonal else np.eye(n),
        basis=np.zeros((0, 0)) if diagonal else np.eye(n),
        scales=np.ones(n),
        generation=np.array(0.0),
    )


def cma_sample(
    state: CMAState, constants: CMAConstants, generator: np.random.Generator
) -> np.ndarray:
    """Draws λ candidates, ``(λ, n) float64``, from the search distribution N(m, σ²C).

    Here m is the mean, σ is the step size, and C is the covariance matrix.
    """
    # eqs. 38–40
    z = generator.standard_normal((constants.population_size, constants.dimension))
    y = z * state.scales
    if not constants.diagonal:
        y = y @ state.basis.T
    candidates: np.ndarray = state.mean + state.sigma * y
    return candidates


def cma_update(
    state: CMAState, candidates: np.ndarray, order: np.ndarray, constants: CMAConstants
) -> CMAState:
    """Updates the state of a search with the ranked candidates of a generation.

    Args:
        state: state from which the candidates were drawn.
        candidates: ``(λ, n) float64``, candidates of the generation.
        order: ``(λ,) int``, indices of the candidates, in order from best to worst.
        constants: strategy parameters.

    Returns:
        The state after the update. Its step size is limited so that the largest standard deviation
        of the search distribution is at most 10³⁰.
    """
    k, n = constants, constants.dimension
    y = (candidates[order] - state.mean) / state.sigma  # (λ, n), ranked
    step = k.weights[: k.mu] @ y[: k.mu]  # eq. 41
    mean = state.mean + state.sigma * step  # eq. 42, c_m = 1

    path_sigma = (1 - k.c_sigma) * state.path_sigma + np.sqrt(
        k.c_sigma * (2 - k.c_sigma) * k.mu_eff
    ) * _whiten(state, step)  # eq. 43
    length = float(np.linalg.norm(path_sigma))
    sigma = state.sigma * np.exp(min(1.0, k.c_sigma / k.d_sigma * (length / k.chi - 1)))  # eq. 44

    generation = state.generation + 1
    settled = length / np.sqrt(1 - (1 - k.c_sigma) ** (2 * generation))
    h_sigma = float(settled < (1.4 + 2 / (n + 1)) * k.chi)
    path_c = (1 - k.c_c) * state.path_c + h_sigma * np.sqrt(
        k.c_c * (2 - k.c_c) * k.mu_eff
    ) * step  # eq. 45

    weights = k.weights.copy()
    bad = weights < 0
    whitened = (_whiten(state, y[bad]) ** 2).sum(1)
    weights[bad] *= n / (whitened + 1e-12)  # eq. 46
    missing = (1 - h_sigma) * k.c_c * (2 - k.c_c)
    decay = 1 + k.c_1 * missing - k.c_1 - k.c_mu * k.weights.sum()
    if k.diagonal:
        rank_one, rank_mu = path_c**2, weights @ y**2
    else:
        rank_one, rank_mu = np.outer(path_c, path_c), (y.T * weights) @ y
    covariance = decay * state.covariance + k.c_1 * rank_one + k.c_mu * rank_mu  # eq. 47

    basis, scales = state.basis, state.scales
    if k.diagonal or generation % k.decompose_every == 0:
        covariance, basis, scales = _decompose(covariance)
    sigma = min(max(sigma, _SMALLEST_SIGMA), _LARGEST_SPREAD / scales.max())
    return CMAState(
        mean=mean,
        sigma=np.asarray(sigma),
        path_sigma=path_sigma,
        path_c=path_c,
        covariance=covariance,
        basis=basis,
        scales=scales,
        generation=np.asarray(generation),
    )


def _whiten(state: CMAState, y: np.ndarray) -> np.ndarray:
    """Computes C^(−1/2) y = B D⁻¹ Bᵀ y for vectors y, ``(…, n)``.

    C is the covariance matrix of a CMA-ES search. The columns of B are the eigenvectors of C, and
    the diagonal matrix D holds the square roots of the eigenvalues of C. Both are from the last
    eigendecomposition.
    """
    if state.basis.size == 0:
        diagonal: np.ndarray = y / state.scales
        return diagonal
    full: np.ndarray = ((y @ state.basis) / state.scales) @ state.basis.T
    return full


def _decompose(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes the eigendecomposition of a covariance matrix C.

    Eigenvalues are clipped to be positive, because rounding may make them negative.

    Args:
        covariance: C, ``(n, n)``, or variances ``(n,)``.

    Returns:
        The symmetrized matrix C; a matrix ``(n, n)`` whose columns are the eigenvectors of C; and
        the square roots ``(n,)`` of the eigenvalues of C. For variances, the three results are the
        clipped variances, an empty array ``(0, 0)``, and the standard deviations.
    """
    if covariance.ndim == 1:
        covariance = np.maximum(covariance, 1e-20)
        return covariance, np.zeros((0, 0)), np.sqrt(covariance)
    covariance = (covariance + covariance.T) / 2
    values, basis = np.linalg.eigh(covariance)
    # Same memory layout as in a restored checkpoint: other layouts round products differently.
    return covariance, np.ascontiguousarray(basis), np.sqrt(np.maximum(values, 1e-20))


class CMASearch:
    """CMA-ES that maximizes a function of n variables (https://arxiv.org/abs/1604.00772).

    The state is kept in memory only, so an interrupted search has to start again. To search for
    controllers, use :class:`~wmrl.agents.CMAES`, which saves checkpoints. The candidates of a
    generation depend only on the arguments below and on the values that :meth:`tell` has received
    so far.

    Args:
        mean: initial mean, ``(n,)``.
        sigma: σ₀, initial step size.
        population_size: λ, candidates per generation; None for the usual default of 4 + ⌊3 ln n⌋.
        seed: root seed.

    Attributes:
        population_size: λ, candidates per generation.

    Raises:
        ValueError: the mean is not a vector of finite numbers, or another argument is out of range.

    Example:
        >>> import numpy as np
        >>> from wmrl.agents import CMASearch
        >>> search = CMASearch(np.zeros(2), sigma=0.5)
        >>> for _ in range(60):
        ...     candidates = search.ask()
        ...     search.tell(-((candidates - 3.0) ** 2).sum(1))
        >>> search.mean.round(3)
        array([3., 3.])
    """

    def __init__(
        self, mean: np.ndarray, *, sigma: float, population_size: int | None = None, seed: int = 0
    ) -> None:
        mean = np.asarray(mean, np.float64)
        if mean.ndim != 1 or not mean.size:
            raise ValueError(
                f"mean: expected shape (n,) with n above 0, got shape {mean.shape}; pass a vector "
                "with one number for each parameter"
            )
        check_finite("mean", mean)
        check_float("sigma", sigma, above=0)
        default = 4 + math.floor(3 * math.log(len(mean)))  # Table 1
        self.population_size = default if population_size is None else population_size
        check_int("population_size", self.population_size, at_least=4)
        self._constants = cma_constants(len(mean), self.population_size)
        self._state = cma_init(mean, sigma)
        self._seed = check_seed("seed", seed)
        self._asked: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """Mean of the search distribution, ``(n,) float64``."""
        return self._state.mean

    @property
    def sigma(self) -> float:
        """Step size σ."""
        return float(self._state.sigma)

    def ask(self) -> np.ndarray:
        """Returns the candidates of the current generation, ``(λ, n) float64``."""
        generator = numpy_generator(self._seed, "cma-search", int(self._state.generation))
        self._asked = cma_sample(self._state, self._constants, generator)
        return self._asked.copy()

    def tell(self, values: np.ndarray) -> None:
        """Updates the search with the values of the candidates that :meth:`ask` returned.

        Args:
            values: ``(λ,)``, value of the function for each candidate; larger is better.

        Raises:
            RuntimeError: :meth:`ask` was not called since the last successful call of :meth:`tell`.
            ValueError: the values are not one finite number per candidate.
            FloatingPointError: the search has diverged. The state of the search is not changed.
        """
        if self._asked is None:
            raise RuntimeError(
                "tell: expected a call of ask() before each call of tell(), got none; call ask() "
                "first"
            )
        values = checked_values(values, self.population_size)
        order = np.argsort(-values, kind="stable")
        state = cma_update(self._state, self._asked, order, self._constants)
        check_state(state)
        self._state = state
        self._asked = None


def checked_values(values: np.ndarray, count: int) -> np.ndarray:
    """Checks the values of candidates and returns them as ``(count,) float64``.

    Args:
        values: value of the objective for each candidate.
        count: number of candidates.

    Raises:
        ValueError: the shape is not ``(count,)``, or a value is not finite.
    """
    values = np.asarray(values, np.float64)
    check_shape("values", values, (count,))
    check_finite("values", values, advice="check the objective for this candidate")
    return values


def check_state(state: CMAState) -> None:
    """Checks that a search has not diverged.

    Raises:
        FloatingPointError: the mean, the step size or the covariance is not finite.
    """
    for name, array in state._asdict().items():
        if not np.isfinite(array).all():
            raise FloatingPointError(
                f"{name}: expected finite numbers, got {np.asarray(array)[~np.isfinite(array)][0]} "
                f"in generation {int(state.generation)}; the objective may be unbounded: bound it, "
                "or lower sigma"
            )
