from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.world_model_ref import open_driver, open_eye
from wmrl.storage.artifact import ArtifactError


def save_driver(path: Path, tiny: Any, **eye: Any) -> Path:
    known = {
        "task": "car-racing",
        "vision": str(tiny.vision),
        "memory": str(tiny.memory),
        "vision_digest": tiny.vision_digest,
        "memory_digest": tiny.memory_digest,
        "frame_skip": 2,
    }
    config = ControllerConfig(observation_size=24, action_size=2)
    ControllerAgent(config, np.zeros(config.parameter_count), eye={**known, **eye}).save(path)
    return path


def test_a_driver_comes_with_its_eye(tiny: Any, tmp_path: Path) -> None:
    agent, eye = open_driver(save_driver(tmp_path / "agent", tiny), device="cpu")
    assert eye.observation_space.shape == agent.observation_space.shape == (24,)
    assert eye.frame_skip == 2
    assert eye.memory is not None
    assert eye.memory.digest == tiny.memory_digest


def test_an_eye_that_moved_can_be_named(tiny: Any, tmp_path: Path) -> None:
    path = save_driver(tmp_path / "agent", tiny, vision="/gone", memory="/gone")
    with pytest.raises(ArtifactError, match="no artifact '/gone'"):
        open_driver(path)
    _, eye = open_driver(path, vision=tiny.vision, memory=tiny.memory)
    assert eye.vision.digest == tiny.vision_digest


@pytest.mark.parametrize("part", ["vision", "memory"])
def test_another_eye_is_refused(tiny: Any, tmp_path: Path, part: str) -> None:
    path = save_driver(tmp_path / "agent", tiny, **{f"{part}_digest": "0" * 64})
    with pytest.raises(ArtifactError, match=f"{part}: the agent was trained with 000000000000…"):
        open_driver(path)


def test_an_agent_without_an_eye_is_refused() -> None:
    config = ControllerConfig(observation_size=3, action_size=2)
    with pytest.raises(ArtifactError, match="doesn't say which eye"):
        open_eye(ControllerAgent(config, np.zeros(config.parameter_count)))


def test_an_artifact_cannot_name_code_to_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_task.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    config = ControllerConfig(observation_size=3, action_size=2)
    eye = {"task": "evil_task:x", "vision": "car-racing-vae"}
    agent = ControllerAgent(config, np.zeros(config.parameter_count), eye=eye)
    with pytest.raises(ArtifactError, match="agent: its eye can't be opened"):
        open_eye(agent)
