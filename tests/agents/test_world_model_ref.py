import pytest

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.world_model_ref import eye_entry, open_world_model
from wmrl.envs.world_model import WorldModel


def test_leads_back_to_the_world_model(tiny):
    world_model = WorldModel.open("car-racing", tiny.vision, tiny.memory, frame_skip=3)
    entry = eye_entry(world_model, vision=tiny.vision, memory=tiny.memory)
    assert entry == {
        "task": "car-racing",
        "vision": str(tiny.vision),
        "memory": str(tiny.memory),
        "vision_digest": tiny.vision_digest,
        "memory_digest": tiny.memory_digest,
        "frame_skip": 3,
    }
    config = ControllerConfig(observation_dim=24, action_dim=2)
    agent = ControllerAgent(config, [0.0] * config.parameter_count, world_model=entry)
    opened = open_world_model(agent)
    assert opened.frame_skip == 3
    assert opened.memory.digest == tiny.memory_digest


def test_names_match_the_parts(tiny):
    blind = WorldModel.open("car-racing", tiny.vision, None)
    assert eye_entry(blind, vision="shipped")["memory_digest"] is None
    with pytest.raises(ValueError, match="memory: expected None, got 'name'"):
        eye_entry(blind, vision="shipped", memory="name")
    with pytest.raises(ValueError, match="memory: expected a name or path, got None"):
        eye_entry(WorldModel.open("car-racing", tiny.vision, tiny.memory), vision="shipped")


@pytest.mark.parametrize(
    ("vision", "memory"),
    [("car-racing-vae", "car-racing-mdnrnn"), ("car-racing-vqvae", "car-racing-symbols")],
)
def test_the_memory_of_a_shipped_world_model_has_a_name(vision, memory):
    world_model = WorldModel.open("car-racing", vision, "auto")
    entry = eye_entry(world_model, vision=vision, memory="auto")
    assert (entry["memory"], entry["memory_digest"]) == (memory, world_model.memory.digest)
