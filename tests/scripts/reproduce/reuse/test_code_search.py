import numpy as np
import pytest

from wmrl.scripts.reproduce.reuse.code_search import CodeSearch, CodeSearchConfig


def search_for(secret, config=None, seed=0, generations=60):
    search = CodeSearch(len(secret), 6, config, seed=seed)
    best = 0
    for _ in range(generations):
        values = (search.ask() == secret).sum(1)
        best = max(best, int(values.max()))
        search.tell(values)
    return search, best


def test_it_finds_a_secret_code() -> None:
    secret = np.array([0, 5, 2, 2, 4, 1, 3, 0])
    search, best = search_for(secret)
    assert best == 8
    np.testing.assert_array_equal(search.probabilities.argmax(1), secret)
    # Nothing but luck would need 6⁸ / 2 ≈ 840,000 evaluations; these are 3,000.


def test_the_update_by_hand() -> None:
    """Two codes of three values, half of four candidates, α = 0.5, ε = 0.3."""
    config = CodeSearchConfig(population_size=4, selected=0.5, learning_rate=0.5, smoothing=0.3)
    search = CodeSearch(2, 3, config)
    search._asked = np.array([[0, 1], [2, 2], [0, 0], [0, 2]])
    search.tell(np.array([5.0, -1.0, 2.0, 4.0]))  # the best are the first and the last
    shares = np.array([[1, 0, 0], [0, 0.5, 0.5]])
    expected = 0.7 * (0.5 / 3 + 0.5 * shares) + 0.1
    np.testing.assert_allclose(search.probabilities, expected)


def test_umda_without_smoothing_is_what_was_selected() -> None:
    config = CodeSearchConfig(population_size=5, selected=0.2, learning_rate=1.0, smoothing=0.0)
    search = CodeSearch(3, 4, config)
    asked = search.ask()
    search.tell(np.array([0, 0, 9, 0, 0]))
    np.testing.assert_array_equal(search.ask(), np.tile(asked[2], (5, 1)))


def test_no_value_is_lost() -> None:
    search, _ = search_for(np.zeros(3, int), CodeSearchConfig(smoothing=0.12), generations=200)
    np.testing.assert_allclose(search.probabilities.sum(1), 1.0)
    assert (search.probabilities >= 0.12 / 6 - 1e-12).all()


def test_draws_follow_the_probabilities() -> None:
    search = CodeSearch(2, 3, CodeSearchConfig(population_size=40_000))
    search.probabilities = np.array([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    codes = search.ask()
    assert codes.dtype == np.int64
    shares = np.stack([(codes == value).mean(0) for value in range(3)], 1)
    np.testing.assert_allclose(shares, search.probabilities, atol=0.01)


def test_a_seed_is_the_same_and_another_differs() -> None:
    secret = np.array([1, 2, 3, 4])
    one, two, other = (search_for(secret, seed=s, generations=3)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    np.testing.assert_array_equal(one.ask(), two.ask())
    assert not np.array_equal(one.probabilities, other.probabilities)


def test_clear_errors() -> None:
    for kwargs, message in (
        ({"population_size": 1}, "population_size: expected at least 2, got 1"),
        ({"selected": 0.0}, r"selected: expected above 0, got 0"),
        ({"learning_rate": 1.5}, r"learning_rate: expected at most 1, got 1.5"),
        ({"smoothing": -0.1}, r"smoothing: expected at least 0, got -0.1"),
        ({"smoothing": float("nan")}, "smoothing: expected a finite number, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            CodeSearchConfig(**kwargs)
    with pytest.raises(ValueError, match="num_tokens: expected at least 1, got 0"):
        CodeSearch(0, 4)
    with pytest.raises(ValueError, match="codebook_size: expected at least 2, got 1"):
        CodeSearch(3, 1)
    search = CodeSearch(3, 4, CodeSearchConfig(population_size=4))
    with pytest.raises(RuntimeError, match=r"call ask\(\) first"):
        search.tell(np.zeros(4))
    search.ask()
    for values, message in (
        (np.zeros(5), r"values: expected shape \(4,\), got \(5,\)"),
        (np.array([0, 1, 2, np.inf]), "values: expected finite numbers, got inf at index 3"),
    ):
        with pytest.raises(ValueError, match=message):
            search.tell(values)
