from typing import Any

import numpy as np
import pytest
import torch

from wmrl.core.validation import (
    check_actions,
    check_choice,
    check_finite,
    check_flag,
    check_float,
    check_frame,
    check_int,
    check_lengths,
    check_name,
    check_number,
    check_reals,
    check_seed,
    check_shape,
)


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
    for value in (np.array(["a"]), torch.zeros(2)):
        with pytest.raises(ValueError, match=r"^way: expected one of 'a', 'b', got "):
            check_choice("way", value, ("a", "b"))


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


@pytest.mark.parametrize("value", [0, 7, 2**63 - 1, np.int64(5), np.uint8(5)])
def test_seeds_come_back_as_python_s(value: Any) -> None:
    assert type(check_seed("seed", value)) is int
    assert check_seed("seed", value) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "expected at least 0, got -1"),
        (2**63, "expected at most 9223372036854775807, got 9223372036854775808"),
        (True, "expected an integer, got True"),
        (1.0, r"expected an integer, got 1\.0"),
        (None, "expected an integer, got None"),
        ("1", "expected an integer, got '1'"),
    ],
)
def test_what_is_no_seed_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^seed: {message}$"):
        check_seed("seed", value)


@pytest.mark.parametrize("value", [1, 0, "yes", None, np.array([True])])
def test_flags_are_booleans(value: Any) -> None:
    assert check_flag("flag", np.True_) is True
    with pytest.raises(ValueError, match=r"^flag: expected True or False, got "):
        check_flag("flag", value)


@pytest.mark.parametrize("value", ["", " \n", None, 1])
def test_names_are_not_empty(value: Any) -> None:
    assert check_name("task", "car racing") == "car racing"
    with pytest.raises(ValueError, match=r"^task: expected a non-empty name, got "):
        check_name("task", value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((4, 0), r"sizes\[1\]: expected at least 1, got 0"),
        ((True,), r"sizes\[0\]: expected an integer, got True"),
        (4, "sizes: expected a sequence of integers, got 4"),
        ("44", "sizes: expected a sequence of integers, got '44'"),
        (b"44", "sizes: expected a sequence of integers, got b'44'"),
        (np.array(4), r"sizes: expected a sequence of integers, got array\(4\)"),
        (torch.tensor(4), r"sizes: expected a sequence of integers, got tensor\(4\)"),
    ],
)
def test_lengths_are_integers_of_at_least_1(value: Any, message: str) -> None:
    assert check_lengths("sizes", [np.int64(4), 2]) == (4, 2)
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_lengths("sizes", value)


def test_the_first_number_that_is_not_finite_is_named() -> None:
    array = np.zeros((2, 3), np.float32)
    check_finite("x", array)
    array[1, 2] = -np.inf
    array[1, 1] = np.nan
    with pytest.raises(
        ValueError, match=r"^x: expected finite numbers, got nan at index \(1, 1\)$"
    ):
        check_finite("x", array)
    with pytest.raises(ValueError, match=r"got inf; look$"):
        check_finite("x", np.array(np.inf), advice="look")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8])
def test_actions_of_any_real_dtype_become_float32(dtype: Any) -> None:
    found = check_actions("action", np.array([0, 3], dtype), (2,), low=-1.0, high=1.0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [0.0, 1.0])


def test_actions_are_clipped_however_large() -> None:
    found = check_actions(
        "action", [1e300, -1e300, 0.1], (3,), low=-1.0, high=np.float32([1, 1, 1])
    )
    np.testing.assert_array_equal(found, np.float32([1.0, -1.0, 0.1]))
    with pytest.raises(ValueError, match=r"got inf at index 0; numbers beyond ±3\.4e38 do not fit"):
        check_actions("action", [1e300, 0.0], (2,))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.0, np.nan], "expected finite numbers, got nan at index 1"),
        ([np.inf, 0.0], "expected finite numbers, got inf at index 0"),
        (np.float32([0.0, -np.inf]), "expected finite numbers, got -inf at index 1"),
        (
            [0.0],
            r"expected shape \(2,\) with one angle per joint, got \(1,\); the arm determines",
        ),
        ([[0.0, 0.0]], r"expected shape \(2,\) with one angle per joint, got \(1, 2\)"),
        (0.0, r"expected shape \(2,\) with one angle per joint, got \(\)"),
        ([1j, 0.0], "expected one angle per joint, got "),
        ([True, False], "expected one angle per joint, got "),
        (["a", "b"], "expected one angle per joint, got "),
        (None, "expected one angle per joint, got None"),
        ([[0.0], [0.0, 1.0]], "expected one angle per joint, got "),
        ({"a": 1}, "expected one angle per joint, got "),
        (np.ma.array([0.0, 1.0], mask=[False, True]), "expected one angle per joint, got masked"),
        (np.longdouble([0, "1e4000"]), "expected finite numbers, got inf at index 1"),
    ],
)
def test_what_is_no_action_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^action: {message}"):
        check_actions(
            "action", value, (2,), low=-1.0, high=1.0, each="one angle per joint", source="the arm"
        )


def test_frames_of_any_layout_become_contiguous() -> None:
    frame = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert check_frame("frame", frame) is frame
    for view in (frame[::-1], frame[:, ::-1], frame[..., ::-1], frame[:, ::2]):
        found = check_frame("frame", view)
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, view)


def test_gray_frames_have_one_channel() -> None:
    gray = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for frame in (gray, gray[:, :, None], gray[::-1]):
        found = check_frame("frame", frame)
        assert found.shape == (4, 5, 1)
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found[..., 0], frame.reshape(4, 5))


def test_the_place_of_the_mend_is_named() -> None:
    with pytest.raises(ValueError, match=r"image\.transpose\(1, 2, 0\) in the game's render$"):
        check_frame("frame", np.zeros((3, 4, 5), np.uint8), where="in the game's render")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, r"expected an array .*, got None; create the game with render_mode='rgb_array'"),
        ([[[0, 0, 0]]], r"expected an array \(H, W, 3\) uint8, or \(H, W\) if gray, got a list"),
        (np.zeros((4, 5, 4), np.uint8), r"got \(4, 5, 4\) uint8; drop the alpha channel"),
        (np.zeros((6, 5, 2), np.uint8), r"got \(6, 5, 2\) uint8$"),
        (
            np.zeros((4, 5, 6), np.uint8),
            r"\(4, 5, 6\) uint8; take the last of stacked .*image\[-1\]",
        ),
        (np.zeros((1, 4, 5), np.uint8), r"got \(1, 4, 5\) uint8; move the channels last"),
        (
            np.zeros((3, 4, 5)),
            r"float64; move the channels last .* and convert numbers in \[0, 1\]",
        ),
        (np.zeros((4, 5)), r"got \(4, 5\) float64; convert numbers in \[0, 1\]"),
        (np.zeros((4, 5), np.bool_), r"got \(4, 5\) bool; convert True and False"),
        (np.zeros((3, 4, 5), np.uint8), r"got \(3, 4, 5\) uint8; move the channels last"),
        (np.zeros((4, 5, 3)), r"got \(4, 5, 3\) float64; convert numbers in \[0, 1\]"),
        (np.full((4, 5, 3), np.nan), r"got \(4, 5, 3\) float64; convert"),
        (np.zeros((4, 5, 3), np.int64), r"got \(4, 5, 3\) int64; convert numbers from 0 to 255"),
        (np.zeros((0, 5, 3), np.uint8), r"got \(0, 5, 3\) uint8"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"got \(1, 4, 5, 3\) uint8"),
    ],
)
def test_what_is_no_frame_is_refused(frame: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^frame: .*{message}"):
        check_frame("frame", frame)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array([2.0]), np.array(2)])
def test_results_are_numbers(value: Any) -> None:
    found = check_number("reward", value)
    assert type(found) is float
    assert found == 2.0


def test_real_numbers_become_float32() -> None:
    numbers = np.float32([0.5, 2.0])
    assert check_reals("x", numbers) is numbers
    np.testing.assert_array_equal(check_reals("x", torch.tensor([0.5, 2.0])), numbers)
    np.testing.assert_array_equal(check_reals("x", np.array([2, 0.5], ">f8")[::-1]), numbers)
    for value, message in (
        ([1.0, np.inf], "expected finite numbers, got inf at index 1; look$"),
        ([1e300], "expected finite numbers, got inf at index 0; numbers beyond"),
        ([1j], r"expected real numbers, got \[1j\]"),
        (["1"], r"expected real numbers, got \['1'\]"),
        (torch.ones(1, requires_grad=True), "expected real numbers, got tensor"),
        (np.ma.array([1.0], mask=True), "expected real numbers, got masked"),
    ):
        with pytest.raises(ValueError, match=f"^x: {message}"):
            check_reals("x", value, advice="look")


@pytest.mark.parametrize(
    "value",
    [
        *(None, "x", "2", b"2", [1.0, 2.0], np.nan, np.inf, 10**400, object()),
        *(np.ma.masked, np.timedelta64(2), torch.tensor(2.0, requires_grad=True)),
    ],
)
def test_what_is_no_result_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^reward: expected a (finite )?number, got "):
        check_number("reward", value)


def test_integers_beyond_all_floats_are_not_finite() -> None:
    with pytest.raises(ValueError, match=r"^x: expected a finite number, got inf$"):
        check_float("x", 10**400)
