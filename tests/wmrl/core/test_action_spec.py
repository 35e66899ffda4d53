"""Action specs: their spaces, JSON, checks, random actions and encodings."""

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from wmrl.core.action_spec import ActionSpec, as_action_spec

SPACES = [
    spaces.Box(np.float32([-1, 0]), np.float32([1, 0.3])),
    spaces.Box(-np.inf, np.inf, (3,), np.float32),
    spaces.Discrete(3),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([2, 4]),
    spaces.MultiDiscrete([3, 2], start=[1, -1]),
    spaces.MultiBinary(5),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_spec_is_the_space_also_by_way_of_json(space: spaces.Space[Any]) -> None:
    spec = ActionSpec.of(space)
    assert spec.space == space
    assert (spec.shape, spec.dtype) == (space.shape, space.dtype)
    assert as_action_spec(json.loads(json.dumps(asdict(spec), allow_nan=False))) == spec
    assert as_action_spec(space) == as_action_spec(spec) == spec
    assert spec.neutral() in space
    assert spec.neutral((2, 3)).shape == (2, 3, *spec.shape)


@pytest.mark.parametrize(
    ("space", "action", "code"),
    [
        (SPACES[0], [0.5, 0.1], [0.5, 0.1]),
        (SPACES[2], 1, [0, 1, 0]),
        (SPACES[3], -2, [1, 0, 0, 0]),
        (SPACES[4], [1, 2], [0, 1, 0, 0, 1, 0]),
        (SPACES[5], [3, 0], [0, 0, 1, 0, 1]),
        (SPACES[6], [1, 0, 0, 1, 1], [1, 0, 0, 1, 1]),
    ],
    ids=str,
)
def test_encodings_of_known_actions(space: spaces.Space[Any], action: Any, code: Any) -> None:
    spec = ActionSpec.of(space)
    checked = spec.check("action", action)
    assert checked.dtype == space.dtype
    encoded = spec.encode(checked)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, code, rtol=1e-6)
    assert spec.dim == len(code)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_tensors_and_batches_are_encoded_alike(space: spaces.Space[Any]) -> None:
    spec = ActionSpec.of(space)
    space.seed(0)
    actions = np.stack([space.sample() for _ in range(12)]).reshape(3, 4, *spec.shape)
    codes = spec.encode(actions)
    assert codes.shape == (3, 4, spec.dim)
    for row, column in np.ndindex(3, 4):
        np.testing.assert_array_equal(codes[row, column], spec.encode(actions[row, column]))
    as_tensors = spec.encode_tensor(torch.from_numpy(actions))
    assert as_tensors.dtype == torch.float32
    np.testing.assert_array_equal(as_tensors.numpy(), codes)
    if not spec.is_continuous:
        assert len({code.tobytes() for code in codes.reshape(12, -1)}) == len(
            {action.tobytes() for action in actions.reshape(12, -1)}
        )


@pytest.mark.parametrize("space", [space for space in SPACES if "inf" not in str(space)], ids=str)
def test_random_actions_are_uniform_and_a_function_of_the_generator(
    space: spaces.Space[Any],
) -> None:
    spec = ActionSpec.of(space)
    drawn = [spec.sample(generator) for generator in [np.random.default_rng(5)] for _ in range(600)]
    again = [spec.sample(generator) for generator in [np.random.default_rng(5)] for _ in range(600)]
    assert all(action in space for action in drawn)
    np.testing.assert_array_equal(drawn, again)
    if spec.is_continuous:
        np.testing.assert_allclose(np.mean(drawn, 0), (space.low + space.high) / 2, atol=0.06)
    else:
        counts = Counter(action.tobytes() for action in drawn)
        options = int(np.prod(spec.num_options))
        assert len(counts) == options
        assert max(counts.values()) < 600 / options * 1.8


def test_continuous_actions_are_clipped_on_request() -> None:
    spec = ActionSpec.of(SPACES[0])
    np.testing.assert_array_equal(spec.check("a", [3.0, -3.0], clip=True), np.float32([1, 0]))
    np.testing.assert_array_equal(spec.check("a", [3.0, -3.0]), np.float32([3, -3]))
    free = ActionSpec.of(SPACES[1])
    np.testing.assert_array_equal(
        free.check("a", [3.0, 0, 1e9], clip=True), np.float32([3, 0, 1e9])
    )
    with pytest.raises(ValueError, match="action_space: expected finite bounds for random actions"):
        free.sample(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("space", "action", "message"),
    [
        (SPACES[0], [0.1], r"a: expected shape \(2,\), got \(1,\)"),
        (SPACES[0], [np.nan, 0], "a: expected finite numbers, got nan at index 0"),
        (SPACES[2], 3, r"a: expected an integer from 0 to 2, got 3; see the action space Discr"),
        (SPACES[2], -1, "a: expected an integer from 0 to 2, got -1"),
        (SPACES[2], 1.0, r"a: expected integers, got float64 \(1.0\)"),
        (SPACES[2], True, "a: expected integers, got bool"),
        (SPACES[2], None, "a: expected integers, got object"),
        (SPACES[2], "left", "a: expected integers, got <U4"),
        (
            SPACES[2],
            [1],
            r"a: expected shape \(\) as in the action space Discrete\(3\), got \(1,\)",
        ),
        (SPACES[3], 2, "a: expected an integer from -2 to 1, got 2"),
        (SPACES[4], [0, 4], "a: expected an integer from 0 to 3 at index 1, got 4"),
        (SPACES[5], [0, 0], "a: expected an integer from 1 to 3 at index 0, got 0"),
        (SPACES[6], [0, 1, 0, 1, 2], "a: expected an integer from 0 to 1 at index 4, got 2"),
        (SPACES[2], np.uint64(2**64 - 1), "a: expected an integer from 0 to 2"),
        (SPACES[2], torch.tensor(1.0, requires_grad=True), "a: expected an array, got tensor"),
        (SPACES[4], [[1], [1, 2]], r"a: expected an array, got \[\[1\], \[1, 2\]\]"),
        (SPACES[4], np.ma.array([1, 2], mask=[0, 1]), "a: expected numbers, got masked numbers"),
    ],
    ids=str,
)
def test_bad_actions_are_refused(space: spaces.Space[Any], action: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ActionSpec.of(space).check("a", action)


def test_bits_may_be_flags() -> None:
    checked = ActionSpec.of(spaces.MultiBinary(2)).check("a", [True, False])
    np.testing.assert_array_equal(checked, np.int8([1, 0]))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Dict({"a": spaces.Discrete(2)}),
        spaces.Text(3),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Graph(spaces.Discrete(2), None),
        spaces.Box(-1, 1, (2, 2)),
        spaces.Box(-1, 1, ()),
        spaces.Box(0, 255, (2,), np.uint8),
        spaces.MultiDiscrete([[2, 2], [3, 3]]),
        spaces.MultiBinary([2, 2]),
        None,
    ],
    ids=str,
)
def test_other_spaces_are_refused_with_a_wrapper_that_helps(space: Any) -> None:
    with pytest.raises(ValueError, match=r"(?s)^action_space: expected a Box of .*TransformAction"):
        ActionSpec.of(space)


@pytest.mark.parametrize(
    "forged",
    [
        {"kind": "dict"},
        {"kind": "box"},
        {"kind": "box", "low": [0], "high": [0, 1]},
        {"kind": "box", "low": [1], "high": [0]},
        {"kind": "box", "low": [0], "high": [1], "num_options": [2]},
        {"kind": "discrete", "num_options": []},
        {"kind": "discrete", "num_options": [2, 2]},
        {"kind": "discrete", "num_options": [0]},
        {"kind": "discrete", "num_options": [10**9]},
        {"kind": "discrete", "num_options": [2.0]},
        {"kind": "discrete", "num_options": [2], "start": [0, 1]},
        {"kind": "multi_discrete", "num_options": [90_000, 90_000]},
        {"kind": "multi_binary", "num_options": [2, 3]},
        {"kind": "multi_binary", "num_options": [2], "start": [1]},
        {"kind": "discrete", "num_options": [2], "more": 1},
        {"kind": "discrete", "num_options": [3], "start": [2**63 - 2]},
        {"kind": "discrete", "num_options": [3], "start": [-(10**30)]},
        {"kind": "box", "low": [1e39], "high": [2e39]},
    ],
    ids=str,
)
def test_forged_descriptions_are_refused(forged: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        as_action_spec(forged)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_options", 3),
        ("num_options", np.array(3)),
        ("num_options", "3"),
        ("low", ("a",)),
        ("low", (1j,)),
        ("low", (-np.inf,)),
    ],
)
def test_fields_of_another_type_are_refused(field: str, value: Any) -> None:
    kind: Any = "box" if field == "low" else "discrete"
    with pytest.raises(ValueError, match=f"^{field}: expected "):
        ActionSpec(kind=kind, **{field: value})


def test_bounds_beyond_float32_are_none() -> None:
    spec = ActionSpec.of(spaces.Box(-1e300, 1e300, (1,), np.float64))
    assert (spec.low, spec.high) == ((None,), (None,))
