"""Observations as codes, in every environment."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from wmrl.envs.observations import ObservationFormat
from wmrl.envs.world_model import WorldModel

LATENT, DREAM = "vsg/CarRacingLatent-v0", "vsg/CarRacingDream-v0"


@pytest.fixture(scope="module")
def discrete(make_tiny: Any) -> dict[str, Any]:
    kwargs: dict[str, Any] = make_tiny(discrete=True).kwargs
    return kwargs


@pytest.mark.parametrize("name", [LATENT, DREAM])
def test_both_checkers_pass(discrete: dict[str, Any], name: str) -> None:
    env = gym.make(name, observation="codes", **discrete).unwrapped
    assert env.observation_space["codes"] == spaces.MultiDiscrete([6] * 4)
    assert env.observation_space["memory"].shape == (16,)
    check_env(env, skip_render_check=True)
    check_env_for_sb3(env, skip_render_check=True)


def test_codes_alone(discrete: dict[str, Any]) -> None:
    env = gym.make(LATENT, observation="codes", **discrete | {"memory": None}).unwrapped
    assert env.observation_space == spaces.MultiDiscrete([6] * 4)
    check_env(env, skip_render_check=True)


@pytest.mark.parametrize("name", [LATENT, DREAM])
def test_codes_are_those_of_the_embeddings(discrete: dict[str, Any], name: str) -> None:
    plain, coded = (
        gym.make(name, observation=formatting, **discrete) for formatting in ("embeddings", "codes")
    )
    action = np.array([0.3, 0.5], np.float32)
    pairs = [(plain.reset(seed=4)[0], coded.reset(seed=4)[0])]
    for _ in range(5):
        pairs.append((plain.step(action)[0], coded.step(action)[0]))
    vision = plain.unwrapped.world_model.vision
    for numbers, codes in pairs:
        expected = vision.latents_of(torch.from_numpy(codes["codes"])[None])[0]
        np.testing.assert_array_equal(numbers[:8], expected)
        np.testing.assert_array_equal(numbers[8:], codes["memory"])


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("name", [LATENT, DREAM])
def test_batches_of_codes(discrete: dict[str, Any], name: str, mode: str) -> None:
    options = {"workers": 0} if name == LATENT else {}
    env = gym.make_vec(
        name,
        num_envs=3,
        observation="codes",
        max_episode_steps=2,
        autoreset_mode=mode,
        **options,
        **discrete,
    )
    observations, _ = env.reset(seed=0)
    assert observations["codes"].shape == (3, 4)
    assert observations["memory"].shape == (3, 16)
    for _ in range(2):
        observations, *_, info = env.step(np.zeros((3, 2), np.float32))
    assert env.observation_space["codes"].contains(observations["codes"])
    if mode == "SameStep":
        final = [observation for observation in info["final_obs"] if observation is not None]
        assert final
        assert all(env.single_observation_space.contains(observation) for observation in final)
    env.close()


def test_sb3_learns_from_codes(discrete: dict[str, Any]) -> None:
    env = gym.make(DREAM, observation="codes", max_episode_steps=8, **discrete)
    model = PPO("MultiInputPolicy", env, n_steps=16, batch_size=8, n_epochs=1)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(32)
    pairs = zip(before, model.policy.parameters(), strict=True)
    assert not any(torch.equal(old, new) for old, new in pairs)


def test_what_can_not_be_shown_is_named(make_tiny: Any, discrete: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"observation: expected a VQ-VAE as vision .* got a VAE"):
        gym.make(LATENT, observation="codes", **make_tiny().kwargs)
    world_model = WorldModel.open("car-racing", discrete["vision"], None)
    with pytest.raises(ValueError, match="observation: expected one of 'embeddings', 'codes'"):
        ObservationFormat(world_model, "x")  # type: ignore[arg-type]
