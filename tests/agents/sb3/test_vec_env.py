import numpy as np
import pytest
from choice_game import SPACES, SignalVectorEnv
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO

from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.ppo.learner import PPOLearner
from wmrl.agents.sb3.vec_env import SB3VecEnv, dream_vec_env, latent_vec_env
from wmrl.envs.dream.vector import DreamVectorEnv


def step(env: SB3VecEnv, actions: np.ndarray | None = None):
    return env.step(np.zeros((env.num_envs, 2), np.float32) if actions is None else actions)


def test_only_same_step_resets_are_taken(match_env):
    with pytest.raises(ValueError, match=r"autoreset mode .*SAME_STEP, got .*NEXT_STEP"):
        SB3VecEnv(match_env(autoreset_mode=AutoresetMode.NEXT_STEP))


def test_time_limits_and_deaths_are_told_apart(match_env):
    env = SB3VecEnv(match_env(4, horizon=3, deadly=0.3))
    env.seed(1)
    observations = env.reset()
    returns, lengths = np.zeros(4), np.zeros(4, int)
    kinds = set()
    for _ in range(12):
        seen = observations.copy()
        observations, rewards, dones, infos = step(env)
        returns, lengths = returns + rewards, lengths + 1
        for slot in range(4):
            if not dones[slot]:
                assert infos[slot] == {}
                continue
            died = bool(seen[slot, 0] > 0.3)
            kinds.add(died)
            assert infos[slot]["TimeLimit.truncated"] is not died
            assert infos[slot]["terminal_observation"].shape == (2,)
            assert not np.array_equal(infos[slot]["terminal_observation"], observations[slot])
            assert infos[slot]["time"] == lengths[slot]
            assert infos[slot]["episode"]["l"] == lengths[slot]
            assert infos[slot]["episode"]["r"] == pytest.approx(returns[slot], abs=1e-5)
            returns[slot], lengths[slot] = 0.0, 0
    assert kinds == {True, False}


def test_arrays_are_not_reused(match_env):
    env = SB3VecEnv(match_env(2))
    first = env.reset()
    kept = first.copy()
    second = step(env)[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)


def test_seed_holds_for_one_reset(match_env):
    env = SB3VecEnv(match_env(3))
    assert env.seed(7) == [7, 8, 9]
    first = env.reset()
    assert not np.array_equal(env.reset(), first)
    env.seed(7)
    np.testing.assert_array_equal(env.reset(), first)


def test_first_episodes_can_be_cut_once(match_env):
    env = SB3VecEnv(match_env(3, horizon=4))
    env.cut_first_episodes(np.array([1, 3, 9]))
    env.reset()
    ends = []
    for time in range(1, 9):
        observations, _, dones, infos = step(env)
        for slot in np.flatnonzero(dones):
            ends.append((time, int(slot), infos[slot]["episode"]["l"]))
            assert infos[slot]["TimeLimit.truncated"]
            assert not np.array_equal(infos[slot]["terminal_observation"], observations[slot])
    assert ends == [(1, 0, 1), (3, 1, 3), (4, 2, 4), (5, 0, 4), (7, 1, 4), (8, 2, 4)]


def test_attributes_are_the_batch_s(match_env):
    env = SB3VecEnv(match_env(3))
    assert env.get_attr("horizon") == [10, 10, 10]
    env.set_attr("horizon", 4)
    assert env.get_attr("horizon", indices=[0]) == [4]
    assert env.env_is_wrapped(object) == [False] * 3
    with pytest.raises(AttributeError, match="have no methods of their own"):
        env.env_method("reset")


def test_a_goal_that_was_reached_is_no_death(match_env):
    endings = {"died": 0, "reached": 0}
    for name, key in (("died", None), ("reached", "time")):  # "time" is true wherever one ends
        env = SB3VecEnv(match_env(6, horizon=5, deadly=0.6), completed_key=key)
        env.seed(0)
        env.reset()
        for _ in range(20):
            _, _, dones = env.step_arrays(np.zeros((6, 2), np.float32))
            assert not (env.terminated & env.truncated).any() or name == "died"
            endings[name] += int((env.terminated & dones).sum())
    assert endings["died"] > 0
    assert endings["reached"] == 0


@pytest.mark.parametrize("kind", SPACES)
def test_a_model_of_sb3_takes_actions_of_any_kind(kind):
    env = SB3VecEnv(SignalVectorEnv(kind, 4))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1, seed=0, device="cpu")
    assert model.learn(32).num_timesteps == 32


def test_codes_are_observed(make_tiny):
    """In dreams with codes, observations are dictionaries, as are the final ones."""
    tiny = make_tiny(discrete=True)
    options = {"observation": "codes", "max_episode_steps": 3, **tiny.kwargs}
    env = dream_vec_env(num_envs=2, **options)
    env.seed(1)
    plain = DreamVectorEnv(2, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    expected, _ = plain.reset(seed=1)
    observations = env.reset()
    for _ in range(4):
        assert set(observations) == {"codes", "memory"}
        for name, value in observations.items():
            np.testing.assert_array_equal(value, expected[name])
        actions = np.full((2, 2), 0.5, np.float32)
        observations, _, dones, infos = env.step(actions)
        expected, _, terminated, truncated, info = plain.step(actions)
        np.testing.assert_array_equal(dones, terminated | truncated)
        for slot in np.flatnonzero(dones):
            final = infos[slot]["terminal_observation"]
            assert final in env.observation_space
            for name, value in info["final_obs"][slot].items():
                np.testing.assert_array_equal(final[name], value)


def test_a_policy_learns_from_codes(make_tiny):
    tiny = make_tiny(discrete=True)
    env = dream_vec_env(num_envs=2, observation="codes", max_episode_steps=3, **tiny.kwargs)
    env.cut_first_episodes(np.array([1, 2]))
    model = PPO("MultiInputPolicy", env, n_steps=4, batch_size=8, n_epochs=1, seed=0, device="cpu")
    assert model.learn(8).num_timesteps == 8


def test_codes_without_a_memory_are_observed(make_tiny):
    tiny = make_tiny(discrete=True)
    env = latent_vec_env(
        num_envs=1, vision=tiny.vision, memory=None, observation="codes", device="cpu"
    )
    observations = env.reset()
    assert observations.shape == (1, 4)
    assert observations.dtype == np.int64
    env.close()


def test_ppo_of_this_library_needs_vectors(make_tiny, tmp_path):
    env = dream_vec_env(num_envs=2, observation="codes", **make_tiny(discrete=True).kwargs)
    with pytest.raises(ValueError, match="env: expected a Box observation space, got Dict"):
        PPOLearner(env, PPOConfig(), path=tmp_path / "run")


def test_other_spaces_are_refused(match_env):
    env = match_env(2)
    env.single_observation_space = spaces.Tuple((spaces.Discrete(2),))
    with pytest.raises(ValueError, match="env: expected an observation space that is a Box, a"):
        SB3VecEnv(env)
