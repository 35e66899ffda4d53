from typing import Any

import numpy as np
import pytest
import torch

from wmrl.core.validation import check_choice, check_float, check_int, check_shape


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_come_back_as_python_s(value: Any) -> None:
    assert type(check_int("n", value, at_least=3, at_most=3)) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, "3", None, float("nan")])
def test_what_is_no_integer_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^n: expected an integer, got "):
        check_int("n", value)


def test_bounds_of_integers() -> None:
    with pytest.raises(ValueError, match=r"^n: expected at least 1, got 0$"):
        check_int("n", 0, at_least=1)
    with pytest.raises(ValueError, match=r"^n: expected at most 1, got 2$"):
        check_int("n", 2, at_most=1)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int8(2)])
def test_numbers_come_back_as_python_s(value: Any) -> None:
    found = check_float("x", value, at_least=2, at_most=2, above=1, below=3)
    assert type(found) is float
    assert found == 2.0


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"at_least": 3}, "at least 3"),
        ({"above": 2}, "above 2"),
        ({"at_most": 1}, "at most 1"),
        ({"below": 2}, "below 2"),
    ],
)
def test_bounds_of_numbers(bounds: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=rf"^x: expected {words}, got 2.0$"):
        check_float("x", 2.0, **bounds)
    with pytest.raises(ValueError, match=rf"^x: expected {words}, got nan$"):
        check_float("x", float("nan"), **bounds)


@pytest.mark.parametrize("value", [True, "2", None, 1j])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^x: expected a number, got "):
        check_float("x", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"^x: expected a finite number, got "):
        check_float("x", value)


def test_choices() -> None:
    assert check_choice("way", "b", ("a", "b")) == "b"
    with pytest.raises(ValueError, match=r"^way: expected one of 'a', 'b', got 'c'$"):
        check_choice("way", "c", ("a", "b"))


def test_shapes() -> None:
    check_shape("z", np.zeros((5, 2)), ("B", 2))
    check_shape("z", torch.zeros(3), (3,))
    for array, shape, words in (
        (np.zeros((5, 2)), ("B", 3), r"\(B, 3\), got \(5, 2\)"),
        (np.zeros(5), ("B", 3), r"\(B, 3\), got \(5,\)"),
        (torch.zeros(2, 2), ("N",), r"\(N,\), got \(2, 2\)"),
    ):
        with pytest.raises(ValueError, match=rf"^z: expected shape {words}$"):
            check_shape("z", array, shape)
