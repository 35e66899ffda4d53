import pytest

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.world_model_ref import eye_entry, open_eye
from wmrl.envs.world_model import Eye


def test_leads_back_to_the_eye(tiny):
    eye = Eye.open("car-racing", tiny.vision, tiny.memory, frame_skip=3)
    entry = eye_entry(eye, vision=tiny.vision, memory=tiny.memory)
    assert entry == {
        "task": "car-racing",
        "vision": str(tiny.vision),
        "memory": str(tiny.memory),
        "vision_digest": tiny.vision_digest,
        "memory_digest": tiny.memory_digest,
        "frame_skip": 3,
    }
    config = ControllerConfig(observation_size=24, action_size=2)
    agent = ControllerAgent(config, [0.0] * config.parameter_count, eye=entry)
    opened = open_eye(agent)
    assert opened.frame_skip == 3
    assert opened.memory.digest == tiny.memory_digest


def test_names_match_the_parts(tiny):
    blind = Eye.open("car-racing", tiny.vision, None)
    assert eye_entry(blind, vision="shipped")["memory_digest"] is None
    with pytest.raises(ValueError, match="memory: expected None, got 'name'"):
        eye_entry(blind, vision="shipped", memory="name")
    with pytest.raises(ValueError, match="memory: expected a name or path, got None"):
        eye_entry(Eye.open("car-racing", tiny.vision, tiny.memory), vision="shipped")


@pytest.mark.parametrize(
    ("vision", "memory"),
    [("car-racing-vae", "car-racing-mdnrnn"), ("car-racing-vqvae", "car-racing-symbols")],
)
def test_the_memory_of_a_shipped_eye_has_a_name(vision, memory):
    eye = Eye.open("car-racing", vision, "auto")
    entry = eye_entry(eye, vision=vision, memory="auto")
    assert (entry["memory"], entry["memory_digest"]) == (memory, eye.memory.digest)
