import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

import wmrl  # noqa: F401 -- registers the environments
from wmrl.envs.latent.env import LatentEnv
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.world_model import WorldModel
from wmrl.storage.artifact import ArtifactError

N = 3


@pytest.fixture
def make(pixel_task, pixel_tiny):
    """Mountain cars, in this process: an episode is 6 agent steps."""
    made = []

    def make(**kwargs):
        made.append(
            LatentVectorEnv(
                kwargs.pop("num_envs", N),
                **({"task": pixel_task, "workers": 0} | pixel_tiny.kwargs | kwargs),
            )
        )
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def actions():
    return np.random.default_rng(0).uniform(-1, 1, (9, N, 1)).astype(np.float32)


def rollout(env, actions, *, seed=0):
    observation, _ = env.reset(seed=seed)
    seen = [(observation, np.zeros(N), np.zeros(N, bool), np.zeros(N, bool))]
    seen += [env.step(a)[:4] for a in actions]
    return [np.stack(values) for values in zip(*seen, strict=True)]


def test_make_vec_drives_cars_over_workers(tiny):
    kwargs = {"num_envs": 2, "autoreset_mode": "SameStep", "max_episode_steps": 3} | tiny.kwargs
    two = gym.make_vec("vsg/CarRacingLatent-v0", workers=2, **kwargs)
    none = gym.make_vec("vsg/CarRacingLatent-v0", workers=0, **kwargs)
    dream = gym.make_vec("vsg/CarRacingDream-v0", num_envs=2, **tiny.kwargs)
    assert isinstance(two, LatentVectorEnv)
    assert two.observation_space == dream.observation_space
    assert two.action_space == dream.action_space
    assert two.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    np.testing.assert_array_equal(two.reset(seed=1)[0], none.reset(seed=1)[0])
    two.action_space.seed(0)
    for t in range(5):
        a = two.action_space.sample()
        ours, theirs = two.step(a), none.step(a)
        for x, y in zip(ours[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(x, y)
        assert ours[3].all() == (t == 2)
        assert ("final_obs" in ours[4]) == (t == 2)
    two.close()
    none.close()


def test_batch_entries_are_single_environments(make, pixel_task, pixel_tiny, actions):
    observation, reward, *_ = rollout(make(autoreset_mode="Disabled"), actions[:5], seed=4)
    for row in range(N):
        env = LatentEnv(task=pixel_task, **pixel_tiny.kwargs)
        seen = [env.reset(seed=4 + row)[0]]
        for t in range(5):
            next_seen, r, *_ = env.step(actions[t, row])
            seen.append(next_seen)
            assert r == reward[t + 1, row]
        np.testing.assert_allclose(observation[:, row], np.stack(seen), atol=1e-5)


def test_an_open_world_model_observes_the_games(make, pixel_task, pixel_tiny, actions):
    parts = pixel_tiny.vision, pixel_tiny.memory
    world_model = WorldModel.open(pixel_task, *parts, frame_skip=1, device="cpu")
    env = LatentVectorEnv.from_world_model(world_model, N, workers=0)
    assert env.world_model.frame_skip == 1
    for a, b in zip(rollout(env, actions), rollout(make(frame_skip=1), actions), strict=True):
        np.testing.assert_array_equal(a, b)
    env.close()


def test_next_step_starts_with_an_empty_memory(make, actions):
    observation, reward, _, truncated = rollout(make(), actions)
    assert truncated[:, 0].tolist() == [False] * 6 + [True] + [False] * 3
    assert observation[1:7, :, 8:].any(2).all()
    assert not observation[7, :, 8:].any()
    assert not reward[7].any()
    assert observation[8, :, 8:].any(1).all()


def test_same_step_hands_out_the_last_observation(make, actions):
    env, held = make(autoreset_mode="SameStep"), make(autoreset_mode="Disabled")
    rollout(env, actions[:5])
    rollout(held, actions[:5])
    observation, reward, _, truncated, infos = env.step(actions[5])
    final, final_reward, *_ = held.step(actions[5])
    assert truncated.all()
    np.testing.assert_allclose(np.stack(infos["final_obs"]), final, atol=1e-6)
    np.testing.assert_array_equal(reward, final_reward)
    assert infos["_final_obs"].all()
    assert infos["final_info"]["frames"].tolist() == [12] * N
    assert not observation[:, 8:].any()
    assert env.step(actions[6])[0][:, 8:].any(1).all()


def test_disabled_idles_until_a_mask_resets(make, actions):
    env = make(autoreset_mode="Disabled")
    observation, reward, _, truncated = rollout(env, actions)
    assert truncated[6:].all()
    np.testing.assert_array_equal(observation[6], observation[9])
    assert not reward[7:].any()
    mask = np.array([False, True, False])
    anew, _ = env.reset(seed=9, options={"reset_mask": mask})
    np.testing.assert_array_equal(anew[~mask], observation[9][~mask])
    assert not anew[1, 8:].any()
    after, _, _, truncated, _ = env.step(actions[0])
    assert truncated.tolist() == [True, False, True]
    np.testing.assert_array_equal(after[~mask], observation[9][~mask])
    assert after[1, 8:].any()  # its memory goes on


def test_a_game_that_never_began_idles(make, actions):
    env = make(autoreset_mode="Disabled")
    observation, _ = env.reset(seed=0, options={"reset_mask": np.array([True, False, False])})
    after, reward, *_ = env.step(actions[0])
    np.testing.assert_array_equal(after[1:], observation[1:])
    assert (reward != 0).tolist() == [True, False, False]
    assert after[0, 8:].any()


def test_its_own_limit_truncates_besides_the_tasks(make, actions):
    *_, truncated = rollout(make(max_episode_steps=2), actions[:3])
    assert truncated[:, 0].tolist() == [False, False, True, False]
    *_, truncated = rollout(make(max_episode_steps=-1), actions[:7])
    assert truncated[:, 0].tolist() == [False] * 6 + [True, False]


def test_the_callers_threads_are_given_back(make):
    torch.set_num_threads(2)
    env = make(workers=1)
    env.reset(seed=0)
    env.step(np.zeros((N, 1)))
    assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="action: expected shape"):
        env.step(np.zeros(1))
    assert torch.get_num_threads() == 2


def test_without_a_memory_observations_are_latents(make, actions):
    env = make(memory=None)
    observation, *_ = rollout(env, actions[:2])
    assert observation.shape == (3, N, 8)
    np.testing.assert_allclose(
        observation[2], env.world_model.vision.encode_numpy(env.frames), atol=1e-6
    )


def test_states_can_be_dreamt_on_from(make, pixel_task, pixel_tiny, actions):
    from wmrl.envs.dream.vector import DreamVectorEnv

    env = make()
    observation, *_ = rollout(env, actions[:3])
    dream = DreamVectorEnv(N, task=pixel_task, **pixel_tiny.kwargs)
    dreamt, _ = dream.reset(seed=0, options={"state": env.state})
    np.testing.assert_array_equal(dreamt, observation[-1])


def test_render_shows_the_real_games(make):
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    assert [frame.shape for frame in env.render()] == [(400, 600, 3)] * N
    assert make().render() is None


def test_bad_arguments_and_calls_are_refused(make, make_tiny, pixel_task):
    with pytest.raises(ValueError, match="num_envs: expected at least 1, got 0"):
        make(num_envs=0)
    with pytest.raises(ValueError, match="max_episode_steps: expected at least 1, got -2"):
        make(max_episode_steps=-2)
    with pytest.raises(ArtifactError, match="trained on the vision"):
        make(memory=make_tiny(pixel_task, seed=1).memory)
    env = make()
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.step(np.zeros((N, 1)))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action: expected shape \(3, 1\), got \(3, 2\)"):
        env.step(np.zeros((N, 2)))
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.zeros(N, bool)})
