"""A game that the library knows nothing of goes through frames, latents and dreams."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.latent.vector import LatentVectorEnv


def test_frames_come_from_render(pixel_task):
    env = FrameVectorEnv(2, task=pixel_task, workers=2)
    frames, _ = env.reset(seed=0)
    assert frames.shape == (2, 64, 64, 3)
    assert frames.std() > 10
    after = env.step(np.ones((2, 1)))[0]
    assert not np.array_equal(frames, after)  # the car moved
    env.close()


@pytest.mark.parametrize("kind", [LatentEnv, DreamEnv])
def test_both_checkers_pass(kind, pixel_task, pixel_tiny):
    env = kind(task=pixel_task, **pixel_tiny.kwargs)
    check_env(env, skip_render_check=True)
    check_env_for_sb3(env)


def test_latents_and_dreams_share_spaces_and_episodes_end(pixel_task, pixel_tiny):
    latent = LatentVectorEnv(4, task=pixel_task, workers=2, **pixel_tiny.kwargs)
    dream = DreamEnv(task=pixel_task, max_episode_steps=6, **pixel_tiny.kwargs)
    assert latent.single_observation_space == dream.observation_space
    assert latent.single_action_space == dream.action_space
    observation, _ = latent.reset(seed=0)
    returns = np.zeros(4)
    for t in range(6):
        observation, reward, _, truncated, _ = latent.step(np.full((4, 1), 0.5))
        assert observation in latent.observation_space
        assert truncated.all() == (t == 5)
        returns += reward
    np.testing.assert_allclose(returns, -0.1 * 0.25 * 12)  # the game's cost of 12 base frames
    latent.close()
