import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmrl.core.strict_json import json_text, jsonable
from wmrl.storage.files import write_json
from wmrl.storage.reading import read_json


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int8(-3), -3),
        (np.bool_(True), True),
        (np.str_("é"), "é"),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        ({np.int64(1): (1, None)}, {1: [1, None]}),
        ({"a": {"b": [np.float64(0.1), True]}}, {"a": {"b": [0.1, True]}}),
    ],
)
def test_scalars_and_arrays_of_numpy_become_numbers_and_lists(content: Any, expected: Any) -> None:
    found = jsonable(content)
    assert found == expected
    assert type(found) is type(expected)
    assert json.loads(json_text(content)) == json.loads(json.dumps(expected))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.float32("-inf")])
@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda x: {"scores": {"mean": x}}, "scores.mean"),
        (lambda x: {"rows": [{"loss": 1.0}, {"loss": x}]}, r"rows\[1\].loss"),
        (lambda x: {"z": np.array([0.0, x])}, r"z\[1\]"),
        (lambda x: x, "content"),
    ],
)
def test_numbers_that_are_not_finite_are_named(number: float, wrap: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected a finite number"):
        json_text(wrap(number))


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, 1j, object(), b"x"])
def test_other_values_are_named(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^a\.b: expected a value that JSON can store, got a "):
        json_text({"a": {"b": value}})


def test_keys_are_strings_or_numbers() -> None:
    with pytest.raises(TypeError, match=r"^a: expected strings or finite numbers as keys, got"):
        jsonable({"a": {(1, 2): 3}})


def test_what_is_written_is_not_too_deep_to_be_read(tmp_path: Path) -> None:
    def nested(levels: int) -> Any:
        return {"a": nested(levels - 1)} if levels else 1

    deepest = nested(56)
    assert read_json(write_json(tmp_path / "deep.json", deepest)) == deepest
    itself: dict[str, Any] = {}
    itself["a"] = itself
    for content in (nested(57), itself):
        with pytest.raises(ValueError, match=r"^a\.a\.a\.a.*…: expected at most 56 nested levels"):
            write_json(tmp_path / "deeper.json", content)
    assert not (tmp_path / "deeper.json").exists()
