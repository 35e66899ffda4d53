from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import load_memory
from wmrl.memory.ensemble import MemoryEnsemble
from wmrl.memory.mdn_rnn import MDNRNN
from wmrl.storage.artifact import ArtifactError
from wmrl.vision.base import load_vision

THREE_PEDALS = replace(
    CAR_RACING,
    action_space=spaces.Box(-1.0, 1.0, (3,), np.float32),
    action_names=(),
    explore_low=(),
    explore_high=(),
)


def test_opens_names_paths_and_objects_alike(tiny):
    by_path = WorldModel.open("car-racing", tiny.vision, tiny.memory, device="cpu")
    vision, memory = load_vision(tiny.vision), load_memory(tiny.memory)
    by_object = WorldModel.open(CAR_RACING, vision, memory)
    assert by_object.vision is vision
    assert by_object.memory is memory
    assert by_path.vision.digest == tiny.vision_digest
    assert by_path.memory.digest == tiny.memory_digest
    assert by_path.observation_space == by_object.observation_space


def test_spaces_are_finite_and_sized_by_vision_and_memory(tiny):
    with_memory = WorldModel.open("car-racing", tiny.vision, tiny.memory)
    alone = WorldModel.open("car-racing", tiny.vision, None)
    assert with_memory.observation_space.shape == (8 + 16,)
    assert alone.observation_space.shape == (8,)
    assert np.isfinite(with_memory.observation_space.high).all()
    assert with_memory.action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)


@pytest.mark.parametrize("num_members", [1, 2])
def test_a_memory_may_show_its_cell_state(make_tiny, num_members):
    """The real game and the dream observe [z, c, h], and the dream goes on from the game."""
    tiny = make_tiny()
    hidden = load_memory(tiny.memory, device="cpu")
    memory = MDNRNN(replace(hidden.config, features="cell_and_hidden"))
    memory.set_start_states(hidden.start_mean, hidden.start_std, hidden.start_actions)
    memory.load_state_dict(hidden.state_dict())
    if num_members > 1:
        memory = MemoryEnsemble.of([memory] * num_members)
    kwargs = {"vision": tiny.vision, "device": "cpu", "render_mode": "rgb_array"}
    latent, dream = LatentEnv(memory=memory, **kwargs), DreamEnv(memory=memory, **kwargs)
    for env in (latent, dream):
        assert env.observation_space == env.world_model.observation_space
        assert env.observation_space.shape == (8 + 2 * 16,)
        check_env(env, skip_render_check=True)
    latent.reset(seed=0)
    for _ in range(3):
        observation, *_ = latent.step(np.array([0.3, 0.5], np.float32))
    z, (h, c) = latent.state.latent, latent.state.memory[:2]
    np.testing.assert_array_equal(observation, torch.cat((z, c, h), 1)[0])
    assert c.any()
    again, _ = dream.reset(options={"state": latent.state})
    np.testing.assert_array_equal(again, observation)
    alone = LatentEnv(memory=hidden, **kwargs)
    alone.reset(seed=0)
    for _ in range(3):
        other, *_ = alone.step(np.array([0.3, 0.5], np.float32))
    np.testing.assert_array_equal(other, np.delete(observation, np.s_[8:24]))


def test_frame_skip_is_the_memorys_then_the_tasks_unless_given(tiny):
    other = replace(CAR_RACING, frame_skip=3)
    assert WorldModel.open(other, tiny.vision, tiny.memory).frame_skip == 4
    assert WorldModel.open(other, tiny.vision, None).frame_skip == 3
    assert WorldModel.open(other, tiny.vision, tiny.memory, frame_skip=1).frame_skip == 1
    assert WorldModel.open(other, tiny.vision, tiny.memory).fps == 12.5


def test_objects_are_put_in_evaluation_mode(tiny):
    vision, memory = load_vision(tiny.vision).train(), load_memory(tiny.memory).train()
    WorldModel.open("car-racing", vision, memory)
    assert not vision.training
    assert not memory.training


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task": "pong"}, ValueError, "task: expected one of .*car-racing.*got 'pong'"),
        ({"vision": "no-such-vision"}, ArtifactError, "no artifact 'no-such-vision': expected"),
        ({"memory": "no-such-memory"}, ArtifactError, "no artifact 'no-such-memory'"),
        ({"vision": 3}, ValueError, "vision: expected a vision model .* got 3; train one"),
        ({"memory": 3}, ValueError, "memory: expected a memory model, .* got 3; train one"),
        ({"device": "abacus"}, ValueError, "device: expected .* got 'abacus'"),
        ({"device": "cuda:99"}, ValueError, "device: expected an available device"),
        ({"frame_skip": 0}, ValueError, "frame_skip: expected at least 1, got 0"),
        (
            {"task": replace(CAR_RACING, name="other")},
            ArtifactError,
            "memory: expected task 'other', got 'car-racing'",
        ),
        (
            {"task": replace(CAR_RACING, frame_size=(32, 32))},
            ArtifactError,
            r"vision: expected frames of shape \(32, 32, 3\) as in the task 'car-racing', got .* "
            r"for frames of shape \(64, 64, 3\); .* whose name ends in '@64x64x3'",
        ),
        (
            {"task": "car-racing@64x64x1"},
            ArtifactError,
            r"\(64, 64, 1\) as in the task 'car-racing@64x64x1', got .* of shape \(64, 64, 3\)",
        ),
        ({"task": THREE_PEDALS}, ArtifactError, "memory: expected action_dim 3, got 2"),
    ],
)
def test_what_does_not_fit_is_refused(tiny, change, error, message):
    arguments = {"task": "car-racing", "vision": tiny.vision, "memory": tiny.memory} | change
    with pytest.raises(error, match=message):
        WorldModel.open(**arguments)


def test_a_memory_of_another_vision_is_refused(tiny, make_tiny):
    other = make_tiny(seed=1)
    with pytest.raises(ArtifactError, match=f"model with digest {other.vision_digest[:12]}…"):
        WorldModel.open("car-racing", tiny.vision, other.memory)


def test_a_vision_in_a_memorys_place_is_refused(tiny):
    with pytest.raises(ArtifactError, match="expected an artifact of kind 'memory', got 'vision'"):
        WorldModel.open("car-racing", tiny.vision, tiny.vision)


def test_a_damaged_artifact_is_refused(make_tiny):
    broken = make_tiny(seed=2)
    weights = broken.vision / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="damaged"):
        WorldModel.open("car-racing", broken.vision, broken.memory)


def test_clip_bounds_and_checks_actions(tiny):
    world_model = WorldModel.open("car-racing", tiny.vision, None)
    clipped = world_model.check_actions(np.array([[2.0, -3.0], [0.5, 1e300]]), (2,))
    np.testing.assert_array_equal(clipped, np.float32([[1.0, -1.0], [0.5, 1.0]]))
    assert clipped.dtype == np.float32
    with pytest.raises(ValueError, match=r"action: expected shape \(2,\), got \(3,\)"):
        world_model.check_actions(np.zeros(3), ())
    with pytest.raises(ValueError, match=r"action: expected shape \(4, 2\), got \(2,\)"):
        world_model.check_actions(np.zeros(2), (4,))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(
            ValueError, match=f"action: expected finite numbers, got {bad} at index 1"
        ):
            world_model.check_actions(np.array([0.0, bad]), ())


def test_an_explicit_device_moves_objects(tiny):
    vision = load_vision(tiny.vision, device="cpu")
    assert WorldModel.open("car-racing", vision, None, device="cpu").device == torch.device("cpu")
