import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from wmrl.agents.rollouts.episodes import run_episodes


def half(observations, episodes, starts):
    return observations * 0.5


def one_by_one(match_env, seeds, **options):
    """Each episode in an environment of its own."""
    runs = []
    for seed in seeds:
        env = match_env(1, autoreset_mode=AutoresetMode.DISABLED, **options)
        observations, _ = env.reset(seed=seed)
        total, actions, over = 0.0, [], False
        while not over:
            actions.append(np.float64(observations[0] * 0.5))
            observations, rewards, terminated, truncated, _ = env.step(observations * 0.5)
            total += rewards[0]
            over = terminated[0] or truncated[0]
        means = np.mean(actions, 0), np.mean(np.abs(actions), 0)
        runs.append((total, len(actions), terminated[0], *means))
    return tuple(np.array(column) for column in zip(*runs, strict=True))


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_scores_equal_those_of_single_episodes(match_env, slots):
    seeds = [11, 5, 7, 3, 2]
    env = match_env(slots, deadly=0.8, autoreset_mode=AutoresetMode.DISABLED)
    counts = []
    scores = run_episodes(env, half, seeds, on_end=counts.append)
    returns, lengths, terminated, actions, magnitudes = one_by_one(match_env, seeds, deadly=0.8)
    np.testing.assert_allclose(scores.returns, returns)
    np.testing.assert_array_equal(scores.lengths, lengths)
    np.testing.assert_array_equal(scores.terminated, terminated)
    assert 0 < scores.terminated.sum() < 5
    assert scores.actions.dtype == scores.magnitudes.dtype == np.float64
    np.testing.assert_allclose(scores.actions, actions, rtol=1e-6)
    np.testing.assert_allclose(scores.magnitudes, magnitudes, rtol=1e-6)
    assert (scores.magnitudes > np.abs(scores.actions) + 1e-3).any()  # signs change
    assert counts[-1] == 5
    assert counts == sorted(set(counts))


def test_policy_is_told_which_episode_each_slot_is_in(match_env):
    log = []

    def policy(observations, episodes, starts):
        log.append((episodes.copy(), starts.copy()))
        return observations

    env = match_env(2, horizon=2, autoreset_mode=AutoresetMode.DISABLED)
    run_episodes(env, policy, [1, 2, 3])
    assert [episodes.tolist()[0] for episodes, _ in log] == [0, 0, 2, 2]
    assert [starts.tolist() for _, starts in log] == [[1, 1], [0, 0], [1, 0], [0, 0]]


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.SAME_STEP])
def test_one_seed_starts_an_episode_in_each_slot(match_env, mode):
    scores = run_episodes(match_env(6, deadly=0.8, autoreset_mode=mode), half, 7)
    seeds = [7 + slot for slot in range(6)]  # as the game seeds its slots
    returns, lengths, terminated, actions, _ = one_by_one(match_env, seeds, deadly=0.8)
    np.testing.assert_allclose(scores.returns, returns)
    np.testing.assert_array_equal(scores.lengths, lengths)
    np.testing.assert_array_equal(scores.terminated, terminated)
    np.testing.assert_allclose(scores.actions, actions, rtol=1e-6)
    assert len(set(lengths)) > 1


def test_errors(match_env):
    with pytest.raises(ValueError, match=r"autoreset mode .*DISABLED, got"):
        run_episodes(match_env(), half, [1])
    with pytest.raises(ValueError, match=r"DISABLED or .*SAME_STEP, got .*NEXT_STEP"):
        run_episodes(match_env(autoreset_mode=AutoresetMode.NEXT_STEP), half, 1)
    with pytest.raises(ValueError, match="seeds: expected at least 1, got 0"):
        run_episodes(match_env(autoreset_mode=AutoresetMode.DISABLED), half, [])
