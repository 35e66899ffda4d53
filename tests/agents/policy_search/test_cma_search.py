import numpy as np
import pytest

from wmrl.agents.policy_search.cma import CMASearch


def climb(search, generations, optimum):
    for _ in range(generations):
        search.tell(-((search.ask() - optimum) ** 2).sum(1))
    return search


def test_it_finds_the_top_of_a_hill() -> None:
    optimum = np.array([1.0, -2.0, 0.5, 3.0])
    search = climb(CMASearch(np.zeros(4), sigma=0.5), 120, optimum)
    np.testing.assert_allclose(search.mean, optimum, atol=1e-4)
    assert search.sigma < 1e-3


@pytest.mark.parametrize(("size", "population"), [(1, 4), (10, 10), (32, 14), (200, 19)])
def test_the_population_is_the_tutorials(size: int, population: int) -> None:
    search = CMASearch(np.zeros(size), sigma=1.0)
    assert search.population_size == population
    assert search.ask().shape == (population, size)


def test_a_seed_is_the_same_and_another_differs() -> None:
    one, two, other = (
        climb(CMASearch(np.ones(5), sigma=0.3, seed=seed), 7, 0.0).ask() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.isclose(one, other).any()


def test_asking_twice_is_asking_once() -> None:
    search = CMASearch(np.zeros(3), sigma=0.3)
    first = search.ask()
    first_copy = first.copy()
    first += 1.0  # a caller's own arithmetic must not reach the search
    np.testing.assert_array_equal(search.ask(), first_copy)
    search.tell(np.arange(float(search.population_size)))
    other = CMASearch(np.zeros(3), sigma=0.3)
    other.ask()
    other.tell(np.arange(float(other.population_size)))
    np.testing.assert_array_equal(search.mean, other.mean)


def test_clear_errors() -> None:
    for kwargs, message in (
        ({"mean": np.zeros((2, 2))}, r"mean: expected shape \(n,\) .* got shape \(2, 2\)"),
        ({"mean": np.zeros(0)}, r"mean: expected shape \(n,\)"),
        ({"mean": np.array([np.nan])}, "mean: expected finite numbers"),
        ({"sigma": 0.0}, r"sigma: expected above 0, got 0\.0"),
        ({"population_size": 3}, "population_size: expected at least 4, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            CMASearch(**{"mean": np.zeros(2), "sigma": 1.0} | kwargs)
    search = CMASearch(np.zeros(2), sigma=1.0, population_size=4)
    with pytest.raises(RuntimeError, match=r"call ask\(\) first"):
        search.tell(np.zeros(4))
    search.ask()
    for values, message in (
        (np.zeros(3), r"values: expected shape \(4,\), got \(3,\)"),
        (np.array([0, 1, np.nan, 2]), "values: expected finite numbers, got nan at index 2"),
    ):
        with pytest.raises(ValueError, match=message):
            search.tell(values)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize(
    "objective",
    [lambda x: x.sum(1), lambda x: (x**2).sum(1), lambda x: np.zeros(len(x)), lambda x: -x[:, 0]],
)
def test_an_unbounded_objective_never_leads_to_infinity(size: int, objective) -> None:
    search = CMASearch(np.zeros(size), sigma=1e3)
    for _ in range(600):
        candidates = search.ask()
        assert np.isfinite(candidates.astype(np.float32)).all()
        search.tell(objective(np.clip(candidates, -1e100, 1e100)))
    assert 0 < search.sigma < np.inf


def test_an_optimum_is_kept_for_ever() -> None:
    search = climb(CMASearch(np.ones(2), sigma=1.0), 3000, 1.0)
    np.testing.assert_allclose(search.mean, 1.0)
    assert search.sigma > 0


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_seeds_are_checked(seed) -> None:
    with pytest.raises(ValueError, match=r"^seed: expected "):
        CMASearch(np.zeros(2), sigma=1.0, seed=seed)
