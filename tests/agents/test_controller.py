from itertools import pairwise

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.spaces import Box

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import (
    ControllerAgent,
    ControllerConfig,
    batched_actions,
    batched_outputs,
)
from wmrl.storage.artifact import ArtifactError, save_artifact


def config(**options) -> ControllerConfig:
    return ControllerConfig(**{"observation_dim": 3, "action_space": Box(-1, 1, (2,))} | options)


def forward(parameters: np.ndarray, x: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """One controller, one observation, in plain NumPy."""
    for inputs, outputs in pairwise(sizes):
        weight, parameters = np.split(parameters, [inputs * outputs])
        bias, parameters = np.split(parameters, [outputs])
        x = np.tanh(weight.reshape(outputs, inputs) @ x + bias)
    return x


def test_parameter_count_of_the_paper():
    assert (
        ControllerConfig(observation_dim=288, action_space=Box(-1, 1, (3,))).parameter_count == 867
    )


def test_golden_linear_controller():
    agent = ControllerAgent(config(), np.array([1, 0, 0, 0, 0.5, 0, 0.0, -1.0]))
    action, state = agent.predict(np.array([0.5, 2.0, 9.0], np.float32))
    np.testing.assert_allclose(action, [np.tanh(0.5), np.tanh(0.0)], atol=1e-7)
    assert state is None


@pytest.mark.parametrize("hidden", [(), (5,), (4, 6)])
def test_batch_equals_one_by_one(hidden):
    sizes = config(hidden_dims=hidden)
    generator = np.random.default_rng(0)
    parameters = generator.normal(size=(4, sizes.parameter_count)).astype(np.float32)
    observations = generator.normal(size=(4, 7, 3)).astype(np.float32)
    batch = batched_outputs(
        torch.from_numpy(parameters), torch.from_numpy(observations), config=sizes
    )
    assert batch.shape == (4, 7, 2)
    for p in range(4):
        for r in range(7):
            expected = forward(parameters[p], observations[p, r], sizes.layer_dims)
            np.testing.assert_allclose(batch[p, r], expected, atol=1e-6)


def test_actions_fill_the_action_space():
    sizes = config(action_space=Box(np.float32([0, -3]), np.float32([1, 5])))
    parameters = torch.zeros(3, sizes.parameter_count)
    parameters[1, -2:], parameters[2, -2:] = -50.0, 50.0
    actions = batched_actions(parameters, torch.zeros(3, 1, 3), config=sizes)
    np.testing.assert_allclose(actions[:, 0], [[0.5, 1.0], [0.0, -3.0], [1.0, 5.0]])


def test_for_spaces():
    built = ControllerConfig.for_spaces(
        spaces.Box(-1, 1, (3,), np.float32), spaces.Box(0, 2, (2,), np.float32), hidden_dims=(4,)
    )
    assert built == config(hidden_dims=(4,), action_space=Box(0, 2, (2,)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation_dim": 0}, "observation_dim: expected at least 1, got 0"),
        ({"hidden_dims": (4, 0)}, "hidden_dims"),
        ({"hidden_dims": None}, "hidden_dims: expected a tuple, got None"),
        ({"action_space": Box(-3e38, 3e38, (1,))}, "finite bounds"),
        ({"action_space": Box(-1, 1, (2, 2))}, "action_space: expected a Box of real numbers"),
        ({"action_space": Box(np.float32([0, 0]), np.float32([1, 0]))}, "low < high"),
        ({"action_space": Box(-1, np.inf, (2,))}, "finite bounds"),
    ],
)
def test_config_errors(options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_shape_errors():
    sizes = config()
    with pytest.raises(ValueError, match=r"parameters: expected shape \(P, 8\), got \(1, 9\)"):
        batched_outputs(torch.zeros(1, 9), torch.zeros(1, 1, 3), config=sizes)
    with pytest.raises(ValueError, match=r"observations: expected shape \(2, R, 3\)"):
        batched_outputs(torch.zeros(2, 8), torch.zeros(1, 1, 3), config=sizes)
    with pytest.raises(ValueError, match=r"parameters: expected shape \(8,\), got \(7,\)"):
        ControllerAgent(sizes, np.zeros(7))
    agent = ControllerAgent(sizes, np.zeros(8))
    with pytest.raises(ValueError, match=r"expected shape \(3,\) or \(N, 3\), got \(4,\)"):
        agent.predict(np.zeros(4, np.float32))


@pytest.mark.parametrize("space", [Box(-1, 1, (2,)), spaces.Discrete(3), spaces.MultiBinary(2)])
@pytest.mark.parametrize("readout", ["argmax", "thresholds"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_an_observation_that_is_not_finite_is_no_action(space, readout, bad):
    sizes = config(action_space=space, readout=readout)
    agent = ControllerAgent(sizes, np.ones(sizes.parameter_count))
    with pytest.raises(ValueError, match=r"^observation: expected finite numbers, got .* index 1"):
        agent.predict(np.array([0.0, bad, 0.0]))


@pytest.mark.parametrize("parameters", [np.full(8, 1j), np.full(8, "1"), np.full(8, 1e300)])
def test_parameters_are_real(parameters):
    with pytest.raises(ValueError, match=r"^parameters: expected (real|finite) numbers"):
        ControllerAgent(config(), parameters)


def test_predict_keeps_the_batch_axis():
    agent = ControllerAgent(config(), np.ones(8))
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    many, _ = agent.predict(rows)
    assert many.shape == (5, 2)
    assert many.dtype == np.float32
    one, _ = agent.predict(rows[2], deterministic=True)
    assert one.shape == (2,)
    np.testing.assert_allclose(one, many[2], atol=1e-6)


def test_thresholds_may_choose_among_more_options_than_there_are_weights(tmp_path):
    sizes = config(action_space=spaces.Discrete(50), readout="thresholds")
    agent = ControllerAgent(sizes, np.ones(4))
    agent.save(tmp_path / "agent")
    loaded = load_agent(tmp_path / "agent")
    assert loaded.config == sizes
    assert loaded.predict(np.ones(3, np.float32))[0] == 49


def test_save_and_load_are_exact(tmp_path, ref):
    parameters = np.random.default_rng(1).normal(size=config(hidden_dims=(4,)).parameter_count)
    agent = ControllerAgent(config(hidden_dims=(4,)), parameters, world_model=ref)
    digest = agent.save(tmp_path / "agent", provenance={"seed": 1}, card="# Card\n")
    loaded = ControllerAgent.load(tmp_path / "agent")
    assert len(digest) == 64
    assert digest == agent.digest
    assert loaded.config == agent.config
    assert loaded.world_model == ref
    np.testing.assert_array_equal(loaded.parameters, agent.parameters)


def test_load_refuses_what_does_not_fit(tmp_path):
    save_artifact(
        tmp_path / "other",
        kind="agent",
        class_name="Other",
        config={},
        tensors={"w": torch.ones(1)},
    )
    with pytest.raises(ArtifactError, match=r"expected class ControllerAgent .* class Other"):
        ControllerAgent.load(tmp_path / "other")
    space = {"kind": "box", "low": [-1, -1], "high": [1, 1]}
    for name, broken in {
        "none": {},
        "size": {"controller": {"observation_dim": 9, "action_space": space}, "world_model": {}},
        "field": {"controller": {"surprise": 1}, "world_model": {}},
    }.items():
        save_artifact(
            tmp_path / name,
            kind="agent",
            class_name="ControllerAgent",
            config=broken,
            tensors={"parameters": torch.zeros(8)},
        )
        with pytest.raises(ArtifactError, match="expected the artifact of a controller"):
            ControllerAgent.load(tmp_path / name)
