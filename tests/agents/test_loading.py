import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.storage.artifact import ArtifactError, save_artifact


@pytest.fixture
def saved(tmp_path):
    config = ControllerConfig(observation_dim=2, action_space=Box(-1, 1, (1,)))
    ControllerAgent(config, np.array([1.0, 2.0, 0.0])).save(tmp_path / "agent")
    return tmp_path / "agent"


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_opens_the_class_that_was_saved(saved, device):
    agent = load_agent(saved, device=device)
    assert type(agent) is ControllerAgent
    action, _ = agent.predict(np.array([0.1, 0.2], np.float32))
    np.testing.assert_allclose(action, np.tanh([0.5]), atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_acts_on_an_accelerator(saved):
    rows = np.ones((3, 2), np.float32)
    there = load_agent(saved, device="cuda").predict(rows)[0]
    np.testing.assert_allclose(there, load_agent(saved).predict(rows)[0], atol=1e-5)


def test_errors(saved, tmp_path, tiny):
    with pytest.raises(ValueError, match="device: expected 'auto'"):
        load_agent(saved, device="abacus")
    with pytest.raises(ArtifactError, match="no artifact 'nobody'"):
        load_agent("nobody")
    with pytest.raises(ArtifactError, match="expected an artifact of kind 'agent', got 'vision'"):
        load_agent(tiny.vision)
    save_artifact(
        tmp_path / "new", kind="agent", class_name="Later", config={}, tensors={"w": torch.ones(1)}
    )
    with pytest.raises(ArtifactError, match=r"unknown agent class 'Later': expected one of 'Con"):
        load_agent(tmp_path / "new")
