"""Observation spaces of saved policies: their description as JSON, and checks of observations."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from wmrl.agents.agent import batch_vectors
from wmrl.core.action_spec import ActionSpec, as_action_spec
from wmrl.core.validation import check_int

_DIMS = {"at_least": 1, "at_most": 1_000_000}  # the bounds of a forged space fit in the memory


def describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """Describes the observation space of a policy as entries of an artifact's configuration.

    Args:
        space: a ``Box`` of real numbers with one axis; a ``Discrete``; a ``MultiDiscrete`` or
            ``MultiBinary`` with one axis; or a ``Dict`` of such spaces.

    Returns:
        The entry ``"observation_dim"`` for a ``Box``, and the entry ``"observation_space"`` for
        another space. The bounds of a ``Box`` are not stored: policies do not use them.

    Raises:
        ValueError: the space is none of these.
    """
    if isinstance(space, spaces.Box):
        return {"observation_dim": _describe(space)["dim"]}
    return {"observation_space": _describe(space)}


def restore_space(config: Mapping[str, Any]) -> spaces.Space[Any]:
    """Creates the space that :func:`describe_space` described.

    Raises:
        KeyError, TypeError, ValueError: the description is missing or invalid.
    """
    if "observation_space" in config:
        return _restore(config["observation_space"])
    return _restore({"kind": "box", "dim": config["observation_dim"]})


def batch_of(
    space: spaces.Space[Any], observation: Any, name: str = "observation"
) -> tuple[Any, tuple[int, ...]]:
    """Checks one observation or a batch of observations, and converts it to a batch.

    Args:
        space: space that :func:`restore_space` can create.
        observation: an observation of the space; or a batch of N, an array with an additional
            first axis or, for a ``Dict``, a dictionary of such arrays.
        name: name of the argument, for the error message.

    Returns:
        The batch, and its axes: ``(N,)``, or ``()`` for one observation.

    Raises:
        ValueError: the observation is not of the space.
    """
    if isinstance(space, spaces.Dict):
        return _dict_batch(space, observation, name)
    dims = len(space.shape or ())
    found = np.shape(observation)
    if isinstance(space, spaces.Box):
        return batch_vectors(name, observation, dim=space.shape[0]), found[:-1]
    axes = found[:1] if len(found) > dims else ()
    checked = ActionSpec.of(space, name=name).check(name, observation, axes)
    return checked.reshape(-1, *(space.shape or ())), axes


def _dict_batch(space: spaces.Dict, observation: Any, name: str) -> tuple[Any, tuple[int, ...]]:
    keys = sorted(space.keys())
    if not isinstance(observation, Mapping) or sorted(observation) != keys:
        got = sorted(observation) if isinstance(observation, Mapping) else type(observation)
        raise ValueError(
            f"{name}: expected a dictionary with the keys {keys}, got {got}; use the world model "
            "and the observations that the agent was trained with"
        )
    parts = {
        key: batch_of(part, observation[key], f"{name}[{key!r}]") for key, part in space.items()
    }
    axes = {axes for _, axes in parts.values()}
    if len(axes) != 1:
        shapes = {key: np.shape(observation[key]) for key in keys}
        raise ValueError(
            f"{name}: expected one observation, or the same number of observations for each key, "
            f"got the shapes {shapes}"
        )
    return {key: part for key, (part, _) in parts.items()}, axes.pop()


def _describe(space: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Dict):
        # A list, because a policy reads the keys in their order.
        parts = [[key, _describe_part(part)] for key, part in space.items()]
        return {"kind": "dict", "spaces": parts}
    return _describe_part(space)


def _describe_part(space: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype.kind == "f":
        return {"kind": "box", "dim": check_int("policy: observation_dim", *space.shape, **_DIMS)}
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        spec = ActionSpec.of(space, name="policy: observation space")
        if spec == spec.from_zero:
            return {"kind": spec.kind, "num_options": list(spec.num_options)}
    raise ValueError(
        "policy: expected as observation space a Box of real numbers with one axis, a Discrete, "
        "MultiDiscrete or MultiBinary with one axis and options from 0, or a Dict of these, got "
        f"{space}; a world model turns images into such observations"
    )


def _restore(described: Mapping[str, Any]) -> spaces.Space[Any]:
    if described["kind"] != "dict":
        return _restore_part(described)
    parts = [(str(key), part) for key, part in described["spaces"]]
    dims = [part["dim"] for _, part in parts if part["kind"] == "box"]
    check_int("observation_dim", sum(dims, 1), **_DIMS)
    return spaces.Dict([(key, _restore_part(part)) for key, part in parts])


def _restore_part(described: Mapping[str, Any]) -> spaces.Space[Any]:
    if described["kind"] == "box":
        dim = check_int("observation_dim", described["dim"], **_DIMS)
        return spaces.Box(-np.inf, np.inf, (dim,), np.float32)
    return as_action_spec(described).space
