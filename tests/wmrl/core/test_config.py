import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from wmrl.core.config import build_config


@dataclass(frozen=True, kw_only=True)
class Config:
    size: int = 1
    rate: float = 0.5
    name: str | None = None
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    flag: bool = False
    more: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"size": 2, "rate": 1, "name": "x", "kind": "b", "flag": True},
        {"sizes": (1, 2), "pair": (3, 4), "name": None, "more": {"x": []}},
    ],
)
def test_what_fits_is_taken(values: dict[str, Any]) -> None:
    assert build_config(Config, json.loads(json.dumps(values))) == Config(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 3}, "depth: unknown field; expected one of"),
        ({"size": 2.0}, "size: expected int, got 2.0"),
        ({"size": True}, "size: expected int, got True"),
        ({"size": "2"}, "size: expected int, got '2'"),
        ({"size": None}, "size: expected int, got None"),
        ({"rate": "1"}, "rate: expected float, got '1'"),
        ({"rate": 10**400}, "rate: expected float, got 1000"),
        ({"rate": float("nan")}, "rate: expected float, got nan"),
        ({"name": 3}, r"name: expected str \| None, got 3"),
        ({"kind": "c"}, "kind: expected .*, got 'c'"),
        ({"sizes": 3}, "sizes: expected .*, got 3"),
        ({"sizes": [1, 2.0]}, r"sizes: expected .*, got \[1, 2.0\]"),
        ({"pair": [1]}, r"pair: expected .*, got \[1\]"),
        ({"flag": 1}, "flag: expected bool, got 1"),
        ({"more": []}, r"more: expected .*, got \[\]"),
    ],
)
def test_what_does_not_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        build_config(Config, values)
