import warnings

import numpy as np
import pytest

from wmrl.agents.policy_search.cma import CMAState, cma_constants, cma_init, cma_sample, cma_update


def sphere(x: np.ndarray) -> float:
    return float((x**2).sum())


def ellipsoid(x: np.ndarray) -> float:
    return float((10 ** (6 * np.arange(len(x)) / (len(x) - 1)) * x**2).sum())


def rosenbrock(x: np.ndarray) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def reference(mean, sigma: float, population_size: int, **options):
    """The package ``cma``, by the author of the tutorial."""
    settings = {
        "popsize": population_size,
        "seed": 1,
        "verbose": -9,
        "verb_log": 0,
        "signals_filename": 0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cma  # not before it is needed: it takes seconds

        return cma.CMAEvolutionStrategy(mean, sigma, settings | options)


def evaluations(function, dimension: int, *, diagonal: bool = False, seed: int = 0) -> int:
    """How many it takes to reach 1e-9."""
    constants = cma_constants(dimension, 10, diagonal=diagonal)
    state = cma_init(np.full(dimension, 0.3), 0.5, diagonal=diagonal)
    for generation in range(1000):
        candidates = cma_sample(state, constants, np.random.default_rng([seed, generation]))
        values = np.array([function(x) for x in candidates])
        if values.min() < 1e-9:
            return generation * 10
        state = cma_update(state, candidates, np.argsort(values, kind="stable"), constants)
    raise AssertionError("not solved")


@pytest.mark.parametrize(("dimension", "population_size"), [(5, 8), (12, 10), (100, 32)])
def test_strategy_parameters_are_those_of_cma(dimension, population_size):
    ours = cma_constants(dimension, population_size)
    es = reference(np.zeros(dimension), 0.3, population_size)
    np.testing.assert_allclose(ours.weights, es.sp.weights, rtol=1e-12)
    assert ours.mu == es.sp.weights.mu
    assert ours.mu_eff == pytest.approx(es.sp.weights.mueff, rel=1e-12)
    assert ours.c_1 == pytest.approx(es.sp.c1, rel=1e-12)
    assert ours.c_mu == pytest.approx(es.sp.cmu, rel=1e-12)
    assert ours.c_c == pytest.approx(es.sp.cc, rel=1e-12)
    assert ours.chi == pytest.approx(es.const.chiN, rel=1e-12)


def test_golden_parameters_of_the_step_size():
    """Tutorial, eq. 55, which ``cma`` has with n + μ_eff + 3 in the denominator."""
    constants = cma_constants(12, 10)
    assert constants.mu_eff == pytest.approx(3.167299281, abs=1e-9)
    assert constants.c_sigma == pytest.approx(0.256221679, abs=1e-9)
    assert constants.d_sigma == pytest.approx(1.256221679, abs=1e-9)


def test_covariance_and_mean_are_those_of_cma():
    """The same candidates move mean and covariance as they move those of ``cma``."""
    es = reference(np.zeros(4), 0.5, 8, CSA_dampfac=1e9)  # with a step size that stays
    state, constants = cma_init(np.zeros(4), 0.5), cma_constants(4, 8)
    for generation in range(4):
        candidates = np.array(es.ask())
        if generation == 0:  # it starts with a little noise on the identity
            first = np.array(es.sm.C)
            state = state._replace(covariance=first, scales=np.sqrt(np.diag(first)))
        values = np.array([ellipsoid(x - 1) for x in candidates])
        es.tell(candidates, values.tolist())
        state = state._replace(sigma=np.array(0.5))
        state = cma_update(state, candidates, np.argsort(values), constants)
        np.testing.assert_allclose(state.mean, es.mean, atol=1e-10)
        np.testing.assert_allclose(state.covariance, es.sm.C, atol=1e-7)
        assert constants.decompose_every == 1


@pytest.mark.parametrize("function", [sphere, ellipsoid, rosenbrock])
def test_needs_no_more_evaluations_than_cma(function):
    ours = np.median([evaluations(function, 8, seed=seed) for seed in range(3)])
    theirs = []
    for seed in range(3):
        es = reference(np.full(8, 0.3), 0.5, 10, seed=seed + 1, ftarget=1e-9)
        es.optimize(function)
        theirs.append(es.result.evaluations)
    assert ours < 1.25 * np.median(theirs)


def test_diagonal_is_faster_where_axes_do_not_mix():
    assert evaluations(ellipsoid, 12, diagonal=True) < 0.7 * evaluations(ellipsoid, 12)


def test_covariance_is_estimated_from_samples():
    state = cma_init(np.zeros(3), 2.0)._replace(mean=np.array([1.0, 2.0, 3.0]))
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    scales = np.array([0.5, 1.0, 3.0])
    state = state._replace(basis=rotation, scales=scales)
    drawn = cma_sample(state, cma_constants(3, 40_000), np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(0), state.mean, atol=0.1)
    np.testing.assert_allclose(
        np.cov(drawn.T), 4 * (rotation * scales**2) @ rotation.T, rtol=0.1, atol=0.5
    )


@pytest.mark.parametrize("diagonal", [False, True])
def test_state_is_arrays_of_one_type_and_layout(diagonal):
    constants = cma_constants(6, 8, diagonal=diagonal)
    state = cma_init(np.zeros(6), 0.1, diagonal=diagonal)
    for generation in range(3):
        candidates = cma_sample(state, constants, np.random.default_rng(generation))
        state = cma_update(state, candidates, np.arange(8), constants)
    assert isinstance(state, CMAState)
    for name, value in state._asdict().items():
        assert isinstance(value, np.ndarray), name
        assert value.dtype == np.float64, name
        assert value.flags.c_contiguous, name
    assert state.generation == 3


def test_decompositions_are_rare_in_many_dimensions():
    assert cma_constants(10, 10).decompose_every == 1
    assert cma_constants(2000, 16).decompose_every > 5
