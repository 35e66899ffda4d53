import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import ArtifactError

CONFIG = ControllerConfig(observation_dim=24, action_space=Box(-1, 1, (2,)))


def agent(ref: WorldModelRef | None) -> ControllerAgent:
    return ControllerAgent(CONFIG, np.zeros(CONFIG.parameter_count), world_model=ref)


def test_leads_back_to_the_world_model(tiny: Any) -> None:
    world_model = WorldModel.open("car-racing", tiny.vision, tiny.memory, frame_skip=3)
    ref = WorldModelRef.of(world_model, vision=tiny.vision, memory=tiny.memory)
    assert asdict(ref) == {
        "task": "car-racing",
        "vision": str(tiny.vision),
        "memory": str(tiny.memory),
        "vision_digest": tiny.vision_digest,
        "memory_digest": tiny.memory_digest,
        "frame_skip": 3,
    }
    opened = agent(ref).open_world_model(device="cpu")
    assert opened.observation_space.shape == (24,)
    assert opened.frame_skip == 3
    assert opened.memory is not None
    assert opened.memory.digest == tiny.memory_digest


def test_the_config_of_an_artifact_holds_it(tiny: Any, tmp_path: Path) -> None:
    agent(tiny.ref()).save(tmp_path / "agent")
    config = json.loads((tmp_path / "agent" / "config.json").read_text())["config"]
    assert config["world_model"] == asdict(tiny.ref())
    assert load_agent(tmp_path / "agent").world_model == tiny.ref()
    agent(None).save(tmp_path / "none")
    assert load_agent(tmp_path / "none").world_model is None


def test_names_match_the_parts(tiny: Any) -> None:
    blind = WorldModel.open("car-racing", tiny.vision, None)
    assert WorldModelRef.of(blind, vision=tiny.vision).memory_digest is None
    with pytest.raises(ValueError, match="memory: expected None, got 'name'"):
        WorldModelRef.of(blind, vision=tiny.vision, memory="name")
    seeing = WorldModel.open("car-racing", tiny.vision, tiny.memory)
    with pytest.raises(ValueError, match="memory: expected a name or path, got None"):
        WorldModelRef.of(seeing, vision=tiny.vision)


def test_paths_are_absolute_or_relative(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("vision", "memory"):
        shutil.copytree(getattr(tiny, part), tmp_path / "run" / part)
    monkeypatch.chdir(tmp_path)
    world_model = WorldModel.open("car-racing", "run/vision", "run/memory", device="cpu")
    ref = WorldModelRef.of(world_model, vision="run/vision", memory="run/memory")
    assert (ref.vision, ref.memory) == (
        str(tmp_path / "run/vision"),
        str(tmp_path / "run/memory"),
    )
    ref = WorldModelRef.of(
        world_model, vision="run/vision", memory="run/memory", relative_to="run/agent"
    )
    assert (ref.vision, ref.memory) == ("../vision", "../memory")
    agent(ref).save("run/agent")
    (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    opened = load_agent(tmp_path / "moved" / "agent").open_world_model()
    assert opened.vision.digest == tiny.vision_digest
    with pytest.raises(ArtifactError, match="no artifact 'nothing'"):
        WorldModelRef.of(world_model, vision="nothing", memory="auto-or-not")


@pytest.mark.parametrize(
    ("vision", "memory"),
    [("car-racing-vae", "car-racing-mdnrnn"), ("car-racing-vqvae", "car-racing-symbols")],
)
def test_the_memory_of_a_shipped_world_model_has_a_name(vision: str, memory: str) -> None:
    world_model = WorldModel.open("car-racing", vision, "auto")
    ref = WorldModelRef.of(world_model, vision=vision, memory="auto")
    assert world_model.memory is not None
    assert (ref.vision, ref.memory) == (vision, memory)
    assert ref.memory_digest == world_model.memory.digest


def test_a_world_model_that_moved_can_be_named(tiny: Any) -> None:
    moved = agent(replace(tiny.ref(), vision="/gone", memory="/gone"))
    with pytest.raises(ArtifactError, match="no artifact '/gone'"):
        moved.open_world_model()
    world_model = moved.open_world_model(vision=tiny.vision, memory=tiny.memory)
    assert world_model.vision.digest == tiny.vision_digest


@pytest.mark.parametrize("part", ["vision", "memory"])
def test_another_world_model_is_refused(tiny: Any, part: str) -> None:
    other = agent(replace(tiny.ref(), **{f"{part}_digest": "0" * 64}))
    with pytest.raises(ArtifactError, match=rf"{part}: .* trained with \(digest 000000000000…"):
        other.open_world_model()


def test_an_agent_without_a_reference_opens_what_is_named(tiny: Any) -> None:
    lost = agent(None)
    for names in ({}, {"task": "car-racing"}, {"vision": tiny.vision}):
        with pytest.raises(ArtifactError, match="a reference to its world model, got none; name"):
            lost.open_world_model(**names)
    opened = lost.open_world_model(task="car-racing", vision=tiny.vision, memory=tiny.memory)
    assert opened.memory is not None
    assert opened.memory.digest == tiny.memory_digest


def test_a_reference_cannot_name_code_to_import(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_task.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ArtifactError, match="agent: its world model cannot be opened"):
        replace(tiny.ref(), task="evil_task:x").open()


def test_errors(tiny: Any) -> None:
    with pytest.raises(ValueError, match="frame_skip: expected at least 1, got 0"):
        replace(tiny.ref(), frame_skip=0)
