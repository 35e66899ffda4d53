import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

import wmrl  # noqa: F401 -- registers the environments
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.envs.planar_arm.latent_env import PlanarArmLatentEnv
from wmrl.envs.planar_arm.latent_vector import PlanarArmLatentVectorEnv
from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv

ID = "vsg/PlanarArmLatent-v0"
N = 5


@pytest.fixture(params=["vae", "vqvae"])
def encoding(request):
    generator = torch.Generator().manual_seed(0)
    if request.param == "vae":
        return VectorVAE(VectorVAEConfig(input_dim=6, latent_dim=3), generator=generator)
    config = VectorVQVAEConfig(
        input_dim=6, num_tokens=4, codebook_size=7, code_dim=2, hidden_dims=(8,)
    )
    made = VectorVQVAE(config, generator=generator)
    made.quantizer.init_codebook(torch.randn(60, 2, generator=generator), generator=generator)
    return made


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_is_a_batch_of_planar_arms_at_the_decoded_poses(encoding, mode):
    kwargs = {"target": "random", "obstacles": [(0.3, 0.3, 0.2)], "autoreset_mode": mode}
    env = PlanarArmLatentVectorEnv(N, encoding=encoding, device="cpu", **kwargs)
    plain = PlanarArmVectorEnv(N, num_joints=6, **kwargs)
    np.testing.assert_array_equal(env.reset(seed=0)[0], plain.reset(seed=0)[0])
    env.action_space.seed(0)
    for _ in range(3):
        action = env.action_space.sample()
        observation, reward, terminated, _, infos = env.step(action)
        poses = env._latents.poses(action)
        again = plain.step(poses)
        np.testing.assert_array_equal(observation, again[0])
        np.testing.assert_array_equal(reward, again[1])
        np.testing.assert_array_equal(terminated, again[2])
        known = infos.get("final_info", infos)
        if reward.any():
            np.testing.assert_array_equal(known["pose"], poses)
            assert known["_pose"].all()
            assert set(known) - {"pose", "_pose"} == set(again[4].get("final_info", again[4]))


def test_is_what_single_arms_are_together(encoding):
    batch = PlanarArmLatentVectorEnv(N, encoding=encoding, device="cpu", target=(0.5, 0.4))
    single = PlanarArmLatentEnv(encoding=encoding, device="cpu", target=(0.5, 0.4))
    batch.reset(seed=0)
    batch.action_space.seed(0)
    actions = batch.action_space.sample()
    _, rewards, _, _, infos = batch.step(actions)
    for row, action in enumerate(actions):
        single.reset()
        _, reward, *_, info = single.step(action)
        # A network's sums depend on how many rows there are, by rounding.
        assert reward == pytest.approx(rewards[row], abs=1e-5)
        np.testing.assert_allclose(info["pose"], infos["pose"][row], atol=1e-6)


def test_make_vec_gives_batched_spaces_and_round_trips_its_spec(encoding, tmp_path):
    encoding.save(tmp_path / "a")
    env = gym.make_vec(ID, num_envs=N, encoding=str(tmp_path / "a"), target="random")
    assert isinstance(env, PlanarArmLatentVectorEnv)
    assert env.encoding.digest == encoding.digest
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert info == {}
    assert env.action_space.shape == (N, *env.single_action_space.shape)
    observation, reward, *_, info = env.step(env.action_space.sample())
    assert observation in env.observation_space
    assert (reward.shape, info["pose"].shape) == ((N,), (N, 6))
    again = gym.make_vec(EnvSpec.from_json(env.spec.to_json()))
    assert (again.arm, again.num_envs) == (env.arm, N)


def test_bad_actions_are_refused(encoding):
    env = PlanarArmLatentVectorEnv(2, encoding=encoding, device="cpu")
    env.reset(seed=0)
    action = env.action_space.sample()
    with pytest.raises(ValueError, match=r"action: expected shape \(2, "):
        env.step(action[:1])
    bad = action.astype(float)
    bad[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"action: expected (finite numbers|integer codes)"):
        env.step(bad)
    with pytest.raises(ValueError, match="num_joints: expected 6 joints"):
        PlanarArmLatentVectorEnv(2, encoding=encoding, num_joints=5)
