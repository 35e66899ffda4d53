import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import wmrl  # noqa: F401 -- registers the environments
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.envs.planar_arm.env import PlanarArmEnv
from wmrl.envs.planar_arm.latent_env import PlanarArmLatentEnv
from wmrl.envs.planar_arm.latent_vector import PlanarArmLatentVectorEnv
from wmrl.storage.artifact import ArtifactError

ID = "vsg/PlanarArmLatent-v0"
PROBLEMS = [
    {},
    {"target": "random"},
    {"target": (0.5, 0.5), "obstacles": [(0.3, 0.3, 0.1)], "locks": {3: 0.5}},
    {"target": "random", "link_lengths": (3, 1, 2, 1, 1, 1)},
]


@pytest.fixture(scope="module", params=["vae", "vqvae"])
def encoding(request, tmp_path_factory):
    """The path of an encoding of arms of six joints."""
    generator = torch.Generator().manual_seed(0)
    if request.param == "vae":
        made = VectorVAE(VectorVAEConfig(input_dim=6, latent_dim=3), generator=generator)
    else:
        config = VectorVQVAEConfig(
            input_dim=6, num_tokens=4, codebook_size=7, code_dim=2, hidden_dims=(8,)
        )
        made = VectorVQVAE(config, generator=generator)
        made.quantizer.init_codebook(torch.randn(60, 2, generator=generator), generator=generator)
    path = tmp_path_factory.mktemp("encoding") / request.param
    made.save(path)
    return str(path)


@pytest.mark.parametrize("kwargs", PROBLEMS)
def test_both_checkers_pass_without_warnings(encoding, kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(ID, encoding=encoding, device="cpu", **kwargs).unwrapped
        assert isinstance(env, PlanarArmLatentEnv)
        check_env(env)
        check_env_for_sb3(env, skip_render_check=False)


@pytest.mark.parametrize("kwargs", PROBLEMS)
def test_the_decoded_pose_earns_what_it_does_in_the_planar_arm(encoding, kwargs):
    env = PlanarArmLatentEnv(encoding=encoding, device="cpu", **kwargs)
    plain = PlanarArmEnv(num_joints=6, **kwargs)
    env.action_space.seed(0)
    for seed in range(5):
        np.testing.assert_array_equal(env.reset(seed=seed)[0], plain.reset(seed=seed)[0])
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        pose = info.pop("pose")
        assert (pose.shape, pose.dtype) == ((6,), np.float32)
        again = plain.step(pose)
        np.testing.assert_array_equal(observation, again[0])
        assert (reward, terminated, truncated) == again[1:4]
        assert type(reward) is float
        assert set(info) == set(again[4])
        for name, value in again[4].items():
            np.testing.assert_array_equal(info[name], value)


def test_equals_a_batch_of_one_arm(encoding):
    env = PlanarArmLatentEnv(encoding=encoding, target="random", device="cpu")
    batch = PlanarArmLatentVectorEnv(1, encoding=encoding, target="random", device="cpu")
    np.testing.assert_array_equal(env.reset(seed=3)[0], batch.reset(seed=3)[0][0])
    env.action_space.seed(0)
    action = env.action_space.sample()
    assert env.step(action)[1] == batch.step(action[None])[1][0]


def test_spec_is_json_and_rebuilds_the_same_arm(encoding):
    for kwargs in PROBLEMS:
        env = gym.make(ID, encoding=encoding, **kwargs)
        again = gym.make(EnvSpec.from_json(env.spec.to_json()))
        assert env.unwrapped.arm == again.unwrapped.arm
        np.testing.assert_array_equal(env.reset(seed=1)[0], again.reset(seed=1)[0])
        env.action_space.seed(0)
        action = env.action_space.sample()
        assert env.step(action)[1] == again.step(action)[1]


def test_pickles_and_copies_are_the_same_arm(encoding):
    env = PlanarArmLatentEnv(encoding=encoding, device="cpu", **PROBLEMS[2])
    env.action_space.seed(0)
    action = env.action_space.sample()
    for other in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        assert other.arm == env.arm
        env.reset(seed=0), other.reset(seed=0)
        assert other.step(action)[1] == env.step(action)[1]


def test_an_object_is_taken_as_it_is():
    encoding = VectorVAE(VectorVAEConfig(input_dim=4, latent_dim=2))
    env = PlanarArmLatentEnv(encoding=encoding, device="cpu")
    assert env.action_space.shape == (2,)
    env.reset(seed=0)
    pose = env.step(np.zeros(2))[4]["pose"]
    with torch.no_grad():
        np.testing.assert_array_equal(pose, encoding.decode(torch.zeros(1, 2))[0].numpy())
    again = pickle.loads(pickle.dumps(env))
    again.reset(seed=0)
    np.testing.assert_array_equal(again.step(np.zeros(2))[4]["pose"], pose)


def test_renders_the_decoded_pose(encoding):
    env = PlanarArmLatentEnv(encoding=encoding, render_mode="rgb_array", target=(0.0, 0.5))
    env.reset(seed=0)
    rest = env.render()
    env.action_space.seed(0)
    pose = env.step(env.action_space.sample())[4]["pose"]
    plain = PlanarArmEnv(num_joints=6, render_mode="rgb_array", target=(0.0, 0.5))
    plain.reset(seed=0)
    np.testing.assert_array_equal(rest, plain.render())
    plain.step(pose)
    np.testing.assert_array_equal(env.render(), plain.render())
    assert (env.render() != rest).any()


def test_bad_calls_are_refused(encoding):
    env = PlanarArmLatentEnv(encoding=encoding, device="cpu")
    action = env.action_space.sample()
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.step(action)
    env.reset(seed=0)
    for bad, message in (
        (action[None], "action: expected shape"),
        (action[:2], "action: expected shape"),
        (np.full(action.shape, np.nan), "action: expected (finite numbers|integer codes)"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(bad)
    env.step(action)  # what was refused did not end the episode
    with pytest.raises(ResetNeeded, match=r"one pose per episode; call reset\(\) first"):
        env.step(action)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_joints": 20}, "num_joints: expected 6 joints .as in the encoding., got 20"),
        ({"link_lengths": [1, 1]}, "link_lengths: expected 6 joints .* got 2; use 6"),
        ({"link_lengths": 3}, "link_lengths: expected a sequence with one number"),
        ({"target": (2, 0)}, "target: expected a point at a distance from 0 to 1"),
        ({"latent_limit": 0}, "latent_limit: expected above 0, got 0"),
        ({"device": "abacus"}, "device: expected"),
        ({"locks": {6: 0.0}}, "locks: expected joints from 0 to 5"),
    ],
)
def test_bad_arguments_are_refused(encoding, kwargs, message):
    with pytest.raises(ValueError, match=message):
        PlanarArmLatentEnv(encoding=encoding, **kwargs)
    with pytest.raises(ArtifactError, match="no artifact"):
        PlanarArmLatentEnv(encoding="nowhere")
