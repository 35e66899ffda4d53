import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo, TimeLimit
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.dream.vector import DreamVectorEnv

ID = "vsg/CarRacingDream-v0"


@pytest.fixture
def make(tiny):
    return lambda **kwargs: DreamEnv(**(tiny.kwargs | kwargs))


def rollout(env, *, seed=0, steps=20):
    env.action_space.seed(0)
    seen = [env.reset(seed=seed)[0]]
    rewards = []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        seen.append(observation)
        rewards.append(reward)
        if terminated or truncated:
            seen.append(env.reset()[0])
    return np.stack(seen), np.array(rewards)


def test_both_checkers_pass(tiny):
    env = gym.make(ID, **tiny.kwargs).unwrapped
    check_env(env)
    check_env_for_sb3(env, skip_render_check=False)


def test_made_by_its_id_from_either_name(tiny):
    env = gym.make(f"wmrl:{ID}", max_episode_steps=3, **tiny.kwargs)
    assert isinstance(env, TimeLimit)
    assert isinstance(env.unwrapped, DreamEnv)
    assert gym.make(ID, **tiny.kwargs).spec.max_episode_steps == 250
    env.reset(seed=0)
    results = [env.step(env.action_space.sample()) for _ in range(3)]
    assert [truncated for *_, truncated, _ in results] == [False, False, True]


def test_equals_a_batch_of_one_dream(make, tiny):
    env = make()
    batch = DreamVectorEnv(1, autoreset_mode="Disabled", **tiny.kwargs)
    observation, _ = env.reset(seed=3)
    observations, _ = batch.reset(seed=3)
    np.testing.assert_array_equal(observation, observations[0])
    action = np.array([0.3, 2.0])
    observation, reward, terminated, truncated, info = env.step(action)
    observations, rewards, terminations, *_ = batch.step(action[None])
    np.testing.assert_array_equal(observation, observations[0])
    assert (reward, terminated, truncated, info) == (rewards[0], terminations[0], False, {})
    assert type(reward) is float
    assert type(terminated) is bool


def test_its_own_limit_truncates(make):
    env = make(max_episode_steps=2)
    env.reset(seed=0)
    assert not env.step(np.zeros(2))[3]
    assert env.step(np.zeros(2))[3]
    with pytest.raises(ResetNeeded, match="no dream is running"):
        env.step(np.zeros(2))


def test_seeds_and_only_seeds_decide(make):
    first, again, other = (rollout(make(), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_spec_is_json_and_rebuilds_the_same_dream(tiny):
    env = gym.make(ID, temperature=1.2, dropout=True, **tiny.kwargs)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    np.testing.assert_array_equal(rollout(env)[1], rollout(again)[1])


def test_pickles_and_copies_hold_arguments_not_weights(make):
    env = make(temperature=1.2)
    data = pickle.dumps(env)
    assert len(data) < 4000
    np.testing.assert_array_equal(rollout(pickle.loads(data))[1], rollout(env)[1])
    np.testing.assert_array_equal(rollout(copy.deepcopy(env))[1], rollout(env)[1])


def test_renders_the_decoded_latent(make):
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (384, 384, 3)
    small = env.world_model.vision.decode_numpy(env.state.latent.numpy())[0]
    assert np.abs(frame[3::6, 3::6].astype(int) - small).mean() < 2
    assert make().render() is None


def test_human_mode_opens_and_closes_a_window(make):
    import pygame

    env = make(render_mode="human")
    env.metadata["render_fps"] = 1000
    env.reset(seed=0)
    env.step(np.zeros(2))
    assert pygame.display.get_surface().get_size() == (384, 384)
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()
    env.close()


def test_record_video_works(tiny, tmp_path):
    env = gym.make(ID, render_mode="rgb_array", max_episode_steps=4, **tiny.kwargs)
    env = RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    done = False
    while not done:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        done = terminated or truncated
    env.close()
    (video,) = tmp_path.glob("videos/*.mp4")
    assert video.stat().st_size > 1000


def test_bad_calls_are_refused(make):
    env = make()
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.step(np.zeros(2))
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.state  # noqa: B018
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action: expected shape \(2,\), got \(1, 2\)"):
        env.step(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="temperature: expected above 0, got -1"):
        make(temperature=-1)
