import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.env import LatentEnv
from wmrl.storage.artifact import ArtifactError

ID = "vsg/CarRacingLatent-v0"


@pytest.fixture
def make(tiny):
    return lambda **kwargs: LatentEnv(**(tiny.kwargs | kwargs))


def test_both_checkers_pass(tiny):
    env = gym.make(ID, **tiny.kwargs).unwrapped
    check_env(env)
    check_env_for_sb3(env, skip_render_check=False)


def test_spaces_equal_the_dreams(tiny):
    latent = gym.make(ID, **tiny.kwargs)
    dream = gym.make("vsg/CarRacingDream-v0", **tiny.kwargs)
    assert latent.observation_space == dream.observation_space
    assert latent.action_space == dream.action_space
    assert latent.unwrapped.metadata["render_fps"] == dream.unwrapped.metadata["render_fps"]


@torch.inference_mode()
def test_observations_are_what_vision_and_memory_make_of_the_frames(make):
    env, game = make(), FrameEnv("car-racing")
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    seen, frames = [env.reset(seed=3)[0]], [game.reset(seed=3)[0]]
    for action in actions:
        observation, reward, *flags = env.step(action)
        frame, game_reward, *game_flags = game.step(action)
        assert reward == game_reward
        assert flags == game_flags
        np.testing.assert_array_equal(env.frame, frame)
        seen.append(observation)
        frames.append(frame)
    z = env.world_model.vision.encode(torch.from_numpy(np.stack(frames)))
    np.testing.assert_allclose(np.stack(seen)[:, :8], z, atol=1e-5)
    _, state = env.world_model.memory(z[None, :5], torch.from_numpy(actions)[None])
    np.testing.assert_allclose(seen[5][8:], env.world_model.memory.features(state)[0], atol=1e-5)
    assert not seen[0][8:].any()


def test_a_reset_clears_the_state(make):
    env = make()
    first, _ = env.reset(seed=3)
    env.step(np.ones(2))
    again, _ = env.reset(seed=3)
    np.testing.assert_array_equal(first, again)


def test_without_a_memory_the_observation_is_z(make):
    env = make(memory=None)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (8,)
    assert env.step(np.zeros(2))[4]["frames"] == 4


def test_frame_skip_counts_base_frames(make):
    env = make(frame_skip=10)
    env.reset(seed=0)
    assert env.step(np.zeros(2))[4]["frames"] == 10
    assert env.metadata["render_fps"] == 5.0


def test_gymnasiums_own_base_gives_the_same_rewards(make):
    ours, theirs = make(), make(base="CarRacing-v3")
    ours.reset(seed=1), theirs.reset(seed=1)
    for _ in range(3):
        mine, yours = ours.step(np.array([0.1, 0.5])), theirs.step(np.array([0.1, 0.5]))
        assert mine[1:4] == yours[1:4]
        difference = np.abs(ours.frame.astype(int) - theirs.frame)
        assert difference.mean() < 2


def test_actions_outside_are_clipped_for_game_and_memory(make):
    seen = []
    for action in ([1.0, 1.0], [7.0, 1.5]):
        env = make()
        env.reset(seed=0)
        env.step(np.array(action))
        seen.append(env.step(np.zeros(2))[0])
    np.testing.assert_array_equal(*seen)


def test_the_state_starts_a_dream(make, tiny):
    env, dream = make(), gym.make("vsg/CarRacingDream-v0", **tiny.kwargs)
    env.reset(seed=0)
    observation, *_ = env.step(np.zeros(2))
    dreamt, _ = dream.reset(seed=0, options={"state": env.state})
    np.testing.assert_array_equal(observation, dreamt)
    assert dream.step(np.zeros(2, np.float32))[0] in dream.observation_space


def test_spec_is_json_and_pickles_hold_arguments(tiny):
    env = gym.make(ID, **tiny.kwargs)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    first = env.reset(seed=5)[0]
    np.testing.assert_array_equal(first, again.reset(seed=5)[0])
    data = pickle.dumps(env.unwrapped)
    assert len(data) < 4000
    np.testing.assert_array_equal(first, pickle.loads(data).reset(seed=5)[0])


def test_render_shows_the_real_game(make):
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (400, 600, 3)


def test_record_video_works(tiny, tmp_path):
    env = gym.make(ID, render_mode="rgb_array", max_episode_steps=3, **tiny.kwargs)
    env = RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    while not env.step(env.action_space.sample())[3]:
        pass
    env.close()
    (video,) = tmp_path.glob("videos/*.mp4")
    assert video.stat().st_size > 1000


def test_bad_arguments_and_calls_are_refused(make, make_tiny):
    for change, error, message in (
        ({"vision": "no-such-vision"}, ArtifactError, "no artifact 'no-such-vision'"),
        ({"memory": str(make_tiny(seed=1).memory)}, ArtifactError, "trained on the vision"),
        ({"device": "abacus"}, ValueError, "device: expected"),
        ({"base": "vsg/NoSuchGame-v0"}, gym.error.NameNotFound, "NoSuchGame"),
    ):
        with pytest.raises(error, match=message):
            make(**change)
    env = make()
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.step(np.zeros(2))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action: expected shape \(2,\), got \(3,\)"):
        env.step(np.zeros(3))
